"""What a race could have seen: the smallest difference that its seeds find most of the time."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from ..errors import UsageError
from .statistics import Array, student_quantile

POWER = 0.8  # what is customary
_COARSE = 32  # p-values at most as small as asked for: of more, the test is as good as Student's
_SAMPLES, _AT_ONCE = 2_000, 50


def detectable(
    differences: ArrayLike,
    *,
    comparisons: int = 1,
    margin: float = 0.0,
    power: float = POWER,
    level: float = 0.95,
) -> float | None:
    """The smallest true mean difference that `statistics.ties` would find with this probability.

    The differences are taken to be normal, with the spread that they have. Of many seeds, the
    sign-flip test has the power of Student's paired test; of few, its p-values are coarse and it
    has less, which is worked out from samples. The error rate is shared among the comparisons as
    by the first of Holm's steps: so what is said holds whatever the others are, and a comparison
    that comes later finds less than it.

    Args:
        differences: paired differences of the scores, shape (n,); their spread alone counts.
        comparisons: how many optimizers are compared with the leader.
        margin: the smallest mean difference that matters, in the score's unit.
        power: probability of finding it, from 0.5 to 1.
        level: 1 − level is the error rate of all comparisons together.

    Returns:
        The difference, in the score's unit; None where so few seeds find none, however large.

    Raises:
        UsageError: no comparison, or a probability that is none.

    Source: Bloom (1995), Minimum Detectable Effects, Evaluation Review 19(5); for the power of
    the sign-flip test, Hoeffding (1952), Annals of Mathematical Statistics 23(2).
    """
    if comparisons < 1 or not 0.5 <= power < 1 or not 0 < level < 1:
        raise UsageError(
            f"comparisons={comparisons}, power={power}, level={level} must be 1 or more, at least "
            "0.5 and below 1, and between 0 and 1"
        )
    d = np.asarray(differences, dtype=np.float64)
    seeds = len(d)
    error = (1 - level) / comparisons
    allowed = math.floor(error * 2 ** (seeds - 1) + 1e-9)  # p-values are multiples of 2^(1−n)
    if allowed == 0:
        return None
    spread = float(d.std(ddof=1))
    if spread == 0:
        return margin
    if allowed <= _COARSE:
        shifts, means = _coarse(seeds, allowed)
        return spread * float(np.quantile(np.maximum(shifts, margin / spread - means), power))
    scale = spread / math.sqrt(seeds)
    found = max(student_quantile(1 - error / 2, seeds - 1) * scale, margin)
    return found + student_quantile(power, seeds - 1) * scale


@cache
def _coarse(seeds: int, allowed: int) -> tuple[Array, Array]:
    """By how much standard normal samples must be shifted for the test to reject them.

    Flipping the signs of some values leaves a sum that is as far above zero only if these values
    have a mean of zero or less. A sample is rejected if fewer than `allowed` of such subsets do,
    the empty one not counted: that is when it is shifted by more than the `allowed`-th smallest
    mean of a subset lies below zero.

    Returns:
        The shifts, and the means of the samples.
    """
    drawn = np.random.default_rng(0).standard_normal((_SAMPLES, seeds))
    subsets = (np.arange(1, 2**seeds)[:, None] >> np.arange(seeds) & 1).astype(np.float64)
    averages = (subsets / subsets.sum(axis=1, keepdims=True)).T
    shifts = [
        -np.partition(drawn[k : k + _AT_ONCE] @ averages, allowed - 1, axis=1)[:, allowed - 1]
        for k in range(0, _SAMPLES, _AT_ONCE)
    ]
    return np.concatenate(shifts), drawn.mean(axis=1)
