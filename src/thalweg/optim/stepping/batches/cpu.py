"""Parameters on the CPU that step together, by one launch of a compiled kernel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ....engines.base import Engine
from ....rules.core import Rule
from ..audit.subjects import Gradients, Number
from ..precision import StoragePrecision
from .base import Hyper, Item
from .kernel import KernelBatch


class HostBatch(KernelBatch):
    """Stepped by one launch of a compiled kernel of the CPU.

    Args:
        engine: what steps them.
        rule: the rule of all of them.
        items: the parameters, all of one dtype.
        hypers: the hyperparameters of every parameter group.
        precision: how the optimizer rounds.
        apart: whether any of them may rest.
    """

    def __init__(
        self,
        engine: Engine,
        rule: Rule,
        items: Sequence[Item],
        hypers: Sequence[Hyper],
        precision: StoragePrecision,
        apart: bool = False,
    ) -> None:
        super().__init__(engine, rule, items, precision, apart)
        scalars, arranged = self.launch.scalars, self.arranged
        for group in arranged.rows_of_group:
            self.follow(group, hypers[group])
        numbers = [Number(k, i.state["step"], 0) for k, i in enumerate(items) if i.counts]
        for column, key in enumerate(arranged.updated, start=arranged.width):
            places = scalars[:, column].ctypes.data + scalars.strides[0] * arranged.row_of_item
            numbers += [Number(k, i.state[key], int(places[k])) for k, i in enumerate(items)]
        self.watch(numbers)

    def follow(self, group: int, hyper: Hyper) -> None:
        rows, width = self.arranged.rows_of_group.get(group), self.arranged.width
        if rows is not None:
            numbers = [_detached(hyper[name]) for name in self.program.scalars[:width]]
            self.launch.scalars[rows, :width] = numbers

    def numbers_hold(self) -> bool:
        return True  # all are on the CPU, and audited

    def run(self, gradients: Gradients) -> None:
        """Step; the caller holds the gradients, so that their memory stays theirs meanwhile."""
        if all(self.resting):
            return
        self.launch(torch.get_num_threads())
        self.audit.advance()


def _detached(x: float | Tensor) -> float:
    """A hyperparameter, which is a tensor where another parameter's step is differentiated."""
    return float(x.detach()) if isinstance(x, Tensor) else x
