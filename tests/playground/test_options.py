"""Noise, batches, schedules, transforms and averages of the page, against Python."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris

from browsers import answer, needs_node
from play_reference import drawn, normals
from thalweg import surfaces
from thalweg.playground import regression
from thalweg.rules import (
    averages,
    clip_norm,
    clip_value,
    coupled_weight_decay,
    decoupled_weight_decay,
    find,
    maximize,
)
from thalweg.schedules import KINDS, Schedule

pytestmark = needs_node

# The logarithm of the polar method may differ by a unit in the last place between libraries.
ULPS = 4e-16


def walk(rule: Any, surface: Any, steps: int, hyper: dict[str, float], gradient: Any = None) -> Any:
    """Points of the rule as it stands; `gradient(point, t)` instead of the surface's."""
    theta = np.array(surface.starts[0], np.float64)
    slots = [rule.initial(s, {**rule.defaults, **hyper}) for s in rule.slots]
    slots = [
        x if s in rule.scalars else np.full(2, x) for s, x in zip(rule.slots, slots, strict=True)
    ]
    points = [theta]
    for t in range(1, steps + 1):
        g = gradient(theta, t) if gradient else surface.gradient(*theta)
        theta, *slots = rule(theta, g, *slots, t, **hyper)
        points.append(theta)
    return np.array(points)


def points(options: dict[str, Any]) -> Any:
    return np.reshape(answer(f"T.path({json.dumps(options)}).points"), (-1, 2))


@pytest.mark.parametrize("seed", [0, 1, 4_294_967_295])
def test_noise_is_that_of_the_stated_generator(seed: int) -> None:
    found = np.array(answer(f"T.normals({seed}, 2001)"))
    np.testing.assert_allclose(found, list(islice(normals(seed), 2001)), rtol=ULPS, atol=0)


def test_noise_is_normal_and_differs_by_seed() -> None:
    first, second = np.array(answer("[T.normals(1, 200000), T.normals(2, 200000)]"))
    # Of 200,000 numbers the mean and the correlation have a standard error of 0.0022, the
    # variance one of 0.0032, the fourth moment one of 0.022: bounds are five of these.
    assert abs(first.mean()) < 0.011
    assert abs(first.var() - 1) < 0.016
    assert abs((first**4).mean() - 3) < 0.11
    assert abs((first * second).mean()) < 0.011
    assert abs((first[::2] * first[1::2]).mean()) < 0.016


def test_noise_is_added_to_the_gradient_and_shared_by_rules() -> None:
    noise = 0.5 * np.fromiter(islice(normals(7), 120), np.float64).reshape(-1, 2)
    for name in ("sgd", "momentum"):
        found = points(
            {
                "rule": name,
                "surface": "bowl",
                "steps": 60,
                "noise": 0.5,
                "seed": 7,
                "hyper": {"lr": 0.1},
            }
        )
        noisy = lambda p, t: surfaces.bowl.gradient(*p) + noise[t - 1]  # noqa: E731
        wanted = walk(find(name), surfaces.bowl, 60, {"lr": 0.1}, noisy)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13)


# --- the regression ---


def test_the_petals_are_those_of_fisher() -> None:
    assert np.array(regression.ROWS).tolist() == load_iris().data[:, 2:].tolist()


def _loss(weights: Any, rows: Any) -> tuple[float, Any]:
    lengths, widths = np.array(rows).T
    error = weights[0] * lengths + weights[1] - widths
    return (error**2).mean() / 2, np.array([(error * lengths).mean(), error.mean()])


def test_the_loss_is_the_mean_over_all_petals() -> None:
    x, y = 0.3, -0.2
    value, slopes, bends, lowest = answer(
        f"((s) => [s.value({x}, {y}), s.gradient({x}, {y}), s.hessian({x}, {y}),"
        "s.gradient(...s.minima[0])])(T.surface('petals'))"
    )
    wanted, gradient = _loss((x, y), regression.ROWS)
    assert value == pytest.approx(wanted, rel=1e-13)
    assert slopes == pytest.approx(gradient, rel=1e-13)
    lengths = np.array(regression.ROWS)[:, 0]
    assert bends == pytest.approx([(lengths**2).mean(), lengths.mean(), 1.0], rel=1e-13)
    assert np.abs(lowest).max() < 1e-13
    assert "105" in regression.TITLE
    moments = np.array([[bends[0], bends[1]], [bends[1], bends[2]]])
    assert np.linalg.cond(moments) == pytest.approx(105, abs=0.5)


@pytest.mark.parametrize("size", [1, 16, 149])
def test_a_batch_is_drawn_without_repeats_until_all_were_seen(size: int) -> None:
    samples = list(islice(drawn(3, 150), size * 40))
    assert sorted(drawn_epoch := samples[:150]) == sorted(set(drawn_epoch))

    def gradient(point: Any, t: int) -> Any:
        rows = [regression.ROWS[k] for k in samples[size * (t - 1) : size * t]]
        return _loss(point, rows)[1]

    class Petals:
        starts = (regression.START,)

    found = points(
        {
            "rule": "sgd",
            "surface": "petals",
            "steps": 40,
            "batch": size,
            "seed": 3,
            "hyper": {"lr": 0.02},
        }
    )
    wanted = walk(find("sgd"), Petals, 40, {"lr": 0.02}, gradient)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13)


