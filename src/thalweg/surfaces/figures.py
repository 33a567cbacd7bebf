"""Figures of trajectories, on matplotlib Axes of yours or new ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from ..extras import needed
from ..plotting import (
    END,
    LINE,
    PATH,
    End,
    label_curves,
    label_points,
    new_figure,
    safe,
    spread,
    style,
)
from ..plotting.terrain import LEVELS, draw_contours, shades
from ..rules import registry
from .trajectory import Path, Trajectory, view_with

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

_GRID = 300
_MESH = 90
_LEGEND_WIDTH = 150  # in characters
_MARKS: dict[str, dict[str, Any]] = {
    "start": {"marker": "o", "ms": 9, "mfc": "white", "mew": 1.6},
    "minimum": {"marker": "*", "ms": 17, "mfc": "#F0E442", "zorder": 4},
    "saddle": {"marker": "x", "ms": 7, "mew": 1.8},
}


def contours(trajectory: Trajectory, ax: Axes | None = None) -> Axes:
    """The surface's contour lines with every rule's path over them.

    The levels are spaced evenly in the logarithm of the height above the minimum, so that the
    bottom of a valley shows as well as its walls; on a surface without a minimum each band holds
    an equal share of the view.

    Args:
        trajectory: the paths to draw.
        ax: to draw on; those of a new figure if None.

    Returns:
        The Axes.
    """
    ax = _map(trajectory, _axes(ax))
    ax.legend(loc="best", fontsize="small", framealpha=0.9)
    return ax


def losses(trajectory: Trajectory, ax: Axes | None = None) -> Axes:
    """Every rule's height above the minimum after each step, on a logarithmic scale.

    Every curve has its rule's name at its end. On a surface without a minimum the loss itself is
    drawn, on a linear scale.

    Args:
        trajectory: the paths to draw.
        ax: to draw on; those of a new figure if None.

    Returns:
        The Axes.
    """
    ax = _axes(ax)
    floor = trajectory.surface.minimum
    for path, look in _styled(trajectory):
        height = path.losses if floor is None else _above(path.losses, floor)
        ax.plot(
            height, label=_label(trajectory, path), markevery=_every(trajectory), gid=PATH, **look
        )
    ax.set(xlabel="step", ylabel="loss" if floor is None else "loss − minimum")
    ax.set_xlim(0, trajectory.steps)
    if floor is not None:
        ax.set_yscale("log")
    _limit(trajectory, ax)
    _label_curves(trajectory, ax)
    ax.grid(color="0.9", linewidth=0.8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_axisbelow(True)
    return ax


def relief(trajectory: Trajectory, ax: Axes | None = None) -> Axes:
    """The surface in three dimensions with every rule's path on it.

    Heights are drawn by the logarithm of 1 + height above the minimum / smallest contour, so that
    the bottom of a valley shows as well as its walls; the axis says the loss itself. On a surface
    without a minimum the scale is linear. Parts of paths outside the view are left out, and paths
    are drawn over the surface, also where a hill stands before them.

    Args:
        trajectory: the paths to draw.
        ax: to draw on, made with `projection="3d"`; those of a new figure if None.

    Returns:
        The Axes.

    Raises:
        UsageError: the Axes are flat.
    """
    axis: Any = _axes(ax, projection="3d")
    if axis.name != "3d":
        raise UsageError(
            'ax has two dimensions; make it with figure.add_subplot(projection="3d"), or draw '
            "contours on it"
        )
    low, high = view_with(trajectory.surface, trajectory.start)
    x, y = (np.linspace(a, b, _MESH) for a, b in zip(low, high, strict=True))
    grid = np.meshgrid(x, y)
    with np.errstate(all="ignore"):
        values, _ = trajectory.surface.value_and_gradient(*grid)
    height = _Height(trajectory, values)
    axis.computed_zorder = False
    axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel="x", ylabel="y")
    axis.set_title(trajectory.header, fontsize="medium")
    axis.view_init(elev=38, azim=-62)
    axis.set_box_aspect(None, zoom=0.95)
    drawn = height(values)
    axis.plot_surface(
        *grid, drawn, cmap=shades(), rcount=_MESH, ccount=_MESH, linewidth=0, zorder=1
    )
    known = drawn[np.isfinite(drawn)]
    if np.ptp(known) > 0:
        axis.contour(*grid, drawn, LEVELS, colors="#7d93a8", linewidths=0.5, zorder=2)
    height.mark(axis, known)
    ends = []
    for path, look in _styled(trajectory):
        inside = ((low <= path.points) & (path.points <= high)).all(axis=1)
        places = np.where(inside, [*path.points.T, height(path.losses)], np.nan)
        look = {**look, "label": _label(trajectory, path), "markevery": _every(trajectory)}
        axis.plot(*places, gid=PATH, zorder=5, **look)
        last = np.flatnonzero(np.isfinite(places).all(axis=0))[-1]
        ends.append(End(path.name, places[:, last], look))
    surface = trajectory.surface
    marks = {"start": [trajectory.start], "minimum": surface.minima, "saddle": surface.saddles}
    for name, points in marks.items():
        with np.errstate(all="ignore"):
            losses_there = [float(surface(*point)) for point in points]
        lifted = [(*p, float(height(f))) for p, f in zip(points, losses_there, strict=True)]
        _places(name, lifted, (*low, -np.inf), (*high, np.inf), axis, **_MARKS[name])
    _name_solid_ends(axis, ends)
    made: Axes = axis
    return made


def _name_solid_ends(axis: Any, ends: list[End]) -> None:
    """The names of paths beside their last points, moved apart as they are first seen.

    They turn with the surface.
    """
    from matplotlib.transforms import ScaledTranslation

    box = axis.viewLim
    inches = 0.7 * axis.get_figure(root=False).bbox.height / axis.get_figure(root=True).dpi
    projected = [axis.get_proj() @ (*end.place, 1.0) for end in ends]
    heights = [inches * (y / w - box.y0) / box.height for _, y, _, w in projected]
    for end, start, place in zip(ends, heights, spread(heights, LINE, 0.0, inches), strict=True):
        text = axis.text(
            *end.place,
            f"   {safe(end.name)}",
            color=end.look["color"],
            fontsize=7.5,
            va="center",
            zorder=7,
            gid=END,
        )
        shift = ScaledTranslation(0, place - start, axis.get_figure(root=True).dpi_scale_trans)
        text.set_transform(axis.transData + shift)


class _Height:
    """Where a loss stands on the vertical axis of a relief."""

    def __init__(self, trajectory: Trajectory, values: Any) -> None:
        known = values[np.isfinite(values)]
        self.unit = 0.0
        self.floor = 0.0
        if trajectory.surface.bounded and len(known):
            floor = trajectory.surface.minimum
            self.floor = float(known.min()) if floor is None else floor
            above = known[known > self.floor] - self.floor
            self.unit = float(np.quantile(above, 0.02)) if len(above) else 0.0

    def __call__(self, losses: Any) -> Any:
        if not self.unit:
            return losses
        return np.log10(1 + np.maximum(losses - self.floor, 0.0) / self.unit)

    def mark(self, axis: Any, shown: Any) -> None:
        """Label the vertical axis by losses, at powers of ten above the minimum."""
        axis.set_zlabel("loss" if not self.unit else "loss − minimum")
        if not self.unit or not len(shown):
            return
        top = self.unit * (10 ** float(shown.max()) - 1)
        decades = range(math.ceil(math.log10(self.unit)), math.floor(math.log10(top)) + 1)
        heights = [0.0, *(10.0**k for k in decades)]
        axis.set_zticks([float(self(self.floor + h)) for h in heights])
        axis.set_zticklabels([f"{h:g}" for h in heights])


def figure(*trajectories: Trajectory, three_d: bool = False) -> Figure:
    """Contours and losses side by side, a row per surface, on a figure of no plotting backend.

    Args:
        *trajectories: the paths to draw, of one or more surfaces.
        three_d: whether the surfaces are drawn in three dimensions instead of by contours.

    Raises:
        UsageError: no trajectory is given.
        MissingPackage: matplotlib is not installed.
    """
    if not trajectories:
        raise UsageError("figure() draws trajectories; give one or more, as tw.trajectory makes")
    made = new_figure(layout="constrained")
    rows = [_legend_rows(trajectory) for trajectory in trajectories]
    heights = [(5.2 if three_d else 4.6) + 0.22 * count for count in rows]
    made.set_size_inches(11, sum(heights))
    parts: Any = [made] if len(rows) == 1 else made.subfigures(len(rows), 1, height_ratios=heights)
    for part, trajectory, count in zip(parts, trajectories, rows, strict=True):
        _row(part, trajectory, count, three_d)
    return made


def _row(part: FigureBase, trajectory: Trajectory, legend_rows: int, three_d: bool) -> None:
    """The two panels of a trajectory, and its legend below both, where it can hide nothing."""
    grid = part.add_gridspec(1, 2, width_ratios=(1.25, 1))
    if three_d:
        left = relief(trajectory, part.add_subplot(grid[0], projection="3d"))
    else:
        left = _map(trajectory, part.add_subplot(grid[0]))
    losses(trajectory, part.add_subplot(grid[1]))
    handles, labels = left.get_legend_handles_labels()
    columns = math.ceil(len(labels) / legend_rows)
    part.legend(
        handles, labels, loc="outside lower center", ncols=columns, frameon=False, handlelength=3
    )


def _legend_rows(trajectory: Trajectory) -> int:
    labels = [_label(trajectory, path) for path in trajectory.paths.values()]
    labels += ["start", "minimum", "saddle"]
    return math.ceil(len(labels) / max(1, _LEGEND_WIDTH // (max(map(len, labels)) + 8)))


def _map(trajectory: Trajectory, ax: Axes) -> Axes:
    """The contour figure without its legend."""
    low, high = view_with(trajectory.surface, trajectory.start)
    _terrain(trajectory, low, high, ax)
    ends: list[End] = []
    for path, look in _styled(trajectory):
        points = _drawable(path, low, high)
        label = _label(trajectory, path)
        ax.plot(*points.T, label=label, markevery=_every(trajectory), gid=PATH, **look)
        last = points[np.isfinite(points).all(axis=1)][-1]
        ends.append(End(path.name, (last - low) / (high - low), look))
        dot = {"marker": "o", "ms": 6.5, "mfc": look["color"], "mec": "white", "gid": END}
        _places(None, [last], low, high, ax, **dot)
    surface = trajectory.surface
    _places("start", [trajectory.start], low, high, ax, **_MARKS["start"])
    _places("minimum", surface.minima, low, high, ax, **_MARKS["minimum"])
    _places("saddle", surface.saddles, low, high, ax, **_MARKS["saddle"])
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel="x", ylabel="y")
    ax.set_title(trajectory.header, fontsize="medium")
    label_points(ax, ends)
    return ax


def _styled(trajectory: Trajectory) -> list[tuple[Path, dict[str, Any]]]:
    """The paths with their line styles; later ones thinner, so that equal paths both show."""
    own = [name for name in trajectory.paths if name not in registry()]
    count = len(trajectory.paths)
    return [
        (
            path,
            {
                **style(name, own.index(name) if name in own else 0),
                "linewidth": 1.4 + 1.4 * (count - 1 - i) / max(count, 5),
                "markersize": 4.5,
                "markeredgewidth": 0,
            },
        )
        for i, (name, path) in enumerate(trajectory.paths.items())
    ]


def _terrain(trajectory: Trajectory, low: Any, high: Any, ax: Axes) -> None:
    x, y = (np.linspace(a, b, _GRID) for a, b in zip(low, high, strict=True))
    heights, _ = trajectory.surface.value_and_gradient(*np.meshgrid(x, y))
    if trajectory.surface.bounded:
        floor = trajectory.surface.minimum
        heights = np.maximum(heights - (np.nanmin(heights) if floor is None else floor), 0.0)
    draw_contours(ax, x, y, heights, logarithmic=trajectory.surface.bounded)


def _places(name: str | None, points: Any, low: Any, high: Any, ax: Axes, **look: Any) -> None:
    """Mark those of the points that are in view."""
    inside = [p for p in points if np.all(low <= p) and np.all(p <= high)]
    if inside:
        look = {"mec": "black", "linestyle": "none", "zorder": 6, **look}
        ax.plot(*zip(*inside, strict=True), label=name, **look)


def _drawable(path: Path, low: Any, high: Any) -> Any:
    """The points, held near the view: a diverged path's last one can be beyond any drawing."""
    reach = 100 * (high - low)
    return np.clip(path.points, low - reach, high + reach)


