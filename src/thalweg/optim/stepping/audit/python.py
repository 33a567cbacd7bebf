"""The audit in Python."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from operator import is_
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import tables as t
from .libtorch import extent, fits, is_plain
from .subjects import Gradients, Spans, Subjects


class PlainAudit:
    """Asks the same through Python.

    Args:
        subjects: what is audited.
    """

    def __init__(self, subjects: Subjects) -> None:
        self.subjects = subjects
        self._shapes = [_description(p) for p in subjects.parameters]
        self._owners, self._tensors = subjects.owners, subjects.written
        models = [*subjects.models, *(n.tensor for n in subjects.numbers)]
        self._expected = list(map(_expected, self._tensors, models))
        self._entries = [list(state.values()) for state in subjects.states]
        self._values = [float(n.tensor) for n in subjects.numbers]
        self._resting = [False] * len(subjects.parameters)
        self._addresses: list[int] = []
        self.spans = Spans(*np.zeros((2, 0), np.int64))

    def rest(self, resting: Sequence[bool]) -> None:
        self._resting, self._addresses = list(resting), []  # to be surveyed anew

    def examine(self, gradients: Gradients) -> int:
        for state, held in zip(self.subjects.states, self._entries, strict=True):
            if len(state) != len(held) or not all(map(is_, state.values(), held)):
                return t.ENTRY
        if [g is None for g in gradients] != self._resting:
            return t.PATTERN
        return self._written() or self._gradients(gradients)

    def _gradients(self, gradients: Gradients) -> int:
        pointers, column = self.subjects.pointers, self.subjects.column
        for k, (g, shape) in enumerate(zip(gradients, self._shapes, strict=True)):
            if g is None:
                continue
            if _description(g) != shape or self.spans.meet(*extent(g)):
                return t.GRADIENT
            pointers[k, column] = g.data_ptr()
        return t.FINE

    def _written(self) -> int:
        """What is found of parameters and states."""
        addresses = []
        for owner, x, known in zip(self._owners, self._tensors, self._expected, strict=True):
            if not self._resting[owner] and _description(x) != known:
                return t.CHANGED
            addresses.append(0 if self._resting[owner] else x.data_ptr())
        for number, value in zip(self.subjects.numbers, self._values, strict=True):
            if not self._resting[number.owner] and float(number.tensor) != value == value:
                return t.VALUE
        for (owner, part), address in zip(self.subjects.cells, addresses, strict=False):
            self.subjects.pointers[owner, part.column] = address
        moved, self._addresses = addresses != self._addresses, addresses
        return t.MOVED if moved else t.FINE

    def survey(self) -> bool:
        tables = zip(self._addresses, self._owners, self._tensors, strict=True)
        own = [(start, x.nbytes) for start, owner, x in tables if not self._resting[owner]]
        self.spans = Spans(*np.array(own, np.int64).reshape(-1, 2).T)
        return self.spans.apart

    def advance(self) -> None:
        pairs = zip(self._owners, self._tensors, strict=True)
        going = [x for owner, x in pairs if not self._resting[owner]]
        for k, (owner, x, source) in enumerate(self.subjects.numbers):
            if self._resting[owner]:
                continue
            made = ctypes.c_double.from_address(source) if source else None
            x.detach().fill_(self._values[k] + 1 if made is None else made.value)
            self._values[k] = float(x)
            if made is not None:  # what a checkpoint would hold is what the next step starts from
                made.value = self._values[k]
        # Autograd must know, to refuse a backward pass through values that are no longer there.
        torch.autograd.graph.increment_version(going)


def _expected(x: Tensor, model: Tensor) -> tuple[Any, ...] | None:
    """What the description of a tensor must be."""
    description = _description(model)
    return description and (x.dtype, *description[1:])


def _description(x: Tensor) -> tuple[Any, ...] | None:
    """All that a kernel must know of a tensor but where it lies; None where none may read it."""
    if not is_plain(x):
        return None
    sizes, strides = x.shape, x.stride()
    steps = tuple(step for size, step in zip(sizes, strides, strict=True) if size > 1)
    if not fits(x):
        return None
    return x.dtype, x.device, sizes, steps if x.numel() else ()
