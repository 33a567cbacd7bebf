"""The table of results: a row per optimizer, those that tie for first tinted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from ..records import GoodRange, Interval, Number, OptimizerResult, RaceDocument
from . import looks, ranges, text, units
from .cells import WIDTH, Bar, Cell, Head, Row, Table


def table(summary: RaceDocument) -> Table:
    """The table of all optimizers in order; those that tie for first share a rank and a tint."""
    entries, metric = summary.optimizers, summary.setting.metric.name
    columns = [_Estimates(entries, "test"), _Estimates(entries, "validation")]
    rates, unit, more = _Rates(entries), units.unit(entries), units.more_than_rates(entries)
    over_seeds = "Mean ± half the 95 % interval over seeds"
    heads = [
        Head(("#",), "num", "Rank; methods that tie for first share it"),
        Head(("optimizer",), "name", "Its formula and paper are below"),
        Head((f"test {metric}",), "wide", f"What ranks. {over_seeds}", columns[0].caption),
        Head((f"validation {metric}",), "wide", over_seeds, columns[1].caption),
        _chosen(more),
        Head(
            ("to", "target"),
            "num",
            "How long the target loss took, in the unit of the learning curves; – for never",
            unit=unit,
        ),
        Head(
            ("good lr range,", "decades"),
            "wide",
            "Learning rates about as good as the best",
            rates.caption,
        ),
        Head(("diverged,", "tuning"), "num", "Share of the runs of its search that diverged"),
        Head(("diverged,", "judged"), "num", "Share of its runs on fresh seeds that diverged"),
        Head(("ms/step",), "num", "Milliseconds per training step, measured separately"),
    ]
    ties = sum(entry.tied for entry in entries)
    lines = looks.classes(entry.name for entry in entries)
    rows = [_row(entry, columns, rates, ties, unit, more) for entry in entries]
    return Table(heads, [r._replace(line=line) for r, line in zip(rows, lines, strict=True)])


def _chosen(more: bool) -> Head:
    """The heading of what was chosen: learning rates, or all settings where more was tuned."""
    if more:
        return Head(("chosen", "settings"), "settings", "What was tuned, as chosen on validation")
    return Head(("best lr",), "num", "The learning rate chosen on the validation set")


def _row(
    entry: OptimizerResult,
    columns: Sequence[_Estimates],
    rates: _Rates,
    ties: int,
    unit: str,
    more: bool,
) -> Row:
    tuning, judged = text.diverged(entry)
    reached = units.to_target(entry, unit)
    rate = entry.learning_rate
    chosen = text.settings(units.chosen(entry)) if more else text.number(rate)
    cells = [
        *(column.cell(entry) for column in columns),
        Cell(rate, chosen, "settings" if more else "num", edge=entry.edge),
        Cell(reached, text.amount(reached), "num target"),
        rates.cell(entry),
        Cell(entry.diverged_tuning, tuning, "num"),
        Cell(entry.diverged_final, judged, "num"),
        Cell(entry.ms_per_step, text.number(entry.ms_per_step), "num"),
    ]
    title = "Ties for first" if entry.tied else ""
    rank = Cell(entry.rank, text.rank(entry, ties), "num rank", title)
    return Row(rank, entry.name, cells, "tied" if entry.tied else "behind", "")


class _Estimates:
    """One column of means with intervals: its decimals and the range its bars span.

    The bars span the better methods only: with the floor in view, no two of the others could be
    told apart. A bar that lies outside is drawn as an arrow at that end.
    """

    def __init__(
        self, entries: Sequence[OptimizerResult], key: Literal["validation", "test"]
    ) -> None:
        self.key = key
        known = [e for e in map(self.read, entries) if e]
        self.decimals = text.decimals_of([(high - low) / 2 for _, low, high in known])
        ends = [v for _, low, high in ranges.better(known) for v in (low, high)] or [0.0, 1.0]
        margin = 0.04 * (max(ends) - min(ends)) or 0.5
        self.low, self.high = min(ends) - margin, max(ends) + margin
        self.best = known[0][0] if known else None

    def estimate(self, entry: OptimizerResult) -> Interval:
        """The interval that the column shows of an entry."""
        return (entry.validation if self.key == "validation" else entry.test) or Interval()

    def read(self, entry: OptimizerResult) -> tuple[float, float, float] | None:
        """Mean, low and high, or None where any of them is not known."""
        own = self.estimate(entry)
        if own.mean is None or own.low is None or own.high is None:
            return None
        return own.mean, own.low, own.high

    @property
    def caption(self) -> str:
        if self.best is None:
            return text.DASH
        decimals = max(0, self.decimals - 1)
        return f"{text.fixed(self.low, decimals)} … {text.fixed(self.high, decimals)}"

    def cell(self, entry: OptimizerResult) -> Cell:
        """The mean with half its interval and a bar."""
        known = self.read(entry)
        if known is None:
            only = self.estimate(entry).mean
            return Cell(only, text.fixed(only, self.decimals), "wide")
        mean, low, high = known
        return Cell(
            mean,
            text.fixed(mean, self.decimals),
            "wide",
            f"95 % interval {text.interval(self.estimate(entry))}",
            beside=f"± {text.fixed((high - low) / 2, self.decimals)}",
            bar=self._bar(*known),
        )

    def _bar(self, mean: float, low: float, high: float) -> Bar:
        if high < self.low:
            return Bar(beyond="left")
        if low > self.high:
            return Bar(beyond="right")
        return Bar(
            reference=None if self.best is None else self._x(self.best),
            span=(self._x(low), self._x(high)),
            dot=self._x(mean) if self.low <= mean <= self.high else None,
        )

    def _x(self, value: float) -> float:
        return WIDTH * min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


class _Rates:
    """The column of good learning rates, on one logarithmic axis for all methods."""

    def __init__(self, entries: Sequence[OptimizerResult]) -> None:
        rates = [entry.learning_rate for entry in entries]
        rates += [
            end for e in entries if e.good_range for end in (e.good_range.low, e.good_range.high)
        ]
        shown = [math.log10(rate) for rate in rates if rate is not None and rate > 0] or [-5.0, 0.0]
        self.low, self.high = math.floor(min(shown) - 0.1), math.ceil(max(shown) + 0.1)

    @property
    def caption(self) -> str:
        return f"{text.number(10.0**self.low)} … {text.number(10.0**self.high)}"

    def cell(self, entry: OptimizerResult) -> Cell:
        """The width of the range, and a bar of it with the rate that was chosen."""
        good = entry.good_range or GoodRange()
        low, high = self._x(good.low), self._x(good.high)
        drawn = Bar(
            span=None if low is None or high is None else (low, high),
            dot=self._x(entry.learning_rate),
        )
        open_ended = "≥ " if good.at_least else ""
        title = f"{text.number(good.low)} to {text.number(good.high)}"
        title += "; a rate beside these was stopped early and may be good too" if open_ended else ""
        shown = f"{open_ended}{text.fixed(good.decades, 1)}"
        return Cell(good.decades, shown, "wide", title, bar=drawn)

    def _x(self, rate: Number) -> float | None:
        if rate is None or rate <= 0:
            return None
        return WIDTH * (math.log10(rate) - self.low) / (self.high - self.low)
