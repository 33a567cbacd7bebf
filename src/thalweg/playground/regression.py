"""A small real regression: the loss over two weights, from which single samples can be drawn.

The data are the petals of Fisher's iris (Fisher 1936), as scikit-learn has them: width against
length in cm, 150 flowers.
"""

from __future__ import annotations

import math
from typing import Any

NAME = "petals"
TITLE = "Petals: half the squared error of a line through 150 petals; condition number 105."
VIEW = (-0.6, 1.4, -2.2, 1.6)
START = (-0.3, 1.2)

_LENGTHS = """
1.4 1.4 1.3 1.5 1.4 1.7 1.4 1.5 1.4 1.5 1.5 1.6 1.4 1.1 1.2 1.5 1.3 1.4 1.7 1.5 1.7 1.5 1.0 1.7
1.9 1.6 1.6 1.5 1.4 1.6 1.6 1.5 1.5 1.4 1.5 1.2 1.3 1.4 1.3 1.5 1.3 1.3 1.3 1.6 1.9 1.4 1.6 1.4
1.5 1.4 4.7 4.5 4.9 4.0 4.6 4.5 4.7 3.3 4.6 3.9 3.5 4.2 4.0 4.7 3.6 4.4 4.5 4.1 4.5 3.9 4.8 4.0
4.9 4.7 4.3 4.4 4.8 5.0 4.5 3.5 3.8 3.7 3.9 5.1 4.5 4.5 4.7 4.4 4.1 4.0 4.4 4.6 4.0 3.3 4.2 4.2
4.2 4.3 3.0 4.1 6.0 5.1 5.9 5.6 5.8 6.6 4.5 6.3 5.8 6.1 5.1 5.3 5.5 5.0 5.1 5.3 5.5 6.7 6.9 5.0
5.7 4.9 6.7 4.9 5.7 6.0 4.8 4.9 5.6 5.8 6.1 6.4 5.6 5.1 5.6 6.1 5.6 5.5 4.8 5.4 5.6 5.1 5.1 5.9
5.7 5.2 5.0 5.2 5.4 5.1
"""
_WIDTHS = """
0.2 0.2 0.2 0.2 0.2 0.4 0.3 0.2 0.2 0.1 0.2 0.2 0.1 0.1 0.2 0.4 0.4 0.3 0.3 0.3 0.2 0.4 0.2 0.5
0.2 0.2 0.4 0.2 0.2 0.2 0.2 0.4 0.1 0.2 0.2 0.2 0.2 0.1 0.2 0.2 0.3 0.3 0.2 0.6 0.4 0.3 0.2 0.2
0.2 0.2 1.4 1.5 1.5 1.3 1.5 1.3 1.6 1.0 1.3 1.4 1.0 1.5 1.0 1.4 1.3 1.4 1.5 1.0 1.5 1.1 1.8 1.3
1.5 1.2 1.3 1.4 1.4 1.7 1.5 1.0 1.1 1.0 1.2 1.6 1.5 1.6 1.5 1.3 1.3 1.3 1.2 1.4 1.2 1.0 1.3 1.2
1.3 1.3 1.1 1.3 2.5 1.9 2.1 1.8 2.2 2.1 1.7 1.8 1.8 2.5 2.0 1.9 2.1 2.0 2.4 2.3 1.8 2.2 2.3 1.5
2.3 2.0 2.0 1.8 2.1 1.8 1.8 1.8 2.1 1.6 1.9 2.0 2.2 1.5 1.4 2.3 2.4 1.8 1.8 2.1 2.4 2.3 1.9 2.3
2.5 2.3 1.9 2.0 2.3 1.8
"""

ROWS = [(float(a), float(b)) for a, b in zip(_LENGTHS.split(), _WIDTHS.split(), strict=True)]
"""(length, width) of each petal."""


def squared_error(x: Any, y: Any, *, length: Any, width: Any) -> Any:
    """Half the squared error of one petal: the line x·length + y against its width."""
    error = x * length + y - width
    return error**2 / 2


def least_squares() -> tuple[float, float]:
    """The weights of the lowest mean loss, by the normal equations."""
    n = len(ROWS)
    mean_length, mean_width = (math.fsum(column) / n for column in zip(*ROWS, strict=True))
    covariance = math.fsum((a - mean_length) * (b - mean_width) for a, b in ROWS)
    slope = covariance / math.fsum((a - mean_length) ** 2 for a, _ in ROWS)
    return slope, mean_width - slope * mean_length
