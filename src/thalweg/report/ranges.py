"""The range of values that a chart shows, so that one outlier does not flatten all others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import median_low
from typing import TypeVar

from ..records import Band, Curve, Number, OptimizerResult, RaceDocument

Item = TypeVar("Item")

LOSSES = ("train_loss", "validation_loss")
METRIC = "validation_metric"
MARGIN = 0.05
"""Of the range, left free at either end."""
BEYOND = 0.1
"""How far a range goes on beyond an untrained model, as a share of what lies before it."""
_BETTER, _LEAST = 0.7, 6


def better(items: Sequence[Item]) -> Sequence[Item]:
    """The better ones of some results in order, which an axis holds: 70 %, and at least six."""
    return items[: max(_LEAST, math.ceil(_BETTER * len(items)))]


def band(curve: Curve | None, name: str) -> Band | None:
    """A curve's band by name: a loss, the metric, or another metric as `also:NAME`."""
    if curve is None:
        return None
    if name.startswith("also:"):
        return curve.also.get(name.removeprefix("also:"))
    found: Band = getattr(curve, name)
    return found


def higher(document: RaceDocument, name: str) -> bool:
    """Whether more is better on a curve."""
    if name in LOSSES:
        return False
    if name == METRIC:
        return document.setting.metric.higher_is_better
    wanted = name.removeprefix("also:")
    return any(m.name == wanted and m.higher_is_better for m in document.setting.also)


def may_be_logarithmic(document: RaceDocument, name: str) -> bool:
    """Whether a logarithmic axis suits a curve: never where more is better, as for an accuracy."""
    bands = [band(entry.curve, name) for entry in document.optimizers]
    values = [v for each in bands if each is not None for v in each.mean if v is not None]
    return not higher(document, name) and bool(values) and min(values) > 0


def untrained(document: RaceDocument, name: str) -> Number:
    """What an untrained model scores: of all optimizers' first values the middle one."""
    return middle_start(document.optimizers, lambda e: band(e.curve, name))


def middle_start(
    entries: Iterable[OptimizerResult], read: Callable[[OptimizerResult], Band | None]
) -> Number:
    """The middle one of the first values of some curves; None where there is none."""
    bands = [each for each in map(read, entries) if each is not None and each.mean]
    first = [each.mean[0] for each in bands if each.mean[0] is not None]
    return median_low(first) if first else None


def shown(
    values: Iterable[Number], *, higher: bool, log: bool = False, worst: Number = None
) -> tuple[float, float] | None:
    """The ends of an axis that shows all values but those much worse than a given one.

    Args:
        values: what is drawn; those that are not finite do not count.
        higher: whether more is better.
        log: whether the axis is logarithmic; values that are not positive do not count then.
        worst: what an untrained model scores; None for no bound.

    Returns:
        The lower and the upper end; None where nothing can be drawn.
    """
    scale: Callable[[float], float] = math.log if log else float
    usable = [v for v in values if v is not None and math.isfinite(v) and (v > 0 or not log)]
    if not usable:
        return None
    low, high = scale(min(usable)), scale(max(usable))
    if worst is not None and math.isfinite(worst) and (worst > 0 or not log):
        bound = scale(worst)
        beyond = sum(scale(v) < bound if higher else scale(v) > bound for v in usable)
        # Where most of it is worse than no training at all, that is what there is to see.
        if higher and 2 * beyond <= len(usable) and bound < high:
            low = max(low, bound - BEYOND * (high - bound))
        if not higher and 2 * beyond <= len(usable) and bound > low:
            high = min(high, bound + BEYOND * (bound - low))
    margin = MARGIN * (high - low) or (0.1 if log else 0.05 * abs(high) or 1.0)
    if log:
        return math.exp(low - margin), math.exp(high + margin)
    return low - margin, high + margin
