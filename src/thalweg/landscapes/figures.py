"""Figures of landscapes: the map with its paths, and the losses that the map leaves out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..extras import needed
from ..plotting import END, PATH, End, label_curves, label_points, looks, new_figure, safe
from ..plotting.terrain import draw_contours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .slices import Landscape


def contours(landscape: Landscape, ax: Axes | None = None) -> Axes:
    """The loss over the plane as labelled contours, with every path and its name at its end.

    Levels are spaced evenly in the logarithm of the loss above the lowest one of the grid.

    Args:
        landscape: what to draw.
        ax: to draw on; those of a new figure if None.

    Returns:
        The Axes.
    """
    if ax is None:
        with needed("drawing a figure"):
            from matplotlib import pyplot
        ax = pyplot.figure(layout="constrained").add_subplot()
    finite = landscape.losses[np.isfinite(landscape.losses)]
    low = float(finite.min()) if finite.size else 0.0
    heights = landscape.losses - low
    lines = draw_contours(ax, landscape.alphas, landscape.betas, heights, logarithmic=True)
    if lines is not None:
        ax.clabel(lines, lines.levels[::2], fmt=lambda v: f"{v + low:.3g}", fontsize=6.5)
    box = np.array([landscape.alphas[[0, -1]], landscape.betas[[0, -1]]])
    ax.set(xlim=box[0], ylim=box[1])
    if landscape.explained is None:
        ax.plot(0, 0, "o", ms=7, mfc="white", mec="black", mew=1.6, label="the weights")
        ax.set(xlabel="alpha, random direction", ylabel="beta, random direction")
        ax.set_title("loss around the weights", fontsize="medium")
        return ax
    ends = []
    for name, look in _styles(landscape).items():
        points = landscape.paths[name].points
        ax.plot(*points.T, label=safe(name), gid=PATH, **look)
        ax.plot(*points[-1], "o", ms=6.5, mfc=look["color"], mec="white", zorder=6, gid=END)
        ends.append(End(name, (points[-1] - box[:, 0]) / np.ptp(box, axis=1), look))
    starts = np.array([path.points[0] for path in landscape.paths.values()])
    ax.plot(*starts.T, "o", ms=8, mfc="white", mec="black", mew=1.6, label="start", zorder=6)
    first, second = landscape.explained
    ax.set(
        xlabel=f"first component, {first:.0%} of the variance",
        ylabel=f"second component, {second:.0%}",
    )
    ax.set_title(
        f"loss in the plane that holds {first + second:.0%} of the paths' variance",
        fontsize="medium",
    )
    label_points(ax, ends)
    return ax


def losses(landscape: Landscape, ax: Axes) -> Axes:
    """The loss along every path: solid at its weights, dotted at their places in the plane.

    Where both lie apart, the map is not what the optimizer saw.

    Args:
        landscape: one with paths.
        ax: to draw on.

    Returns:
        The Axes.
    """
    values = [v for p in landscape.paths.values() for v in (*p.losses, *p.plane_losses)]
    if min(values) > 0:
        ax.set_yscale("log")
    for name, look in _styles(landscape).items():
        path = landscape.paths[name]
        ax.plot(path.steps, path.losses, label=safe(name), gid=PATH, **look)
        dotted = {**look, "linestyle": ":", "linewidth": 1.0}
        ax.plot(path.steps, path.plane_losses, label="_in the plane", gid=PATH, **dotted)
    ax.plot([], [], color="0.3", label="at the weights")
    ax.plot([], [], color="0.3", linestyle=":", label="at their places in the plane")
    ax.set(xlabel="step", ylabel="loss")
    ax.set_xlim(min(p.steps[0] for p in landscape.paths.values()))
    ax.set_title("what the plane leaves out", fontsize="medium")
    ax.grid(color="0.9", linewidth=0.8)
    ax.spines[["top", "right"]].set_visible(False)
    handles, labels = ax.get_legend_handles_labels()
    ax.legend(handles[-2:], labels[-2:], frameon=False, fontsize="small")
    _label_ends(landscape, ax)
    return ax


def figure(landscape: Landscape) -> Figure:
    """The map, and beside it the losses along the paths, if it has any.

    Raises:
        MissingPackage: matplotlib is not installed.
    """
    made = new_figure(layout="constrained")
    if not landscape.paths:
        made.set_size_inches(6, 5)
        contours(landscape, made.add_subplot())
        return made
    made.set_size_inches(11, 4.6)
    left, right = made.subplots(1, 2, width_ratios=(1.25, 1))
    contours(landscape, left)
    losses(landscape, right)
    return made


def _label_ends(landscape: Landscape, ax: Axes) -> None:
    scale = math.log if ax.get_yscale() == "log" else float
    low, high = map(scale, ax.get_ylim())
    label_curves(
        ax,
        [
            End(name, (scale(landscape.paths[name].losses[-1]) - low) / (high - low), look)
            for name, look in _styles(landscape).items()
        ],
    )


def _styles(landscape: Landscape) -> dict[str, dict[str, Any]]:
    """The line style of every path: that of the optimizer of its name."""
    return {
        name: {
            "color": look.light,
            "linestyle": (0, look.dash) if look.dash else "-",
            "marker": look.marker,
            "markersize": 3.5,
            "linewidth": 1.6,
        }
        for name, look in looks(landscape.paths).items()
    }
