"""The metric that a run is judged by."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..errors import UsageError

Criterion = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Metric:
    """What a run is judged by.

    Attributes:
        name: the name to print, such as "accuracy".
        higher_is_better: whether more of it is better.
        function: (outputs, targets) to a scalar tensor; it must work under `torch.func.vmap`,
            so no `.item()` and no branch on values.
        margin: a difference smaller than this does not matter, in the metric's own unit.

    Raises:
        UsageError: the function cannot be called, or the margin is not a finite number >= 0.
    """

    name: str
    higher_is_better: bool
    function: Criterion
    margin: float

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise UsageError(
                f"metric {self.name!r}: function={self.function!r} is no function; give one that "
                "takes (outputs, targets) and returns a scalar tensor"
            )
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise UsageError(
                f"metric {self.name!r}: margin={self.margin} must be a finite number >= 0"
            )
