"""Parameters on a GPU that step together, by launches that the processor does not wait for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from itertools import chain
from operator import attrgetter, is_
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..engines.formats import spread
from ..engines.writing import columns
from ..rules.core import Rule
from ..tape import GRADIENT, trace
from .batches import Compiled, Hyper, Item
from .keeping import Keeping
from .layouts import order, real

_KINDS = (
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128,
)  # fmt: skip
_OLDEST = (8, 0)  # compute capability

_pointer, _version = Tensor.data_ptr, attrgetter("_version")


class OnDevice(Compiled):
    """Stepped by kernels of the GPU engine; a step may be captured in a CUDA graph.

    What advances with the steps stays on the device: the count that the bias corrections see, and
    the scalar slots. Hyperparameters are sent when they change; one that is a tensor on the device
    is read there at every step.

    Args:
        rule: the rule of all of them.
        items: the parameters, all of one dtype and device.
        hypers: the hyperparameters of every parameter group: numbers, or tensors of one element.
        keeping: how the optimizer rounds.
        capturable: whether the state's "step" is on the device too, as torch has it then.
    """

    def __init__(
        self,
        rule: Rule,
        items: Sequence[Item],
        hypers: Sequence[Hyper],
        keeping: Keeping,
        capturable: bool = False,
    ) -> None:
        from ..engines import triton as engine

        program, device = trace(rule), items[0].parameter.device
        self.parameters = [item.parameter for item in items]
        keys, updated = items[0].keys, [slot for slot, _ in program.updates]
        formats = [items[0].formats[array] for array in program.arrays]
        column = columns(program, spread(formats, len(formats)))[0]
        # Parameters that agree in group, scalar slots and step share a row of scalars.
        slots = [[float(i.state[keys[slot]]) for i in items] for slot in updated]
        known = ([i.group for i in items], *slots, [i.taken for i in items])
        sorts = list(zip(*known, strict=True))
        rows = {sort: row for row, sort in enumerate(dict.fromkeys(sorts))}
        self.group_of_row = np.array([sort[0] for sort in rows])
        self.row_of_item = np.array([rows[sort] for sort in sorts])

        shapes = [real(p.detach()).shape for p in self.parameters]
        launch: Any = engine.Launch(
            program, formats, shapes, self.row_of_item, seed=keeping.seed, device=device
        )
        self.launch = launch
        self.width = len(program.scalars) - 1 - len(updated)  # of the hyperparameters
        launch.write(self.width, np.array([sort[1:] for sort in rows], np.float64))
        self.numbers, self.sent = np.zeros((len(rows), self.width)), False
        self.live: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        self.rows_of_group: dict[int, Tensor] = {}
        for group in {sort[0] for sort in rows}:
            mine = np.flatnonzero(self.group_of_row == group)
            self.rows_of_group[group] = torch.tensor(mine, device=device)
            self.follow(group, hypers[group])

        counting = items[0].counts
        place = device if capturable else torch.device("cpu")
        self.counts = [_share(items, "step", place)] if counting else []
        self.moved = [_share(items, keys[slot], device) for slot in updated]
        self.rows = torch.tensor(self.row_of_item, device=device)
        self.versions = self._versions()
        self._watch(items, column)
        launch.compile()

    def _watch(self, items: Sequence[Item], column: dict[str, int]) -> None:
        """Fill the table of pointers, and note what must hold for it to be true."""
        self.addresses = list(map(_pointer, self.parameters))
        self.sizes = [p.nbytes for p in self.parameters]
        self.orders = [None if p.is_contiguous() else order(p) for p in self.parameters]
        strides = [p.stride() for p in self.parameters]
        self.strides = strides if any(self.orders) else None
        kinds = enumerate(self.parameters)
        self.lazy = [k for k, p in kinds if p.numel() == 1 or p.is_complex()]
        self.given = self.launch.pointers[:, column[GRADIENT]]
        arrays = [a for a in self.launch.program.arrays if a != GRADIENT]
        parts = {a: [i.parts(a) for i in items] for a in arrays}
        for array, own in parts.items():
            for k, tensors in enumerate(zip(*own, strict=True), start=column[array]):
                self.launch.pointers[:, k] = list(map(_pointer, tensors))
        self.kept = [t.detach() for own in parts.values() for t in chain.from_iterable(own)]
        self.entries = [item.state.values() for item in items]
        self.held = list(chain.from_iterable(self.entries))
        self.first = [x for x in items[0].state.values() if isinstance(x, Tensor)]
        self.first_at = list(map(_pointer, self.first))

    def follow(self, group: int, hyper: Hyper) -> None:
        mine = np.flatnonzero(self.group_of_row == group)
        if not len(mine):
            return
        for column, name in enumerate(self.launch.program.scalars[: self.width]):
            value = hyper[name]
            self.live.pop((group, column), None)
            if isinstance(value, Tensor) and value.device == self.parameters[0].device:
                self.live[group, column] = (self.rows_of_group[group], value.detach().reshape(()))
            elif (self.numbers[mine, column] != float(value)).any():
                self.numbers[mine, column] = float(value)
                self.sent = False

    def _state_holds(self) -> bool:
        """Whether the state is what the tables were made from; what is on the device is not read,
        but torch counts how often it was written."""
        entries = list(chain.from_iterable(self.entries))
        return (
            len(entries) == len(self.held)
            and all(map(is_, entries, self.held))
            and self._versions() == self.versions
            and list(map(_pointer, self.first)) == self.first_at
        )

    def _versions(self) -> list[int]:
        return list(map(_version, (*self.counts, *self.moved)))

    @torch.no_grad()
    def run(self, gradients: list[Tensor]) -> None:
        """Step; the caller holds the gradients, so that their memory stays theirs meanwhile."""
        launch: Any = self.launch
        if not self.sent:
            launch.write(0, self.numbers)
            self.sent = True
        for (_, column), (rows, value) in self.live.items():
            launch.scalars[rows, column] = value.to(launch.scalars.dtype)
        launch()
        for numbers in self.counts:
            numbers += 1
        for column, numbers in enumerate(self.moved, start=self.width):
            numbers.copy_(launch.scalars[self.rows, column])
            # What a checkpoint would hold is what the next step starts from.
            launch.scalars[self.rows, column] = numbers.to(launch.scalars.dtype)
        self.versions = self._versions()
        # Autograd must know, to refuse a backward pass through values that are no longer there.
        torch.autograd.graph.increment_version(self.parameters)


def trouble_with_device(parameter: Tensor) -> str:
    """What keeps a parameter from the GPU engine, if anything does."""
    kind = parameter.device.type
    if kind != "cuda" and not (kind == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"):
        return f"it is on {parameter.device}"
    if not _triton_is_here():
        return "triton is not installed (pip install triton)"
    if kind == "cuda" and (trouble := _trouble_with_gpu(parameter.device)):
        return trouble
    return trouble_in_memory(parameter, _KINDS)


def trouble_in_memory(parameter: Tensor, kinds: Sequence[torch.dtype]) -> str:
    """What keeps a kernel from stepping a tensor where it lies, if anything does.

    Args:
        parameter: the tensor, on whatever device.
        kinds: the dtypes that the engine takes.
    """
    plain = type(parameter) in (Tensor, torch.nn.Parameter) and parameter.layout == torch.strided
    if not plain:
        return f"it is a {type(parameter).__name__}, not a plain tensor"
    if parameter.dtype not in kinds:
        return f"its dtype is {parameter.dtype}"
    if order(parameter) is None:
        return "its elements share memory or leave gaps in it"
    if parameter.is_neg() or parameter.is_conj():
        return "it is a view that negates or conjugates"
    return "its memory is read-only to this mode" if parameter.is_inference() else ""


@cache
def _triton_is_here() -> bool:
    return find_spec("triton") is not None


@cache
def _trouble_with_gpu(device: torch.device) -> str:
    capability = torch.cuda.get_device_capability(device)
    if torch.version.hip is None and capability < _OLDEST:
        found, wanted = (".".join(map(str, x)) for x in (capability, _OLDEST))
        return f"its GPU has compute capability {found}; the triton engine needs {wanted}"
    return ""


def _share(items: Sequence[Item], key: str, device: torch.device) -> Tensor:
    """One tensor behind this number of every state, so that one operation advances them all."""
    numbers = [item.state[key] for item in items]
    widest = max((x.dtype for x in numbers), key=lambda dtype: dtype.itemsize)
    shared = torch.stack([x.to(device, widest) for x in numbers])
    for item, number in zip(items, shared.unbind(), strict=True):
        item.state[key] = number
    return shared
