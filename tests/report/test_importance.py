"""What settings do: shares against a closed form, their errors, and what cannot be told."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chromium import Chromium
from report_pages import browser
from report_sample import race
from thalweg.records import OptimizerResult, Tried, as_race
from thalweg.records.values import Interval
from thalweg.report import html, importance

USUAL = {"schedule": "constant", "clip": "any", "batch_size": 64}
Score = Callable[[dict[str, Any]], float]


def tuned(count: int, score: Score, seed: int = 0) -> OptimizerResult:
    """An optimizer whose configurations score as a function says."""
    draw = random.Random(seed)
    configurations = [
        {
            "lr": 10 ** draw.uniform(-4, 0),
            "beta1": 1 - 10 ** draw.uniform(-3, -0.5),
            "schedule": draw.choice(["constant", "cosine"]),
        }
        for _ in range(count)
    ]
    for configuration in configurations[::2]:
        if configuration["schedule"] == "constant":
            del configuration["schedule"]  # as a document leaves out what is usual
    scores = [score({**USUAL, **configuration}) for configuration in configurations]
    places = {k: n + 1 for n, k in enumerate(sorted(range(count), key=lambda k: -scores[k]))}
    return OptimizerResult(
        name="adam",
        sensitivity=[
            Tried(configuration=c, validation=Interval(mean=s), preference=places[k])
            for k, (c, s) in enumerate(zip(configurations, scores, strict=True))
        ],
    )


def log_lr(configuration: dict[str, Any]) -> float:
    """The learning rate on its scale, uniform from 0 to 1."""
    from math import log10

    return 1 + log10(configuration["lr"]) / 4


def shares(entry: OptimizerResult) -> dict[str, importance.Effect]:
    found = importance.of_optimizer(entry, USUAL, higher=True)
    assert found is not None
    return {effect.key: effect for effect in found.effects}


def test_a_setting_alone_has_all_of_it() -> None:
    found = shares(tuned(128, log_lr))
    # All of the variance is the learning rate's; a forest of finite depth gives a little less.
    assert found["lr"].share == pytest.approx(1.0, abs=0.2)
    for key in ("beta1", "schedule"):
        assert found[key].share < 0.05


def test_shares_are_those_of_the_closed_form() -> None:
    # The places are uniform from 0 to 1 whatever the scores, so the scores are made uniform too:
    # half of the configurations, by schedule, lie above the others: between them 1/16 of the
    # variance 1/12, which is 3/4; the learning rate has the rest within.
    found = shares(tuned(256, lambda c: log_lr(c) + 10 * (c["schedule"] == "cosine")))
    assert found["schedule"].share == pytest.approx(0.75, abs=0.15)
    assert found["lr"].share == pytest.approx(0.25, abs=0.12)
    assert found["beta1"].share < 0.05


def test_the_error_is_that_of_other_searches() -> None:
    score: Score = lambda c: log_lr(c) + 0.4 * (c["schedule"] == "cosine")  # noqa: E731
    found = [shares(tuned(48, score, seed))["lr"] for seed in range(8)]
    mean = sum(f.share for f in found) / len(found)
    spread = (sum((f.share - mean) ** 2 for f in found) / (len(found) - 1)) ** 0.5
    told = sum(f.error for f in found) / len(found)
    # A standard deviation over eight is itself known to a quarter or so.
    assert spread / 2.5 < told < 2.5 * spread + 0.05


def test_noise_is_said_to_be_noise() -> None:
    draw = random.Random(3)
    found = importance.of_optimizer(tuned(48, lambda _: draw.random()), USUAL, higher=True)
    assert found is not None
    assert found.explained < 0.2


@pytest.mark.parametrize("entry", [tuned(15, log_lr), tuned(40, log_lr).__class__(name="x")])
def test_too_few_configurations_say_nothing(entry: OptimizerResult) -> None:
    assert importance.of_optimizer(entry, USUAL, higher=True) is None


def test_learning_rates_alone_have_no_importance() -> None:
    entry = tuned(40, log_lr)
    points = [
        Tried(configuration={"lr": p.configuration["lr"]}, preference=p.preference)
        for p in entry.sensitivity
    ]
    alone = OptimizerResult(name="adam", sensitivity=points)
    assert importance.of_optimizer(alone, USUAL, higher=True) is None


def test_odd_settings_are_laid_along_axes() -> None:
    entry = tuned(20, log_lr)
    odd = [None, True, "<b>", 1e-300, -5, 10**15]
    points = [
        Tried(configuration={**p.configuration, "odd": odd[k % 6]}, preference=p.preference)
        for k, p in enumerate(entry.sensitivity)
    ]
    found = importance.of_optimizer(
        OptimizerResult(name="adam", sensitivity=points), USUAL, higher=True
    )
    assert found is not None
    assert {effect.key for effect in found.effects} == {"lr", "beta1", "schedule", "odd"}


@browser
def test_the_page_draws_two_settings(tmp_path: Path) -> None:
    document, records = race(20, 1, 2)
    page = tmp_path / "report.html"
    page.write_text(html.render(document, records), encoding="utf-8")
    assert "What the settings do" in page.read_text(encoding="utf-8")
    assert importance.of_race(as_race(document))
    with Chromium(tmp_path) as chromium:
        chromium.open(page.as_uri() + "#view&contour-x=beta1&contour-y=lr")
        count = "document.querySelectorAll('#contour .{}').length"
        chromium.wait(count.format("cell") + " === 256")
        assert chromium.evaluate(count.format("tried")) == 20
        assert chromium.evaluate("document.querySelector('#contour-x').value") == "beta1"
        label = "document.querySelector('#contour .plot > svg').getAttribute('aria-label')"
        assert chromium.evaluate(label).endswith("by beta1 and lr")
        assert chromium.messages == []
