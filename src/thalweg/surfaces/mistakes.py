"""A gradient with mistakes, as they are found in teaching material: to be seen, not to be used."""

from __future__ import annotations

from typing import Any


def lecture_gradient(x: Any, y: Any) -> tuple[Any, Any]:
    """The gradient of the surface `lecture` with three terms mistaken, two of them along x.

    It has 0.6y in place of 0.6xy and -0.5y in place of -0.25y² along x, and 0.6x² in place of
    0.3x² along y: derivatives of a neighbouring power, or with respect to the other variable.
    """
    along_x = 0.8 * x * y**2 + 0.6 * y + 0.6 * x - 0.5 * y + 0.31 * y - 0.2
    along_y = 0.8 * x**2 * y + 0.6 * x**2 + 0.6 * y - 0.5 * x * y + 0.31 * x + 2.1
    return along_x, along_y
