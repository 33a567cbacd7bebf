"""Parameters that step together by launches of compiled kernels, wherever they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ....engines.base import Engine
from ....errors import UsageError
from ....rules.core import Rule
from ....tape import GRADIENT
from ..audit import tables
from ..audit.audit import make_audit
from ..audit.libtorch import extent, fits
from ..audit.subjects import Gradients, Number, Subjects
from ..precision import StoragePrecision
from .arrangement import arrange
from .base import Item, gradient_of


class KernelBatch(ABC):
    """Parameters that a kernel steps, and what must hold of them for it to step them.

    A kernel trusts its addresses, so before every step all tensors are audited.

    Args:
        engine: what steps them.
        rule: the rule of all of them.
        items: the parameters, all of one dtype and device.
        precision: how the optimizer rounds.
        apart: whether each has a row of scalars of its own, so that any of them may rest.
    """

    def __init__(
        self,
        engine: Engine,
        rule: Rule,
        items: Sequence[Item],
        precision: StoragePrecision,
        apart: bool,
    ) -> None:
        self.arranged = arranged = arrange(engine, rule, items, precision, apart)
        self.items, self.apart, self.program = items, apart, arranged.program
        self.parameters = [item.parameter for item in items]
        self.resting = [False]  # of each item, or of all
        self.launch = arranged.launch()

    def watch(self, numbers: Sequence[Number]) -> None:
        """Begin to audit all tensors, and these numbers of their states that a step renews."""
        states = [item.state for item in self.items]
        arrays: list[Tensor] = []
        for array in self.program.arrays:
            if array != GRADIENT:
                arrays += [x for item in self.items for x in item.parts(array)]
        subjects = Subjects(
            self.parameters,
            self.arranged.parts,
            arrays,
            numbers,
            states,
            self.launch.pointers,
            self.launch.column[GRADIENT],
        )
        key = (
            *[(number.owner, number.tensor.dtype, number.tensor.dim()) for number in numbers],
            *map(len, states),
        )
        self.audit = make_audit(subjects, self.arranged.blanks, key)

    @abstractmethod
    def numbers_hold(self) -> bool:
        """Whether those numbers of the state that are not audited are what they were."""

    def gather(self) -> Gradients | None:
        gradients: Gradients = list(map(gradient_of, self.parameters))
        found = self.audit.examine(gradients)
        if found == tables.FINE:
            return gradients if self.numbers_hold() else None
        return self._reconsider(gradients, found) if self.numbers_hold() else None

    def _reconsider(self, gradients: Gradients, found: int) -> Gradients | None:
        """The gradients that can be stepped by after all; None if a new plan is needed."""
        for _ in range(_ATTEMPTS):
            if found == tables.PATTERN and self.apart:
                self._rest([g is None for g in gradients])
            elif found == tables.GRADIENT:
                readable = self._readable(gradients)
                if readable is None:
                    return None
                gradients = readable
            elif found != tables.MOVED or not self.audit.survey():
                return None
            found = self.audit.examine(gradients)
            if found == tables.FINE:
                return gradients
        return None

    def _rest(self, resting: list[bool]) -> None:
        self.resting = resting
        self.launch.only(np.flatnonzero(~np.array(resting)))
        self.audit.rest(resting)

    def _readable(self, gradients: Gradients) -> Gradients | None:
        """Gradients that lie in memory as their parameters do; None where there are none."""
        if not all(map(_alike, self.parameters, gradients)):
            return None
        pairs = enumerate(zip(gradients, self.arranged.orders, strict=True))
        return [None if g is None else self._laid(k, g, order) for k, (g, order) in pairs]

    def _laid(self, k: int, g: Tensor, order: tuple[int, ...] | None) -> Tensor:
        """A gradient in memory of its own, which runs in this order of its indices.

        Raises:
            UsageError: it shares memory with the state or with another parameter, or with a part of
                its own, so that its step would depend on the order in which things are written.
        """
        plain = g.detach().resolve_neg().resolve_conj()
        laid = _turned(_turned(plain, order).contiguous(), _inverse(order))
        if not self.audit.spans.meet(*extent(g)):
            return laid
        p = self.parameters[k]
        if (g.data_ptr(), g.stride()) == (p.data_ptr(), p.stride()):  # as when the loss is a square
            return laid.clone(memory_format=torch.preserve_format)
        raise UsageError(
            f"the gradient of parameter {k} of those that step together shares memory with the "
            "optimizer's state or with another parameter; give it memory of its own: "
            "p.grad = p.grad.clone()"
        )


_ATTEMPTS = 4  # each finding may make way for another


def _alike(p: Tensor, g: Tensor | None) -> bool:
    """Whether a gradient, if there is one, can be laid in memory as its parameter is."""
    if g is None:
        return True
    if type(g) not in (Tensor, torch.nn.Parameter) or g.layout != torch.strided:
        return False
    return (g.shape, g.dtype, g.device) == (p.shape, p.dtype, p.device) and fits(g)


def _turned(x: Tensor, indices: tuple[int, ...] | None) -> Tensor:
    return x if indices is None else x.permute(indices)


def _inverse(indices: tuple[int, ...] | None) -> tuple[int, ...] | None:
    return None if indices is None else tuple(map(indices.index, range(len(indices))))
