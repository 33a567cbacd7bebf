"""Contours of heights over a plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEVELS = 14
"""How many contour lines a map has."""


def draw_contours(ax: Axes, x: Any, y: Any, heights: Any, *, logarithmic: bool) -> Any:
    """Shade a map by height and draw its contour lines.

    Args:
        ax: where.
        x: of the columns, of shape (columns,).
        y: of the rows, of shape (rows,).
        heights: of shape (rows, columns); those that are not finite are left blank.
        logarithmic: whether levels are spaced evenly in the logarithm of heights, which are then
            0 or more; else each band holds an equal share of the map.

    Returns:
        matplotlib's contour lines; None on a plain, which has none.
    """
    import numpy as np

    levels = _levels(heights[np.isfinite(heights)], logarithmic=logarithmic)
    if len(levels) < 2:
        return None
    shown = np.ma.masked_invalid(heights)
    ax.contourf(x, y, shown, levels, colors=shades()(np.linspace(0, 1, len(levels) - 1)))
    look: dict[str, Any] = {"colors": "#7d93a8", "linewidths": 0.5, "linestyles": "solid"}
    return ax.contour(x, y, shown, levels[1:], **look)


def shades() -> Any:
    """Colours from the depths to the heights."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("depth", ["#c3d4e3", "#f7f9fb"])


def _levels(heights: Any, *, logarithmic: bool) -> Any:
    """The heights of the contour lines, rising."""
    import numpy as np

    if not len(heights):
        return heights
    if not logarithmic:
        return np.unique(np.quantile(heights, np.linspace(0, 1, LEVELS)))
    if not len(above := heights[heights > 0]):
        return above
    return np.unique([0, *np.geomspace(np.quantile(above, 0.002), above.max(), LEVELS)[1:]])
