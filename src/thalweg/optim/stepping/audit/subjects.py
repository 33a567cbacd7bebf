"""What an audit is told, and what all audits can do."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor

from ....engines.tables import Ints

Gradients = list[Tensor | None]


class Array(NamedTuple):
    """A parameter, or a part of its state, that a kernel steps.

    Attributes:
        owner: the number of its item.
        tensor: where it lies.
        column: of its address in the kernel's table of pointers.
    """

    owner: int
    tensor: Tensor
    column: int


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
        arrays: the parameters again, and the arrays of the state.
        numbers: those that a step renews.
        states: of all items.
        pointers: the kernel's table, a row for each item.
        column: of the gradients' addresses there.
    """

    parameters: Sequence[Tensor]
    arrays: Sequence[Array]
    numbers: Sequence[Number]
    states: Sequence[dict[str, Any]]
    pointers: Ints
    column: int

    @property
    def written(self) -> list[tuple[int, Tensor]]:
        """All that a step writes to, and the number of its item."""
        return [(owner, x) for owner, x, _ in chain(self.arrays, self.numbers)]


class Audit(Protocol):
    """Compares tensors with what they were, and counts the steps that were taken.

    Attributes:
        spans: the memory that a step writes to.
    """

    spans: Spans

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