def test_a_full_batch_is_no_sample() -> None:
    options = {"rule": "adam", "surface": "petals", "steps": 30, "hyper": {"lr": 0.1}}
    assert points({**options, "batch": 150}).tolist() == points(options).tolist()


# --- schedules, transforms, averages ---


@pytest.mark.parametrize("kind", KINDS)
def test_schedules_are_those_of_a_race(kind: str) -> None:
    for warmup, steps in ((0.0, 1), (0.0, 7), (0.05, 90), (0.5, 13), (0.25, 10)):
        given = json.dumps({"kind": kind, "warmup": warmup})
        found = answer(f"T.schedule({given}, {steps})")
        schedule = Schedule(kind, warmup)
        wanted = [schedule(t, steps) for t in range(1, steps + 1)]
        assert found == pytest.approx(wanted, rel=1e-15, abs=1e-16)


TRANSFORMS = {
    "coupled_weight_decay": (coupled_weight_decay, {"weight_decay": 0.1}),
    "decoupled_weight_decay": (decoupled_weight_decay, {"weight_decay": 0.1}),
    "maximize": (maximize, {}),
    "clip_value": (clip_value, {"max_value": 0.3}),
    "clip_norm": (clip_norm, {"max_norm": 0.3}),
}


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("rule", ["momentum", "rmsprop"])
def test_a_transform_is_the_combinator_in_front_of_the_rule(name: str, rule: str) -> None:
    combinator, hyper = TRANSFORMS[name]
    steps, settings = 15, {"lr": 0.01, **hyper}
    found = points(
        {"rule": rule, "surface": "booth", "steps": steps, "hyper": settings, "transforms": [name]}
    )
    wanted = walk(combinator(find(rule)), surfaces.booth, steps, settings)
    assert len(found) > 9  # an ascent leaves the neighbourhood, where the page ends it
    assert found.tolist() == wanted[: len(found)].tolist()


def test_several_transforms_apply_in_their_order() -> None:
    settings = {"lr": 0.05, "weight_decay": 0.2, "max_norm": 1.0}
    for names, rule in (
        (["clip_norm", "coupled_weight_decay"], clip_norm(coupled_weight_decay(find("sgd")))),
        (["coupled_weight_decay", "clip_norm"], coupled_weight_decay(clip_norm(find("sgd")))),
    ):
        found = points(
            {"rule": "sgd", "surface": "booth", "steps": 30, "hyper": settings, "transforms": names}
        )
        assert found.tolist() == walk(rule, surfaces.booth, 30, settings).tolist()


def test_a_schedule_reaches_the_decay_that_reads_the_rate() -> None:
    settings = {"lr": 0.1, "weight_decay": 0.5}
    rule = decoupled_weight_decay(find("sgd"))
    theta = np.array(surfaces.bowl.starts[0], np.float64)
    wanted = [theta]
    for t in range(1, 31):
        rate = 0.1 * Schedule("linear")(t, 30)
        (theta,) = rule(theta, surfaces.bowl.gradient(*theta), t, lr=rate, weight_decay=0.5)
        wanted.append(theta)
    found = points(
        {
            "rule": "sgd",
            "surface": "bowl",
            "steps": 30,
            "hyper": settings,
            "schedule": "linear",
            "transforms": ["decoupled_weight_decay"],
        }
    )
    assert found.tolist() == np.array(wanted).tolist()


def test_lookahead_goes_back_every_few_steps() -> None:
    theta = slow = np.array(surfaces.bowl.starts[0], np.float64)
    wanted = [theta]
    for t in range(1, 31):
        (theta,) = find("sgd")(theta, surfaces.bowl.gradient(*theta), t, lr=0.3)
        if t % 4 == 0:
            (theta,) = (slow,) = averages.average(slow, theta, t, weight=0.6)
        wanted.append(theta)
    average = {"kind": "lookahead", "every": 4, "weight": 0.6}
    found = points(
        {"rule": "sgd", "surface": "bowl", "steps": 30, "hyper": {"lr": 0.3}, "average": average}
    )
    assert found.tolist() == np.array(wanted).tolist()


def test_the_moving_average_follows_and_changes_no_step() -> None:
    options = {"rule": "sgd", "surface": "bowl", "steps": 30, "hyper": {"lr": 0.3}}
    average = {"kind": "ema", "decay": 0.8}
    found = answer(f"T.path({json.dumps({**options, 'average': average})})")
    assert found["points"] == answer(f"T.path({json.dumps(options)}).points")
    mean = np.array(surfaces.bowl.starts[0], np.float64)
    for t, point in enumerate(np.reshape(found["points"], (-1, 2))[1:], start=1):
        (mean,) = averages.corrected_average(mean, point, t, decay=0.8)
    # The power decay**t may differ by a unit in the last place.
    np.testing.assert_allclose(found["averages"][-2:], mean, rtol=1e-14)
