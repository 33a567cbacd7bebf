"""Names of curves and paths at their ends, so that a picture is read without its legend."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINE = 0.128  # inches that a label at an end takes
_AROUND = 0.75  # inches of a panel that its axis labels and margins take
_SIZE = 7.5  # points, of a label at an end
_LONGEST = 60  # characters of a label
_LONGEST_END = 24  # characters of a label at an end
_TO_THE_RIGHT = 0.7  # of a map: labels of points farther right stand to their left


class End(NamedTuple):
    """The end of a curve or path, and how the name there is drawn.

    Attributes:
        name: what stands there.
        place: of a curve, the height as a share of the axis, which it may leave; of a path,
            (x, y) as shares of both axes.
        look: the line's style for matplotlib.
        strong: whether the name is drawn in bold.
    """

    name: str
    place: Any
    look: Mapping[str, Any]
    strong: bool = False


def label_curves(ax: Axes, ends: Sequence[End]) -> None:
    """Write every curve's name right of the axes, with a stroke of its line; none covers another.

    A name whose curve has left the axis carries an arrow to where it went.

    Args:
        ax: where; its limits are final.
        ends: of the curves; their places are heights.
    """
    inside = [min(1.0, max(0.0, end.place)) for end in ends]
    places = spread(inside, LINE / _inches_high(ax), 0.0, 1.0)
    for end, start, place in zip(ends, inside, places, strict=True):
        arrow = "" if start == end.place else (" ↑" if end.place > 1 else " ↓")
        ax.plot(
            [1.01, 1.03, 1.085],
            [start, place, place],
            transform=ax.transAxes,
            clip_on=False,
            label="_end",
            gid=END,
            **_stroke(end.look),
        )
        ax.annotate(
            safe(end.name, _LONGEST_END) + arrow,
            (1.1, place),
            xycoords="axes fraction",
            va="center",
            fontsize=_SIZE,
            color=end.look["color"],
            fontweight="bold" if end.strong else "normal",
            annotation_clip=False,
            gid=END,
        )


def label_points(ax: Axes, ends: Sequence[End]) -> None:
    """Write the name of every path beside its last point, joined to it by a line.

    Names stand at different heights, so that none hides another where paths end in one point.

    Args:
        ax: where; its limits are final.
        ends: of the paths; their places are points, and those outside the axes count as on its
            edge.
    """
    from matplotlib.patheffects import withStroke

    inside = [tuple(min(0.98, max(0.02, share)) for share in end.place) for end in ends]
    gap = LINE / _inches_high(ax)
    wanted = [y + 1.5 * gap for _, y in inside]
    for end, (x, y), place in zip(ends, inside, spread(wanted, gap, 0.03, 0.97), strict=True):
        right = x < _TO_THE_RIGHT
        ax.annotate(
            safe(end.name, _LONGEST_END),
            (x, y),
            (x + (0.07 if right else -0.07), place),
            xycoords="axes fraction",
            textcoords="axes fraction",
            ha="left" if right else "right",
            va="center",
            fontsize=_SIZE,
            color=end.look["color"],
            fontweight="bold" if end.strong else "normal",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": end.look["color"],
                "linewidth": 0.7,
                "shrinkA": 1,
                "shrinkB": 3,
            },
            path_effects=[withStroke(linewidth=2.2, foreground="white")],
            zorder=7,
            gid=END,
        )


END = "end"
"""The gid of what stands at the end of a curve or path; an animation shows it in its last frame."""


def height_for(labels: int, least: float = 3.8) -> float:
    """The height in inches of a panel with so many labels at its right end."""
    return max(least, LINE * labels + 0.9)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places for labels, near where they are wanted and `gap` apart, in the same order.

    Labels that would overlap form a block around the mean of their wanted places. Where there is no
    room for all, they are closer together.

    Args:
        wanted: a place per label.
        gap: the least distance.
        low, high: the ends of the room.
    """
    count = len(wanted)
    if count > 1:
        gap = min(gap, (high - low) / (count - 1))
    order = sorted(range(count), key=lambda k: wanted[k])
    blocks: list[tuple[float, list[int]]] = []  # the place of the first label, and the labels
    for k in order:
        members = [k]
        start = min(max(wanted[k], low), high)
        while blocks and blocks[-1][0] + gap * len(blocks[-1][1]) > start:
            members = blocks.pop()[1] + members
            mean = math.fsum(wanted[m] - gap * n for n, m in enumerate(members)) / len(members)
            start = min(max(mean, low), high - gap * (len(members) - 1))
        blocks.append((start, members))
    places = [0.0] * count
    for start, members in blocks:
        for n, member in enumerate(members):
            places[member] = start + gap * n
    return places


def safe(name: str, length: int = _LONGEST) -> str:
    """A text that matplotlib draws as it is, and not as a formula; cut where it is no label."""
    short = name if len(name) <= length else f"{name[: length - 1]}…"
    return short.replace("$", r"\$").replace("\n", " ").lstrip("_") or "–"


def _stroke(look: Mapping[str, Any]) -> dict[str, Any]:
    """A line's colour and dashes, at the width of the strokes beside names."""
    return {"linewidth": 1.4, "color": look["color"], "linestyle": look["linestyle"]}


def _inches_high(ax: Axes) -> float:
    """About how high a panel is; a layout that is still to be computed may change it a little."""
    figure, spot = ax.get_figure(root=True), ax.get_subplotspec()
    assert figure is not None
    height = float(figure.get_size_inches()[1])
    if spot is None:
        return max(LINE, height * ax.get_position().height)
    parent = ax.get_figure(root=False)
    if parent is not None and parent is not figure:
        height *= parent.bbox.height / figure.bbox.height
    share = len(spot.rowspan) / spot.get_gridspec().nrows
    return max(LINE, height * share - _AROUND)
