"""Step -> scalar: the share of its learning rate that a run uses at each of its steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from .errors import UsageError, unknown

_DROP, _PARTS = 0.1, 3  # `step` falls to a tenth twice: after each third of the steps


def _constant(k: int, steps: int) -> float:
    return 1.0


def _step(k: int, steps: int) -> float:
    return _DROP ** (k // -(-steps // _PARTS))


def _cosine(k: int, steps: int) -> float:
    return (1 + math.cos(math.pi * k / steps)) / 2


def _linear(k: int, steps: int) -> float:
    return 1 - k / steps


_SHAPES: dict[str, Callable[[int, int], float]] = {
    "constant": _constant,
    "step": _step,
    "cosine": _cosine,
    "linear": _linear,
}
KINDS = tuple(_SHAPES)


def shapes() -> dict[str, Callable[[int, int], float]]:
    """The schedules without warm-up: functions of the steps taken before and of all steps."""
    return dict(_SHAPES)


@dataclass(frozen=True)
class Schedule:
    """A learning rate over a run, relative to the rate that the run was given.

    As `torch.optim.lr_scheduler` counts, with W warm-up steps of S in all and k = 0 for the
    first step: (k + 1)/(W + 1) while k < W, as `LinearLR(start_factor=1/(W + 1), total_iters=W)`;
    then, with j = k − W of T = S − W,

    - constant: 1;
    - step: a tenth of it after each third, as `StepLR(step_size=⌈T/3⌉, gamma=0.1)`;
    - cosine: (1 + cos(πj/T))/2, as `CosineAnnealingLR(T_max=T)` (Loshchilov & Hutter 2017,
      arXiv:1608.03983);
    - linear: 1 − j/T, as `LinearLR(start_factor=1, end_factor=0, total_iters=T)`.

    Args:
        kind: one of these names.
        warmup: share of the steps over which the rate rises first, from 0 up to below 1.

    Raises:
        UsageError: no such kind, or a share outside [0, 1).
    """

    kind: str = "constant"
    warmup: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in _SHAPES:
            raise unknown("schedule", self.kind, _SHAPES)
        if (
            isinstance(self.warmup, bool)
            or not isinstance(self.warmup, int | float)
            or not (0 <= self.warmup < 1)
        ):
            raise UsageError(
                f"warmup={self.warmup!r} must be a share of the steps: 0 or more, below 1, as 0.05"
            )

    def __call__(self, step: int, steps: int) -> float:
        """The factor of the learning rate at a step.

        Args:
            step: its number, from 1 as in the rules.
            steps: how many the whole run has.
        """
        warm = round(self.warmup * steps)
        if step <= warm:
            return step / (warm + 1)
        return _SHAPES[self.kind](step - 1 - warm, steps - warm)

    def __str__(self) -> str:
        return f"{self.kind}, warm-up {self.warmup:g}" if self.warmup else self.kind


CONSTANT = Schedule()
