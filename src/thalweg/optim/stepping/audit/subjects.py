"""What an audit is told, and what all audits can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor

from ....engines.tables import Ints

Gradients = list[Tensor | None]


class Part(NamedTuple):
    """Of an array of every item, one of the tensors in which it lies.

    Attributes:
        column: of its address in the kernel's table of pointers.
        scales: whether it holds scales of blocks; else it is in sizes and strides as its parameter.
    """

    column: int
    scales: bool


class Number(NamedTuple):
    """A number of the state on the CPU, float32 or float64.

    Attributes:
        owner: the number of its item.
        tensor: of one element.
        source: the address of the float64 that a step makes of it; 0 where it counts steps.
    """

    owner: int
    tensor: Tensor
    source: int


class Subjects(NamedTuple):
    """What is audited.

    Attributes:
        parameters: of all items; a gradient must be as its parameter is.
        parts: of every array that a step writes to: the parameters again, and those of the state.
        arrays: the tensors of the first array, all parts of each item in turn; then of the next.
        numbers: those that a step renews.
        states: of all items.
        pointers: the kernel's table, a row for each item.
        column: of the gradients' addresses there.
    """

    parameters: Sequence[Tensor]
    parts: Sequence[Sequence[Part]]
    arrays: Sequence[Tensor]
    numbers: Sequence[Number]
    states: Sequence[dict[str, Any]]
    pointers: Ints
    column: int

    @property
    def cells(self) -> list[tuple[int, Part]]:
        """Of each of `arrays` the number of its item, and which part it is."""
        items = range(len(self.parameters))
        return [(k, part) for parts in self.parts for k in items for part in parts]

    @property
    def models(self) -> list[Tensor]:
        """Of each of `arrays` the tensor whose sizes, strides and device it must have, and keep."""
        pairs = zip(self.cells, self.arrays, strict=True)
        return [x if part.scales else self.parameters[k] for (k, part), x in pairs]

    @property
    def written(self) -> list[Tensor]:
        """All that a step writes to."""
        return [*self.arrays, *(number.tensor for number in self.numbers)]

    @property
    def owners(self) -> list[int]:
        """The number of the item of each of `written`."""
        return [k for k, _ in self.cells] + [number.owner for number in self.numbers]


class Audit(Protocol):
    """Compares tensors with what they were, and counts the steps that were taken.

    To begin with, all have moved: what is written is surveyed before a first step.
    """

    @property
    def spans(self) -> Spans:
        """The memory that a step writes to."""

    def rest(self, resting: Sequence[bool]) -> None:
        """From now on these items have no gradient."""

    def examine(self, gradients: Gradients) -> int:
        """What is found, one of the findings of `tables`; addresses go to the table of pointers."""

    def survey(self) -> bool:
        """Take in where memory is now; False where what is written overlaps."""

    def advance(self) -> None:
        """Renew the numbers, and tell autograd of all that was written."""


class Spans:
    """The memory that a step writes to: begins and ends, in order."""

    def __init__(self, starts: Ints, sizes: Ints) -> None:
        starts, sizes = starts[sizes > 0], sizes[sizes > 0]
        order = np.argsort(starts)
        self.starts: Ints = np.ascontiguousarray(starts[order])
        self.stops: Ints = self.starts + sizes[order]

    @property
    def apart(self) -> bool:
        """Whether no two share memory."""
        return not (self.stops[:-1] > self.starts[1:]).any()

    def meet(self, start: int, stop: int) -> bool:
        """Whether memory from start to stop is any of it."""
        k = int(np.searchsorted(self.stops, start, side="right"))
        return start < stop and k < len(self.starts) and bool(self.starts[k] < stop)
