"""What tuning is worth: the best of k configurations, and the learning rates that do well."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..errors import UsageError
from .statistics import Array, scores_of


class GoodRange(NamedTuple):
    """The learning rates that do about as well as the best, and log10(high/low)."""

    low: float
    high: float
    decades: float


def expected_best(values: ArrayLike, *, higher_is_better: bool) -> Array:
    """Expected best score of k of the configurations tried, for every k.

    Exact for k drawn without replacement: the i-th smallest of n is the best of k with
    probability C(i−1, k−1) / C(n, k). Unlike the plug-in form with replacement of Dodge et al.
    (2019) this is unbiased (Tang et al. 2020).

    Args:
        values: validation score of each configuration, shape (n,), finite, diverged ones given
            as the worst outcome.
        higher_is_better: True for accuracy, False for loss.

    Returns:
        Shape (n,): entry k − 1 is the expected best of k configurations.

    Raises:
        UsageError: no values, or one that is not finite.

    Source: Dodge et al. (2019), Show Your Work, EMNLP; Tang et al. (2020), Showing Your Work
    Doesn't Always Work, ACL.
    """
    x = scores_of("values", values)
    best_first = np.sort(x)[::-1] if higher_is_better else np.sort(x)
    n = len(x)
    k = np.arange(1, n + 1)[:, None]
    rank = np.arange(n)[None, :]
    # C(i−2, k−1) / C(i−1, k−1) = (i−k) / (i−1) steps down from the best, i = n, whose weight is
    # k/n; no binomial coefficient is formed, so none overflows.
    ratio = np.maximum(n - rank + 1 - k, 0) / (n - rank)
    ratio[:, :1] = k / n
    return np.cumprod(ratio, axis=1) @ best_first


def good_range(
    learning_rates: ArrayLike, scores: ArrayLike, *, higher_is_better: bool, tolerance: float
) -> GoodRange:
    """The unbroken run of learning rates around the best that score within `tolerance` of it.

    Its ends are learning rates that were tried, nothing is interpolated. Among equal bests the
    smallest learning rate counts as the best.

    Args:
        learning_rates: the grid, shape (n,), positive and distinct, in any order.
        scores: the score at each, shape (n,), finite, diverged runs given as the worst outcome.
        higher_is_better: True for accuracy, False for loss.
        tolerance: how far below the best is still good, in the score's unit.

    Returns:
        low, high and the decades between them; 0 decades if the best stands alone.

    Raises:
        UsageError: a learning rate not positive or given twice, lengths that differ, scores not
            finite, a negative tolerance.
    """
    rates, x = scores_of("learning_rates", learning_rates), scores_of("scores", scores)
    if len(rates) != len(x):
        raise UsageError(f"{len(rates)} learning_rates but {len(x)} scores; give one score each")
    if rates.min() <= 0 or len(np.unique(rates)) < len(rates):
        raise UsageError(f"learning_rates={rates.tolist()} must be positive and distinct")
    if not tolerance >= 0:
        raise UsageError(f"tolerance={tolerance!r} must be 0 or more, in the unit of the score")
    order = np.argsort(rates)
    rates, x = rates[order], x[order] if higher_is_better else -x[order]
    best = int(x.argmax())
    bad = np.flatnonzero(x < x[best] - tolerance)
    after = int(np.searchsorted(bad, best))
    first = bad[after - 1] + 1 if after > 0 else 0
    last = bad[after] - 1 if after < len(bad) else len(x) - 1
    low, high = float(rates[first]), float(rates[last])
    return GoodRange(low, high, math.log10(high / low))
