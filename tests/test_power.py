"""What a race says that it would have found, against the races' own test on drawn differences."""

from __future__ import annotations

import math

import numpy as np
import pytest

from thalweg.errors import UsageError
from thalweg.racing.power import detectable
from thalweg.racing.statistics import ties


def spread(seeds: int, deviation: float = 1.0) -> np.ndarray:
    """Differences with exactly this standard deviation."""
    drawn = np.random.default_rng(seeds).normal(size=seeds)
    return 3 + deviation * (drawn - drawn.mean()) / drawn.std(ddof=1)


@pytest.mark.parametrize(("seeds", "margin"), [(6, 0.0), (8, 0.0), (10, 0.0), (10, 0.9), (14, 0.0)])
def test_two_optimizers_that_differ_by_it_are_told_apart_as_often_as_is_said(
    seeds: int, margin: float
) -> None:
    difference = detectable(spread(seeds), margin=margin)
    assert difference is not None
    draw, found = np.random.default_rng(1), 0
    for _ in range(400):
        first = draw.normal(size=seeds)
        second = first - difference + draw.normal(size=seeds)
        result = ties({"a": first, "b": second}, higher_is_better=True, margin=margin,
                      resamples=20)  # fmt: skip
        found += result.best == ("a",)
    # Three standard errors of a share of 0.8 in 400.
    assert found / 400 == pytest.approx(0.8, abs=0.06)


def test_of_many_seeds_it_is_what_students_test_finds() -> None:
    # By the noncentral t distribution of the paired test.
    assert detectable(spread(20)) == pytest.approx(0.6604, rel=0.01)


def test_it_grows_with_the_spread_and_the_comparisons_and_falls_with_seeds() -> None:
    assert detectable(spread(10, 4.0)) == pytest.approx(4 * (detectable(spread(10)) or 0))
    more = [detectable(spread(10), comparisons=m) or math.inf for m in (1, 3, 9, 25)]
    assert more == sorted(set(more))
    fewer = [detectable(spread(n)) or math.inf for n in (8, 10, 20, 40)]
    assert fewer == sorted(set(fewer), reverse=True)


def test_too_few_seeds_find_nothing() -> None:
    assert detectable(spread(5)) is None
    assert detectable(spread(6)) is not None
    assert detectable(spread(9), comparisons=14) is None
    assert detectable([1.0]) is None


def test_scores_that_never_differ_leave_the_margin() -> None:
    assert detectable([0.5] * 10, margin=0.01) == 0.01


@pytest.mark.parametrize(
    "wrong", [{"comparisons": 0}, {"power": 1.0}, {"power": 0.2}, {"level": 1}]
)
def test_what_is_no_probability_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="comparisons="):
        detectable(spread(10), **wrong)  # type: ignore[arg-type]
