"""Figures of a search: the metric by each hyperparameter, and all configurations at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...plotting import looks, safe
from ...records import OptimizerResult, RaceDocument, Value
from .. import ranges
from .axes import label, legend, mark_edge, panels, styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDE = 20.0  # times the least value that the greatest must be for a logarithmic axis


def sensitivity(document: RaceDocument) -> Figure | None:
    """Validation metric by every hyperparameter that was tuned; None where none was."""
    keys = _tuned(document)
    if not keys:
        return None
    figure, each = panels(len(keys), height=4.4)
    for key, ax in zip(keys, each, strict=True):
        _dependence(ax, document, key, joined=len(keys) == 1)
    return legend(figure, each[0])


def _dependence(ax: Axes, document: RaceDocument, key: str, *, joined: bool) -> None:
    """The metric of every configuration by one hyperparameter."""
    words = not all(map(_is_number, _tried(document, key)))
    look, shapes = styles(document), looks(entry.name for entry in document.optimizers)
    higher = document.setting.metric.higher_is_better
    scores = [mean for entry in document.optimizers for _, mean in _points(entry)]
    ends = ranges.shown(scores, higher=higher, worst=ranges.untrained(document, ranges.METRIC))
    for entry in document.optimizers:
        points = [(c[key], mean) for c, mean in _points(entry) if c.get(key) is not None]
        places = sorted((str(x) if words else _number(x), y) for x, y in points)
        style: dict[str, Any] = {**look[entry.name], "linewidth": 1.2}
        if not joined:
            style["linestyle"] = "none"
        ax.plot(
            [x for x, _ in places],
            [y for _, y in places],
            marker=shapes[entry.name].marker,
            markersize=4,
            label=safe(entry.name),
            **style,
        )
        for x, y in places:
            if ends is not None and not ends[0] <= y <= ends[1]:
                mark_edge(ax, x, ends, y, look[entry.name]["color"])
    ax.set(
        xlabel="learning rate" if key == "lr" else safe(key),
        ylabel=label(document, ranges.METRIC),
    )
    if ends is not None:
        ax.set_ylim(*ends)
    if not words and _wide(_tried(document, key)):
        ax.set_xscale("log")


def configurations(document: RaceDocument) -> Figure | None:
    """Parallel coordinates of the configurations; None where only one thing was tuned."""
    keys = _tuned(document)
    if len(keys) < 2:
        return None
    figure, (ax,) = panels(1, width=max(6.4, 1.35 * (len(keys) + 1)), height=4.8)
    axes = [_Axis([v for v in _tried(document, key) if v is not None]) for key in keys]
    scores = _score_axis(document)
    look = styles(document)
    for entry in document.optimizers:
        for number, (configuration, mean) in enumerate(_points(entry)):
            places = [
                (x, axis.place(configuration[key]))
                for x, (key, axis) in enumerate(zip(keys, axes, strict=True))
                if configuration.get(key) is not None
            ] + [(len(keys), scores.place(mean))]
            ax.plot(
                [x for x, _ in places],
                [y for _, y in places],
                linewidth=0.9,
                alpha=0.7,
                label=None if number else safe(entry.name),
                **look[entry.name],
            )
    for x, axis in enumerate([*axes, scores]):
        ax.axvline(x, color="0.6", linewidth=0.8)
        for y, text in ((0.0, axis.ends[0]), (1.0, axis.ends[1])):
            ax.annotate(
                safe(text),
                (x, y),
                xytext=(0, -11 if y == 0 else 4),
                fontsize=7,
                textcoords="offset points",
                ha="center",
            )
    ax.set_xticks(
        range(len(keys) + 1),
        [*map(safe, keys), label(document, ranges.METRIC)],
        rotation=20,
        ha="right",
    )
    ax.set(ylim=(-0.1, 1.1), yticks=[])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    return legend(figure, ax)


class _Axis:
    """An axis of parallel coordinates: where values lie between 0 and 1."""

    def __init__(self, values: Sequence[Value]) -> None:
        numeric = [_number(v) for v in values if _is_number(v)]
        self.words = sorted({str(v) for v in values}) if len(numeric) < len(values) else []
        low, high = 0.0, 1.0
        if numeric and not self.words:
            low, high = min(numeric), max(numeric)
        self.log = _wide(values) if not self.words else False
        self.low, self.high = (math.log(low), math.log(high)) if self.log else (low, high)
        self.ends = (self.words[0], self.words[-1]) if self.words else (f"{low:.3g}", f"{high:.3g}")

    def place(self, value: Value) -> float:
        """Between 0 and 1; at an end for what lies outside."""
        if self.words:
            return self.words.index(str(value)) / max(1, len(self.words) - 1)
        at = math.log(_number(value)) if self.log else _number(value)
        return min(1.0, max(0.0, (at - self.low) / ((self.high - self.low) or 1)))


def _score_axis(document: RaceDocument) -> _Axis:
    """The axis of the metric, which ends where a model is worse than an untrained one."""
    scores = [mean for entry in document.optimizers for _, mean in _points(entry)]
    higher = document.setting.metric.higher_is_better
    worst = ranges.untrained(document, ranges.METRIC)
    axis = _Axis(scores)
    axis.log = False
    ends = ranges.shown(scores, higher=higher, worst=worst)
    if ends is not None:
        axis.low, axis.high = ends
        axis.ends = (f"{ends[0]:.3g}", f"{ends[1]:.3g}")
    return axis


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Value) -> float:
    """A value that is a number, as one."""
    assert isinstance(value, int | float)
    return float(value)


def _points(entry: OptimizerResult) -> list[tuple[Mapping[str, Value], float]]:
    """The configurations tried that have a finite validation metric, with it."""
    return [
        (point.configuration or {"lr": point.learning_rate}, point.validation.mean)
        for point in entry.sensitivity
        if point.validation is not None and point.validation.mean is not None
    ]


def _tried(document: RaceDocument, key: str) -> list[Value]:
    found = [c.get(key) for e in document.optimizers for c, _ in _points(e)]
    return [value for value in found if value is not None]


def _tuned(document: RaceDocument) -> list[str]:
    """The hyperparameters of which more than one value was tried, the learning rate first."""
    keys = dict.fromkeys(k for e in document.optimizers for c, _ in _points(e) for k in c)
    varied = [key for key in keys if len({str(v) for v in _tried(document, key)}) > 1]
    return sorted(varied, key=lambda key: key != "lr")


def _wide(values: Sequence[Value]) -> bool:
    known = [_number(value) for value in values if _is_number(value)]
    return bool(known) and min(known) > 0 and max(known) / min(known) > _WIDE