def _above(losses: Any, floor: float) -> Any:
    """Heights over the minimum; at the minimum to the last digit there is none to draw."""
    height = losses - floor
    return np.where(height > 0, height, np.nan)


def _limit(trajectory: Trajectory, ax: Axes) -> None:
    """Leave out what would flatten all else: rounding errors, and heights of diverged paths."""
    floor = trajectory.surface.minimum
    if floor is None:
        low, high = view_with(trajectory.surface, trajectory.start)
        seen = np.concatenate(
            [
                path.losses[((low <= path.points) & (path.points <= high)).all(axis=1)]
                for path in trajectory.paths.values()
            ]
        )
        seen = seen[np.isfinite(seen)]  # a path may end in view where the surface has no value
        pad = 0.05 * float(np.ptp(seen)) or 1.0
        ax.set_ylim(seen.min() - pad, seen.max() + pad)
        return
    bottom, top = ax.get_ylim()
    height = max(float(path.losses[0]) for path in trajectory.paths.values()) - floor
    if height > 0:
        ax.set_ylim(max(bottom, 1e-16 * height), min(top, 1e3 * height))


def _label_curves(trajectory: Trajectory, ax: Axes) -> None:
    """Name the curves of the losses at their ends."""
    low, high = ax.get_ylim()
    floor = trajectory.surface.minimum
    ends = []
    for path, look in _styled(trajectory):
        height = path.losses if floor is None else _above(path.losses, floor)
        drawn = height[np.isfinite(height)]
        if not len(drawn):
            continue
        if floor is None:
            share = (drawn[-1] - low) / (high - low)
        else:
            share = math.log(drawn[-1] / low) / math.log(high / low)
        ends.append(End(path.name, float(share), look))
    label_curves(ax, ends)


def _label(trajectory: Trajectory, path: Path) -> str:
    rate = "" if path.lr is None else f"  lr {path.lr:.3g}"
    outcome = trajectory.outcome(path)
    return f"{path.name}{rate}" + (f", {outcome}" if outcome else "")


def _every(trajectory: Trajectory) -> int:
    """Markers at every step while they can be told apart, at some of them after that."""
    return max(1, trajectory.steps // 30)


def _axes(ax: Axes | None, **options: Any) -> Axes:
    if ax is not None:
        return ax
    with needed("drawing a figure"):
        from matplotlib import pyplot

    made: Axes = pyplot.figure(layout="constrained").add_subplot(**options)
    return made
