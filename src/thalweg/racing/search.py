"""Which learning rates an entrant tries: a log grid, continued until its best is inside."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..rules.core import LogRange

Score = tuple[float, float]  # larger is better: the metric, then what breaks its ties


def grid(where: LogRange, count: int) -> list[float]:
    """Evenly spaced learning rates over the range, on a log scale, to two digits.

    Args:
        where: centre and width.
        count: how many; one alone is the centre.
    """
    middle, width = math.log10(where.centre), where.decades
    step = width / (count - 1) if count > 1 else 0.0
    return [_tidy(10 ** (middle + (k - (count - 1) / 2) * step)) for k in range(count)]


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
    index, last = tried.index(leader), len(tried) - 1
    if index == last:
        up = [_tidy(leader * 10 ** (spacing * (k + 1))) for k in range(count)]
        down = _tidy(leader * 10**-spacing)
        return up if last or count == 1 else [down, *up[:-1]]
    if index == 0:
        return [_tidy(leader * 10 ** (-spacing * (k + 1))) for k in range(count)]
    # Between neighbours, the gaps nearest to the best first.
    gaps = sorted(range(last), key=lambda k: (abs(k + 0.5 - index), k))
    return [_tidy(math.sqrt(tried[k] * tried[k + 1]), digits=3) for k in gaps[:count]]


def _tidy(x: float, digits: int = 2) -> float:
    return float(f"{x:.{digits}g}")
