"""Parameters on a GPU that step together, by launches that the processor does not wait for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter

import numpy as np
import torch
from torch import Tensor

from ....engines.base import Engine
from ....rules.core import Rule
from ..audit.subjects import Gradients, Number
from ..precision import StoragePrecision
from .base import Hyper, Item
from .kernel import KernelBatch

_version = attrgetter("_version")


class DeviceBatch(KernelBatch):
    """Stepped by kernels of the GPU engine; a step may be captured in a CUDA graph.

    What advances with the steps stays on the device: the count that the bias corrections see, and
    the scalar slots. Hyperparameters are sent when they change; one that is a tensor on the device
    is read there at every step.

    Args:
        engine: what steps them.
        rule: the rule of all of them.
        items: the parameters, all of one dtype and device.
        hypers: the hyperparameters of every parameter group: numbers, or tensors of one element.
        precision: how the optimizer rounds.
        apart: whether any of them may rest.
        capturable: whether the state's "step" is on the device too, as torch has it then.
    """

    def __init__(
        self,
        engine: Engine,
        rule: Rule,
        items: Sequence[Item],
        hypers: Sequence[Hyper],
        precision: StoragePrecision,
        apart: bool = False,
        capturable: bool = False,
    ) -> None:
        super().__init__(engine, rule, items, precision, apart)
        arranged, device = self.arranged, self.parameters[0].device
        self.numbers, self.sent = np.zeros((len(arranged.group_of_row), arranged.width)), False
        self.live: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        self.rows_of_group: dict[int, Tensor] = {}
        for group, rows in arranged.rows_of_group.items():
            self.rows_of_group[group] = torch.tensor(rows, device=device)
            self.follow(group, hypers[group])

        counting = [item for item in items if item.counts]
        for item in counting if capturable else ():
            item.state["step"] = item.state["step"].to(device)
        for item in items:
            for key in arranged.updated:
                item.state[key] = item.state[key].to(device)
        self._choose(range(len(items)))
        self.seen = [*self.counts, *chain(*self.moved)]  # the numbers of all items
        self.versions = list(map(_version, self.seen))
        here = [(k, i.state["step"]) for k, i in enumerate(items) if i.counts]
        self.watch([Number(k, x, 0) for k, x in here if x.device.type == "cpu"])

    def _choose(self, going: Sequence[int]) -> None:
        """Gather what advances on the device with a step of these items."""
        device, own = self.parameters[0].device, [self.items[k] for k in going]
        steps = [item.state["step"] for item in own if item.counts]
        self.counts = [x for x in steps if x.device.type != "cpu"]
        self.rows = torch.tensor(self.arranged.row_of_item[list(going)], device=device)
        self.moved: list[list[Tensor]] = [
            [item.state[key] for item in own] for key in self.arranged.updated
        ]
        # Room for the numbers of one slot, and the part of it that belongs to each.
        self.fresh = [torch.empty(len(own), dtype=x[0].dtype, device=device) for x in self.moved]
        self.parts = [list(x.unbind()) for x in self.fresh]

    def _rest(self, resting: list[bool]) -> None:
        super()._rest(resting)
        self._choose([k for k, rests in enumerate(resting) if not rests])

    def follow(self, group: int, hyper: Hyper) -> None:
        mine = self.arranged.rows_of_group.get(group)
        if mine is None:
            return
        for column, name in enumerate(self.program.scalars[: self.arranged.width]):
            value = hyper[name]
            self.live.pop((group, column), None)
            if isinstance(value, Tensor) and value.device == self.parameters[0].device:
                self.live[group, column] = (self.rows_of_group[group], value.detach().reshape(()))
            elif (self.numbers[mine, column] != float(value)).any():
                self.numbers[mine, column] = float(value)
                self.sent = False

    def numbers_hold(self) -> bool:
        # What is on the device is not read, but torch counts how often it was written.
        return list(map(_version, self.seen)) == self.versions

    @torch.no_grad()
    def run(self, gradients: Gradients) -> None:
        """Step; the caller holds the gradients, so that their memory stays theirs meanwhile."""
        if all(self.resting):
            return
        launch = self.launch
        if not self.sent:
            launch.write(self.program.scalars[0], self.numbers)
            self.sent = True
        for (_, column), (rows, value) in self.live.items():
            launch.scalars[rows, column] = value.to(launch.scalars.dtype)
        launch()
        if self.counts:
            torch._foreach_add_(self.counts, 1)
        slots = zip(self.moved, self.fresh, self.parts, strict=True)
        for column, (numbers, fresh, parts) in enumerate(slots, start=self.arranged.width):
            fresh.copy_(launch.scalars[self.rows, column])
            torch._foreach_copy_(numbers, parts)
            # What a checkpoint would hold is what the next step starts from.
            launch.scalars[self.rows, column] = fresh.to(launch.scalars.dtype)
        self.versions = list(map(_version, self.seen))
        self.audit.advance()
