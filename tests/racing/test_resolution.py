"""The interval of a metric over samples, and what a race says where it is too wide."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from thalweg import records
from thalweg.racing import race, resolution, small_sets
from thalweg.records import (
    Band,
    Curve,
    Interval,
    OptimizerResult,
    RaceDocument,
    Samples,
    Setting,
    Verdict,
    VersusBest,
)
from thalweg.tasks import Metric, Task, losses


@pytest.mark.parametrize(("hits", "count"), [(0, 2), (2, 2), (1, 2), (35, 36), (350, 360)])
def test_an_accuracys_interval_is_wilsons(hits: int, count: int) -> None:
    peer = stats.binomtest(hits, count).proportion_ci(0.95, "wilson")
    found = resolution.wilson(hits / count, count)
    assert (found.low, found.high) == pytest.approx((peer.low, peer.high), abs=1e-12)


def regression(test: int, metric: Any, noise: float = 0.5, step: Any = None) -> Task:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(400 + test, 3, generator=draw)
    y = x.sum(1, keepdim=True) + noise * torch.randn(len(x), 1, generator=draw)
    part = [(x[a:b], y[a:b]) for a, b in ((0, 200), (200, 400), (400, 400 + test))]
    return Task(
        "line",
        lambda: nn.Linear(3, 1),
        *part,
        "mse" if step is None else None,
        metric=metric,
        batch_size=20,
        epochs=4,
        step=step,
    )


@pytest.mark.parametrize("metric", ["loss", "mse"])
def test_a_losss_interval_is_that_of_its_mean_over_samples(metric: str) -> None:
    found = race(regression(300, metric), optimizers=["sgd"], budget=3, seeds=2)
    interval = found.document["samples"]["test"]
    # The residuals are the noise, of variance 0.25: the standard error of the mean of 300 squares
    # is 0.25 * sqrt(2 / 300). Noise of the sample and of 400 resamples leaves about 15 %.
    half = (interval["high"] - interval["low"]) / 2
    assert half == pytest.approx(1.96 * 0.25 * np.sqrt(2 / 300), rel=0.25)
    assert interval["low"] < 0.25 < interval["high"]


def test_a_loss_of_a_step_and_a_metric_of_ones_own_have_one_too() -> None:
    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        return losses.mse(model(batch[0]), batch[1])

    by_step = race(regression(300, "loss", step=step), optimizers=["sgd"], budget=3, seeds=2)
    by_name = race(regression(300, "loss"), optimizers=["sgd"], budget=3, seeds=2)
    for end in ("low", "high"):
        one, other = (r.document["samples"]["test"][end] for r in (by_step, by_name))
        assert one == pytest.approx(other, rel=1e-3)
    within = Metric("within", True, lambda o, y: ((o - y).abs() < 0.5).float().mean(), 0.0)
    found = race(regression(300, within), optimizers=["sgd"], budget=3, seeds=2).document
    share = found["optimizers"][0]["test"]["mean"]
    known = resolution.wilson(share, 300)
    interval = found["samples"]["test"]
    # The percentile interval of a proportion of 300 is near Wilson's.
    assert (interval["low"], interval["high"]) == pytest.approx((known.low, known.high), abs=0.02)


def test_of_more_samples_than_are_looked_at_it_is_narrower(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = race(regression(900, "loss"), optimizers=["sgd"], budget=2, seeds=1).document
    monkeypatch.setattr(resolution, "_LOOKED_AT", 300)
    part = race(regression(900, "loss"), optimizers=["sgd"], budget=2, seeds=1).document
    one, other = (d["samples"]["test"]["high"] - d["samples"]["test"]["low"] for d in (whole, part))
    assert other == pytest.approx(one, rel=0.25)


def two_samples(count: int) -> Task:
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(200 + 2 * count, 2, generator=draw)
    data = x, (x.sum(1) > 0).long()
    part = [
        (data[0][a:b], data[1][a:b])
        for a, b in ((0, 200), (200, 200 + count), (200 + count, 200 + 2 * count))
    ]
    return Task("sides", lambda: nn.Linear(2, 2), *part, "cross_entropy", batch_size=20, epochs=2)


def test_two_validation_samples_bring_a_warning_with_their_interval() -> None:
    found = race(two_samples(2), optimizers=["sgd", "adam"], budget=3, seeds=6)
    assert (
        "The validation set is small: other 2 samples like it would give values of accuracy between"
    ) in found.result.verdict.sentence
    assert "The test set is small" in found.result.verdict.sentence
    interval = found.document["samples"]["validation"]
    assert interval["high"] - interval["low"] > 0.5


def test_enough_samples_bring_none() -> None:
    found = race(two_samples(2000), optimizers=["sgd", "adam"], budget=3, seeds=6)
    assert "set is small" not in found.result.verdict.sentence


def entry(name: str, mean: float, rank: int | None) -> OptimizerResult:
    band = Band(mean=[0.1], low=[0.1], high=[0.1])
    return OptimizerResult(
        name=name,
        rank=rank,
        tied=rank == 1,
        test=Interval(mean=mean),
        validation=Interval(mean=mean),
        versus_best=VersusBest() if name != "first" else None,
        curve=Curve(steps=[0], train_loss=band, validation_loss=band, validation_metric=band),
    )


def result(*entries: OptimizerResult, low: float, high: float) -> RaceDocument:
    return RaceDocument(
        task="x",
        optimizers=[entry("first", 0.9, 1), *entries],
        setting=Setting(test=100, metric=records.Metric(name="accuracy", higher_is_better=True)),
        samples=Samples(test=Interval(mean=0.9, low=low, high=high)),
        verdict=Verdict(),
    )


def test_differences_that_are_claimed_and_smaller_are_named() -> None:
    near, far = entry("near", 0.88, 2), entry("far", 0.5, 3)
    said = small_sets.caveats(result(near, far, low=0.83, high=0.95))
    assert len(said) == 1
    assert "By less than that are behind the first: near." in said[0]
    assert not small_sets.warning(result(near, far, low=0.83, high=0.95))
    assert small_sets.caveats(result(near, far, low=0.895, high=0.905)) == []


def test_a_tie_claims_no_difference() -> None:
    assert not small_sets.warning(result(entry("near", 0.89, 1), low=0.83, high=0.95))
    assert small_sets.caveats(result(entry("near", 0.89, 1), low=0.83, high=0.95)) == []
    assert small_sets.warning(result(entry("near", 0.85, 2), low=0.83, high=0.95))


def test_a_metric_that_cannot_be_resampled_ends_no_race(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any) -> None:
        raise ValueError("of the metric")

    said: list[str] = []

    class Watcher:
        def stage(self, text: str, run_steps: int = 0, later: int = 0) -> None: ...
        def advance(self, run_steps: int) -> None: ...
        def say(self, text: str) -> None:
            said.append(text)

    monkeypatch.setattr(resolution, "resampled", broken)
    found = race(regression(50, "loss"), optimizers=["sgd"], budget=2, seeds=1, watcher=Watcher())
    assert found.document["samples"] == {"validation": None, "test": None}
    assert "the metric cannot be resampled: ValueError: of the metric" in said
