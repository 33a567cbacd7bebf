"""Figures of curves: training, its second half, the expected best, diagnostics, profiles."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ... import frames
from ...plotting import height_for, new_figure, safe
from ...records import Number, RaceDocument, RacesDocument, RunRecord
from .. import ranges, units
from ..folders import Found
from .axes import (
    WORDS,
    Line,
    draw_lines,
    dress,
    label,
    legend,
    numbers,
    panels,
    styles,
    styles_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DIAGNOSTICS = ("gradient_norm", "update_ratio", "effective_lr")
_CLOSE = 0.5  # the share of training after which a close-up begins


def curves(document: RaceDocument) -> Figure | None:
    """Metric and losses by step, or by epoch where batch sizes differ; None without curves.

    The metric that judges comes first and large.
    """
    return _courses(document, 0.0)


def judging_metric(document: RaceDocument, ax: Axes | None = None) -> Axes:
    """The metric that judges, by step, or by epoch where batch sizes differ.

    Args:
        document: of the race.
        ax: to draw on; one of a new figure by default.
    """
    if ax is None:
        count = len(document.optimizers)
        ax = new_figure(figsize=(8, height_for(count)), layout="constrained").add_subplot()
        dress(ax)
    unit = units.unit([e for e in document.optimizers if e.curve is not None])
    _course(ax, document, ranges.METRIC, unit, 0.0)
    return ax


def close_up(document: RaceDocument) -> Figure | None:
    """The second half of the same curves, on axes that hold all of the better ones."""
    return _courses(document, _CLOSE)


def _courses(document: RaceDocument, start: float) -> Figure | None:
    unit = units.unit([e for e in document.optimizers if e.curve is not None])
    count = len(_lines(document, ranges.METRIC, unit, start))
    if not count:
        return None
    figure = new_figure(figsize=(11.5, 2 * height_for(count, 3.2)), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1.15, 1))
    places = (grid[:, 0], grid[0, 1], grid[1, 1])
    if count <= 12:  # the labels of a loss need no more room than its panel has
        figure.set_size_inches(11.5, 5.6)
    for name, place in zip((ranges.METRIC, *ranges.LOSSES), places, strict=True):
        ax = figure.add_subplot(place)
        dress(ax)
        _course(ax, document, name, unit, start)
    return figure


def _course(ax: Axes, document: RaceDocument, name: str, unit: str, start: float) -> None:
    lines = _lines(document, name, unit, start)
    draw_lines(
        ax,
        lines,
        styles(document),
        # From the start on all curves come from the same place; close up the better ones count.
        held=ranges.better(lines) if start else None,
        higher=ranges.higher(document, name),
        log=name in ranges.LOSSES and ranges.may_be_logarithmic(document, name),
        worst=ranges.untrained(document, name),
    )
    ax.set(xlabel=units.UNITS[unit], ylabel=label(document, name))


def _lines(document: RaceDocument, name: str, unit: str, start: float) -> list[Line]:
    """The curves from a share of the longest one on."""
    found = []
    for entry in document.optimizers:
        band = ranges.band(entry.curve, name)
        each = units.per_step(entry, unit)
        if entry.curve is None or band is None or each is None:
            continue
        x = [step * each for step in entry.curve.steps]
        mean, low, high = map(numbers, (band.mean, band.low, band.high))
        found.append(Line(entry.name, x, mean, low, high, strong=entry.tied))
    first = start * max((line.x[-1] for line in found if line.x), default=0.0)
    # Measurements rise: what is kept of a curve is its end.
    cut = [_from(line, bisect_left(line.x, first)) for line in found]
    return [line for line in cut if line.x]


def _from(line: Line, k: int) -> Line:
    """A curve from its k-th point on."""
    return line._replace(x=line.x[k:], y=line.y[k:], low=line.low[k:], high=line.high[k:])


def expected_best(document: RaceDocument) -> Figure | None:
    """What a search of k configurations would have found; None where it is not known."""
    lines = [
        Line(
            entry.name,
            list(range(1, len(entry.expected_best) + 1)),
            numbers(entry.expected_best),
            strong=entry.tied,
        )
        for entry in document.optimizers
        if entry.expected_best
    ]
    if not lines:
        return None
    figure, (ax,) = panels(1, height=height_for(len(lines)))
    draw_lines(
        ax,
        lines,
        styles(document),
        higher=document.setting.metric.higher_is_better,
        worst=ranges.untrained(document, ranges.METRIC),
    )
    ax.set(
        xlabel="configurations tried, k", ylabel=f"expected best {label(document, ranges.METRIC)}"
    )
    ax.locator_params(axis="x", integer=True)
    return figure


def diagnostics(race: Found) -> Figure | None:
    """Gradient norm, step ratio and effective learning rate of the final runs, mean of the logs."""
    final: dict[str, list[RunRecord]] = {}
    for _, run, record in frames.runs(race.document, race.records):
        if run.stage == "final" and all(getattr(record, name) for name in _DIAGNOSTICS):
            final.setdefault(run.optimizer, []).append(record)
    if not final:
        return None
    figure, each = panels(3, height=4.4)
    look = styles(race.document)
    for name, ax in zip(_DIAGNOSTICS, each, strict=True):
        for entry in race.document.optimizers:
            records = final.get(entry.name, [])
            if records:
                steps = min((record.steps for record in records), key=len)
                # Runs that were stopped have fewer measurements; all have these.
                columns = zip(*(getattr(r, name)[: len(steps)] for r in records), strict=True)
                values = [_middle(column) for column in columns]
                ax.plot(steps, values, linewidth=1.3, label=safe(entry.name), **look[entry.name])
        ax.set(xlabel="training step", ylabel=WORDS[name], yscale="log")
    return legend(figure, each[0])


def profile(document: RacesDocument) -> Figure:
    """The performance profile of races on several tasks."""
    known = [r for e in document.optimizers for r in e.ratios if r is not None]
    last = 1.1 * max([1.2, *known])
    lines = []
    for entry in document.optimizers:
        solved = sorted(r for r in entry.ratios if r is not None)
        heights = [(i + 1) / max(1, len(entry.ratios)) for i in range(len(solved))]
        lines.append(
            Line(entry.name, [1, *solved, last], [0, *heights, heights[-1] if heights else 0])
        )
    figure, (ax,) = panels(1, height=height_for(len(lines)))
    look = styles_of([entry.name for entry in document.optimizers])
    draw_lines(ax, lines, look, higher=True, step=True)
    ax.set(
        xlabel="τ, times the least cost",
        ylabel="share of problems solved",
        xscale="log",
        xlim=(1, last),
        ylim=(0, 1.03),
    )
    return figure


def _middle(values: Sequence[Number]) -> float:
    """The geometric mean of those that are positive."""
    known = [math.log(v) for v in values if v is not None and 0 < v < math.inf]
    return math.exp(math.fsum(known) / len(known)) if known else math.nan
