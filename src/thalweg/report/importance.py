"""How much every tuned setting matters: permutation importance in a forest, and its marginals.

A forest of extremely randomized trees predicts, for one optimizer, the place of a configuration
among those that its search tried. Half of the rise of the squared error when a setting's values are
shuffled, by the variance of the places, is that setting's total effect (Sobol' 1993; the shuffling
is Breiman's of 2001): the share of the differences that it takes part in. Shares of settings that
interact sum to more than 1. Only trees that have not seen a configuration predict it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

from ..records import OptimizerResult, RaceDocument, Tried, Value
from . import units

if TYPE_CHECKING:
    import numpy as np

LEAST = 16
"""Configurations below which nothing is said."""
_TREES = 48
_SHUFFLES = 4  # of every setting and tree
_PARTS = 6  # of the configurations, each with a fifth left out, for the standard error
_LEFT_OUT = 0.2
_MOST = 6  # optimizers, the better ones: a forest takes a while
_DRAWN = 4  # settings, the more important ones, whose marginals are drawn
_GRID = 16  # values of a numeric setting in a marginal
_WIDE = 20.0  # times the least value that the greatest must be for a logarithmic scale


class Effect(NamedTuple):
    """What one setting does.

    Attributes:
        key: the setting.
        share: of the differences between configurations that it takes part in.
        error: standard error of that.
    """

    key: str
    share: float
    error: float


class Importance(NamedTuple):
    """What the settings of one optimizer do.

    Attributes:
        name: of the optimizer.
        explained: share of the variance of unseen places that all settings together predict.
        effects: the settings, those with more effect first.
        configurations: how many there were.
        marginals: for the page's script.
    """

    name: str
    explained: float
    effects: list[Effect]
    configurations: int
    marginals: dict[str, Any]


class Axis(NamedTuple):
    """How a setting's values are laid along an axis.

    Attributes:
        key: the setting.
        kind: `words`, `near one`, `log` or `linear`.
        names: the words; numbers lie before them where both occur.
        low, high: the ends, of 1 less the value for `near one`.
    """

    key: str
    kind: str
    names: list[str]
    low: float
    high: float

    def place(self, value: Value) -> float:
        """Where a value lies, in the units in which trees split."""
        if self.kind == "words":
            return float(self.names.index(str(value)))
        assert isinstance(value, int | float)
        if self.kind == "near one":
            return math.log10(1 - value)
        return math.log10(value) if self.kind == "log" else float(value)

    def grid(self) -> list[float]:
        """Places all along the axis."""
        if self.kind == "words":
            return [float(k) for k in range(len(self.names))]
        low, high = self.low, self.high
        if self.kind in ("log", "near one"):
            low, high = math.log10(low), math.log10(high)
        return [low + (high - low) * (k + 0.5) / _GRID for k in range(_GRID)]


def of_race(document: RaceDocument) -> list[Importance]:
    """The importance of settings, for the better optimizers that tried enough configurations.

    Empty where fewer than two settings were tuned.
    """
    usual = {**units.USUAL, "batch_size": document.setting.batch_size}
    higher = document.setting.metric.higher_is_better
    found = (of_optimizer(e, usual, higher=higher) for e in document.optimizers[:_MOST])
    return [each for each in found if each is not None]


def of_optimizer(
    entry: OptimizerResult, usual: Mapping[str, Value], *, higher: bool
) -> Importance | None:
    """The importance of an optimizer's settings; None for fewer than two, or few configurations.

    Args:
        entry: of the optimizer.
        usual: what a setting was where a configuration does not name it.
        higher: whether more of the metric is better.
    """
    tried = entry.sensitivity
    keys = dict.fromkeys(key for point in tried for key in point.configuration)
    settings = [{k: p.configuration.get(k, usual.get(k)) for k in keys} for p in tried]
    axes = [_axis(k, settings) for k in keys if len({str(c[k]) for c in settings}) > 1]
    if len(axes) < 2 or len(tried) < LEAST:
        return None
    import numpy as np

    places = np.array(
        [[axis.place(c[axis.key]) for axis in axes] for c in settings], dtype=np.float32
    )
    goals = _order(tried, higher)
    if goals.std() == 0:
        return None
    draw = np.random.default_rng(0)
    explained, shares, forest = _shares(places, goals, draw)
    count = len(tried)
    out = max(1, round(_LEFT_OUT * count))
    parts = [draw.permutation(count)[out:] for _ in range(_PARTS)]
    each = np.array([_shares(places[kept], goals[kept], draw)[1] for kept in parts])
    # Shao & Wu 1989: the delete-d jackknife.
    errors = each.std(axis=0) * math.sqrt((count - out) / out)
    effects = [
        Effect(axis.key, max(0.0, float(share)), float(error))
        for axis, share, error in zip(axes, shares, errors, strict=True)
    ]
    order = sorted(range(len(axes)), key=lambda k: -effects[k].share)
    return Importance(
        entry.name,
        float(explained),
        [effects[k] for k in order],
        count,
        _marginals(axes, order[:_DRAWN], places, forest),
    )


def _shares(
    places: np.ndarray, goals: np.ndarray, draw: np.random.Generator
) -> tuple[float, np.ndarray, Any]:
    """How much a forest predicts of unseen configurations, each setting's part, and the forest."""
    import numpy as np
    from sklearn.ensemble import ExtraTreesRegressor

    forest = ExtraTreesRegressor(
        _TREES, min_samples_leaf=2, bootstrap=True, random_state=int(draw.integers(2**31))
    ).fit(places, goals)
    count, settings = places.shape
    sums, seen = np.zeros((1 + settings, count)), np.zeros(count)
    unseen_sum = np.zeros(count)
    for tree, drawn in zip(forest.estimators_, forest.estimators_samples_, strict=True):
        out = np.setdiff1d(np.arange(count), drawn)
        if not len(out):
            continue
        shuffled = np.repeat(places[out][None], 1 + settings * _SHUFFLES, axis=0)
        for k in range(settings * _SHUFFLES):
            others = draw.integers(count, size=len(out))
            shuffled[1 + k, :, k % settings] = places[others, k % settings]
        guesses = tree.tree_.predict(shuffled.reshape(-1, settings)).reshape(len(shuffled), -1)
        wrong = (guesses - goals[out]) ** 2
        sums[0, out] += wrong[0]
        sums[1:, out] += wrong[1:].reshape(_SHUFFLES, settings, -1).mean(axis=0)
        unseen_sum[out] += guesses[0]
        seen[out] += 1
    known = seen > 0
    errors = (sums[:, known] / seen[known]).mean(axis=1)
    variance = goals[known].var() or 1.0
    mean = unseen_sum[known] / seen[known]
    explained = 1 - ((mean - goals[known]) ** 2).mean() / variance
    return explained, (errors[1:] - errors[0]) / (2 * variance), forest


