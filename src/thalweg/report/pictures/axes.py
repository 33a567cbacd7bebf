"""What all figures of a race share: panels, the looks of optimizers, end labels, clipping."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ...plotting import End, label_curves, looks, new_figure, safe
from ...records import Number, RaceDocument
from .. import ranges

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BANDS = 8  # more bands than these hide one another
WORDS = {
    "train_loss": "training loss",
    "validation_loss": "validation loss",
    "gradient_norm": "gradient norm",
    "update_ratio": "update-to-weight ratio",
    "effective_lr": "effective learning rate",
}


class Line(NamedTuple):
    """A curve of one optimizer.

    Attributes:
        name: of the optimizer.
        x: where it was measured.
        y: what was measured; NaN where nothing was.
        low: lower ends of its band, if it has one.
        high: upper ends.
        strong: whether it is drawn stronger, as those are that tie for first.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    strong: bool = False


def panels(
    count: int, width: float | None = None, height: float = 3.6, columns: int = 3
) -> tuple[Figure, list[Axes]]:
    """A figure with panels side by side, and in rows where there are many."""
    columns = min(count, columns)
    rows = -(-count // columns)
    size = (width or (6.4 if count == 1 else 4.2 * columns), height if rows == 1 else 3.0 * rows)
    figure = new_figure(figsize=size, layout="constrained")
    axes = [figure.add_subplot(rows, columns, k + 1) for k in range(count)]
    for ax in axes:
        dress(ax)
    return figure, axes


def dress(ax: Axes) -> None:
    """A grid behind the curves, and a frame of two sides."""
    ax.grid(color="0.9", linewidth=0.8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_axisbelow(True)


def styles(document: RaceDocument) -> dict[str, dict[str, Any]]:
    """The line style of every optimizer of a race, by name: that of its page."""
    return styles_of([entry.name for entry in document.optimizers])


def styles_of(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The line style of every name for matplotlib."""
    return {
        name: {"color": look.light, "linestyle": (0, look.dash) if look.dash else "-"}
        for name, look in looks(names).items()
    }


def draw_lines(
    ax: Axes,
    lines: Sequence[Line],
    look: Mapping[str, Mapping[str, Any]],
    *,
    higher: bool,
    log: bool = False,
    worst: Number = None,
    held: Sequence[Line] | None = None,
    step: bool = False,
) -> None:
    """Draw curves on an axis that shows all but what is much worse than an untrained model.

    What lies outside is marked by a triangle at that edge; every curve has its name at its end.

    Args:
        ax: where.
        lines: the curves.
        look: the line styles by name.
        higher: whether more is better.
        log: whether the vertical axis is logarithmic.
        worst: what an untrained model scores.
        held: the curves that the axis holds; all of them by default.
        step: whether values hold until the next one, as in a profile.
    """
    bands = sum(bool(line.low) for line in lines) <= _BANDS
    shown = lines if held is None else held
    values = [v for line in shown for v in line.y]
    if bands:
        values += [v for line in shown for v in (*line.low, *line.high)]
    ends = ranges.shown(values, higher=higher, log=log, worst=worst)
    ax.set_yscale("log" if log else "linear")
    if ends is None:
        ax.text(0.5, 0.5, "no finite values", transform=ax.transAxes, ha="center", color="0.4")
        return
    ax.set_ylim(*ends)
    for line in lines:
        style = {**look[line.name], "linewidth": 1.9 if line.strong else 1.2}
        zorder = 3 if line.strong else 2
        (drawn,) = ax.plot(line.x, line.y, zorder=zorder, label=safe(line.name), **style)
        drawn.set_drawstyle("steps-post" if step else "default")
        if bands and line.low:
            ax.fill_between(
                line.x, line.low, line.high, color=style["color"], alpha=0.12, linewidth=0
            )
        _mark_outside(ax, line, style["color"], ends)
    ax.set_xlim(right=max(x for line in lines for x in line.x))
    _label_ends(ax, lines, look, ends, log)


def _mark_outside(ax: Axes, line: Line, colour: str, ends: tuple[float, float]) -> None:
    """A triangle at the edge wherever a curve leaves the axis."""
    low, high = ends
    inside = True
    for x, y in zip(line.x, line.y, strict=True):
        if math.isnan(y):
            continue
        out = y < low or y > high
        if out and inside:
            mark_edge(ax, x, ends, y, colour)
        inside = not out


def mark_edge(ax: Axes, x: Any, ends: tuple[float, float], y: float, colour: str) -> None:
    """A triangle that points to where a value lies outside the axis."""
    down = y < ends[0]
    ax.plot(
        [x],
        [ends[0] if down else ends[1]],
        "v" if down else "^",
        color=colour,
        markersize=5,
        clip_on=False,
        zorder=4,
        label="_outside",
    )


def _label_ends(
    ax: Axes,
    lines: Sequence[Line],
    look: Mapping[str, Mapping[str, Any]],
    ends: tuple[float, float],
    log: bool,
) -> None:
    """Every curve's name at its end."""
    scale = math.log if log else float
    low, high = map(scale, ends)
    tails = [(line, tail) for line in lines if (tail := _last(line, log)) is not None]
    label_curves(
        ax,
        [
            End(line.name, (scale(y) - low) / (high - low), look[line.name], line.strong)
            for line, (_, y) in tails
        ],
    )


def _last(line: Line, log: bool) -> tuple[float, float] | None:
    """The last point of a curve that can be drawn."""
    known = [
        (x, y)
        for x, y in zip(line.x, line.y, strict=True)
        if math.isfinite(x) and math.isfinite(y) and (y > 0 or not log)
    ]
    return known[-1] if known else None


def legend(figure: Figure, ax: Axes) -> Figure:
    """The names of what is drawn, below all panels."""
    handles, labels = ax.get_legend_handles_labels()
    if handles:
        figure.legend(
            handles,
            labels,
            loc="outside lower center",
            frameon=False,
            ncols=min(5, len(labels)),
            fontsize="small",
        )
    return figure


def numbers(values: Sequence[Number]) -> list[float]:
    """The values as matplotlib takes them."""
    return [math.nan if v is None else v for v in values]


def label(document: RaceDocument, curve: str) -> str:
    """What an axis of a curve says."""
    return WORDS.get(curve) or f"validation {metric(document)}"


def metric(document: RaceDocument) -> str:
    """The name of the metric that judges."""
    return safe(document.setting.metric.name)
