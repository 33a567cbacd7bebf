"""What must hold of every tensor of a launch for a kernel to step it, made sure at every step.

A kernel reads and writes at addresses, so nothing is taken for granted: of each gradient, parameter
and array or number of the state it is asked what kind of tensor it is, its dtype, device, sizes and
strides, where its memory is and how much there is of it; and of each state, whether it holds the
tensors that it held. The compiled audit asks libtorch; where that is not to be had, the same is
asked through Python.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from importlib.util import find_spec

import numpy as np
import torch

from . import tables as t
from .compiled import Blank, CompiledAudit
from .libtorch import Layout, layout
from .python import PlainAudit
from .subjects import Audit, Number, Part, Subjects


def make_audit(subjects: Subjects, blanks: dict[Hashable, Blank], key: Hashable) -> Audit:
    """The compiled audit, or where that is not to be had the one in Python.

    Args:
        subjects: what is audited.
        blanks: for audits of subjects that differ in nothing but where their tensors are.
        key: of its own among these.
    """
    known = _proved()
    if known is None:
        return PlainAudit(subjects)
    if key not in blanks:
        blanks[key] = Blank(subjects, known)
    return CompiledAudit(subjects, blanks[key])


def asks_libtorch() -> bool:
    """Whether tensors are asked by the compiled audit."""
    return _proved() is not None


@cache
def _proved() -> Layout | None:
    """This process's layout, if the compiled audit agrees with Python on tensors made for it."""
    known = layout() if find_spec("llvmlite") else None
    if known is None:
        return None
    with torch.inference_mode(mode=False), torch._C._DisableTorchDispatch(), torch.device("cpu"):
        return known if _agrees(known) else None


def _agrees(known: Layout) -> bool:
    shapes = [(3,) * k for k in range(7)] + [(0, 2), (5, 1)]
    parameters = [torch.zeros(shape) for shape in shapes]
    numbers = [torch.zeros((), dtype=kind) for kind in (torch.float32, torch.float64)]
    pointers = np.zeros((len(shapes), 2), np.int64)
    subjects = Subjects(
        parameters,
        [[Part(0, False)]],
        parameters,
        [Number(0, x, 0) for x in numbers],
        [{"step": numbers[0]}],
        pointers,
        1,
    )
    audit = CompiledAudit(subjects, Blank(subjects, known))
    gradients = [x.clone() for x in parameters]
    said = [audit.examine([*gradients]), audit.survey(), audit.examine([*gradients])]
    audit.advance()
    parameters[1].untyped_storage().resize_(0)
    said.append(audit.examine([*gradients]))
    expected = [[x.data_ptr(), g.data_ptr()] for x, g in zip(parameters, gradients, strict=True)]
    same = np.delete(pointers, 1, 0).tolist() == expected[:1] + expected[2:]
    written = [x._version for x in (*parameters, *numbers)]
    return (
        said == [t.MOVED, True, t.FINE, t.CHANGED]
        and same
        and [float(x) for x in numbers] == [1.0, 1.0]
        and written == [1] * len(written)
    )
