"""Program -> the source of its GPU kernels, a Python file that a person can read."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...tape import Operand, Program
from ..codegen import Names, assign_names, one_line, operand
from ..formats import resolve_formats
from . import elements, passes
from .text import OPERATIONS, function, line

_HEAD = """\
# {title}
# GPU kernels of {name} over {formats}, generated from the rule's formula.

import triton
import triton.language as tl

from thalweg.engines.triton.functions import (
    array, cosine, decoded, divide, encoded, flag, float32, float64, from_bfloat16, inf, load, mix,
    number, power, root, scale_of, sine, store, tanh, to_bfloat16, to_bfloat16_stochastic,
)
"""

_WORDS = """\
tile step step_tile prologue moving pointers chunks scalars constants seed tensors channels totals
model_totals partials every TILE ALIGNED chunk tensor start stop row piece lanes full at i inside
block present first_block own first width blocks model begin end largest larger broken count found
whose key range nan None True False min max float int bool len print abs sum
"""
_RESERVED = frozenset(re.findall(r"\w+", _HEAD + _WORDS + " ".join(OPERATIONS.values())))
_PREFIXES = ("c_", "sum_", "add_", "measure_", "finish_", "model_totals_", *elements.PREFIXES)


def source(program: Program, formats: str | Sequence[str]) -> str:
    """The kernels' source.

    Args:
        program: what to compute.
        formats: of its arrays in memory: the name of one format for all, or of one for each.
    """
    names, storages = (
        assign_names(program, _RESERVED, _PREFIXES),
        resolve_formats(formats, len(program.arrays)),
    )
    head = _HEAD.format(
        title=one_line(program.title or program.name),
        name=one_line(program.name),
        formats=" ".join(dict.fromkeys(storage.name for storage in storages)),
    )
    code = _prologue(program, names)
    code += passes.Passes(program, elements.Elements(program, storages, names)).source()
    # A global that differs from itself would be taken for one that has changed.
    text = "\n".join(code).replace("(nan)", '(float("nan"))')
    return f"{head}{text}\n"


def _prologue(program: Program, names: Names) -> list[str]:
    """Once per row of scalars: the number of its step, and what depends on scalars alone."""
    width, constants = len(program.scalars), passes.row_values(program)
    updates = dict(program.updates)
    read: set[Operand] = {o for i in program.prologue for o in i.operands}
    read |= {*constants, *updates.values()}
    step = program.scalars[-1]
    code = ["row = tl.load(moving + tl.program_id(0))"]
    for k, s in enumerate(program.scalars):
        if s == step:
            code.append(f"{names[s]} = number(scalars, {width} * row + {k}) + 1.0")
        elif s in read:
            code.append(f"{names[s]} = number(scalars, {width} * row + {k})")
    code += [line(i, "float64", names) for i in program.prologue]
    for k, c in enumerate(constants):
        value = f"{names[c]}.to(tl.float64)" if c in program.flags else names[c]
        code.append(f"tl.store(constants + {len(constants)} * row + {k}, {value})")
    for k, s in enumerate(program.scalars):
        if s in updates or s == step:
            value = names[s] if s == step else operand(updates[s], "float64", names)
            code.append(f"tl.store(scalars + {width} * row + {k}, {value})")
    return function("prologue", ["moving", "scalars", "constants"], code)
