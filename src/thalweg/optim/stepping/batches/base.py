"""What every batch of parameters that step together has and does."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from ....engines.formats import FORMATS, INT8
from ....tape import THETA
from ..audit.subjects import Gradients
from ..precision import COMPENSATION, SCALE

gradient_of = attrgetter("grad")
Hyper = Mapping[str, float]


class Item(NamedTuple):
    """A parameter that steps, and all that its step needs to know."""

    parameter: Tensor
    group: int
    state: dict[str, Any]
    keys: Mapping[str, str]  # slot -> its key in the state
    taken: int  # steps so far
    counts: bool  # whether the state holds this number under "step"
    formats: Mapping[str, str]  # of the parameter, its gradient and every array of its state

    @property
    def plain(self) -> bool:
        """Whether a number in memory is what is computed with, but for its precision."""
        return all(
            name == FORMATS[name].parts[0] and name != INT8 for name in self.formats.values()
        )

    def parts(self, array: str) -> list[Tensor]:
        """The tensors in which an array of the parameter or its state lies."""
        first = self.parameter if array == THETA else self.state[self.keys[array]]
        storage = FORMATS[self.formats[array]]
        if storage.compensated:
            return [first, self.state[COMPENSATION]]
        return [first, self.state[self.keys[array] + SCALE]] if storage.blockwise else [first]


class Batch(Protocol):
    """Parameters of one rule and dtype."""

    def gather(self) -> Gradients | None:
        """The gradients, None for what rests; or None if a new plan is needed."""

    def run(self, gradients: Gradients) -> None:
        """Step all parameters."""

    def follow(self, group: int, hyper: Hyper) -> None:
        """Take over the changed hyperparameters of a group."""
