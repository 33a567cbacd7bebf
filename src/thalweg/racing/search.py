"""Which learning rates an entrant tries: a log grid, continued until its best is inside."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..rules.core import LogRange

Score = tuple[float, float]  # larger is better: the metric, then what breaks its ties


def grid(where: LogRange, count: int) -> list[float]:
    """Evenly spaced learning rates over the range, on a log scale, to two digits or as they need.

    Args:
        where: centre and width.
        count: how many; one alone is the centre.
    """
    gap = spacing(where, count)
    return [_stepped(where.centre, (k - (count - 1) / 2) * gap, gap) for k in range(count)]


def spacing(where: LogRange, count: int) -> float:
    """Decades between the points of a grid; those between it and a second point, if it has one."""
    return where.decades / (count - 1) if count > 1 else 1.0


def best(scores: Mapping[float, Score]) -> float:
    """The learning rate with the best score; of equals the smaller."""
    return max(sorted(scores), key=lambda lr: scores[lr])


def on_edge(scores: Mapping[float, Score]) -> bool:
    """Whether the best lies at an end of what was tried."""
    return best(scores) in (min(scores), max(scores))


def more(scores: Mapping[float, Score], count: int, spacing: float) -> list[float]:
    """The learning rates to try next: beyond the edge the best lies on, else around the best.

    Args:
        scores: what was tried.
        count: how many more.
        spacing: decades between the points of the first grid.
    """
    tried, leader = sorted(scores), best(scores)
    if len(tried) == 1 and count > 1:
        below = _stepped(leader, -spacing, spacing)
        return [below, *(_stepped(leader, spacing * (k + 1), spacing) for k in range(count - 1))]
    if on_edge(scores):
        outward = spacing if leader == tried[-1] else -spacing
        return [_stepped(leader, outward * (k + 1), spacing) for k in range(count)]
    points = list(tried)
    for _ in range(count):
        k = points.index(leader)
        # The wider of the two gaps beside the best is halved.
        beside = points[k - 1 : k + 1], points[k : k + 2]
        low, high = max(beside, key=lambda ends: ends[1] / ends[0])
        gap = math.log10(high / low) / 2
        points = sorted([*points, _stepped(low, gap, gap)])
    return [lr for lr in points if lr not in scores]


def _stepped(start: float, decades: float, gap: float) -> float:
    """So many decades further, with as many digits as points that far apart need."""
    digits = 2 + max(0, math.ceil(-math.log10(4 * gap)))
    return float(f"{start * 10**decades:.{digits}g}")