def _order(tried: Sequence[Tried], higher: bool) -> np.ndarray:
    """The share of the configurations that each one is preferred to, from 0 to 1."""
    import numpy as np

    if all(point.preference is not None for point in tried):
        scores = [-float(point.preference or 0) for point in tried]
    else:  # documents of versions that do not say
        means = [None if p.validation is None else p.validation.mean for p in tried]
        scores = [-math.inf if m is None else m if higher else -m for m in means]
    # Equal scores share the mean of their places.
    _, place, count = np.unique(np.array(scores), return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count + 1) / 2)[place] / max(1, len(tried) - 1)


def _marginals(
    axes: Sequence[Axis], chosen: Sequence[int], places: np.ndarray, forest: Any
) -> dict[str, Any]:
    """For each pair of settings the mean prediction over the configurations with both moved."""
    import numpy as np

    grids = {k: axes[k].grid() for k in chosen}
    pairs = {}
    for a, b in combinations(chosen, 2):
        corners = [(x, y) for x in grids[a] for y in grids[b]]
        moved = np.repeat(places[None], len(corners), axis=0)
        moved[:, :, [a, b]] = np.array(corners, dtype=np.float32)[:, None, :]
        means = forest.predict(moved.reshape(-1, places.shape[1])).reshape(len(corners), -1)
        rows = means.mean(axis=1).reshape(len(grids[a]), -1)
        pairs[f"{a},{b}"] = [[round(float(v), 3) for v in row] for row in rows]
    return {"axes": [axis._asdict() for axis in axes], "shown": list(chosen), "pairs": pairs}


def _axis(key: str, settings: Sequence[Mapping[str, Value]]) -> Axis:
    """The scale of a setting."""
    values = [each[key] for each in settings]
    numeric = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numeric) < len(values):
        return Axis(key, "words", sorted({str(v) for v in values}), 0.0, 1.0)
    low, high = min(numeric), max(numeric)
    if low >= 0.4 and 0.9 < high < 1:
        return Axis(key, "near one", [], 1 - high, 1 - low)
    return Axis(key, "log" if low > 0 and high / low > _WIDE else "linear", [], low, high)
