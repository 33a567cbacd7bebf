"""The race of all rules on one surface: equal tries, ordered by steps to the target."""

from __future__ import annotations

import json

import numpy as np
import pytest

import thalweg as tw
from browsers import answer, needs_node
from thalweg import surfaces
from thalweg.rules import registry
from thalweg.surfaces.arguments import CANDIDATES, candidate_rates

pytestmark = needs_node


@pytest.fixture(scope="module")
def race():
    return answer("T.race({surface: 'beale', steps: 150})")


def test_every_rule_has_equal_tries_over_its_own_range(race):
    assert {one["rule"] for one in race["places"]} == {*registry()}
    assert race["tries"] == CANDIDATES * len(registry())
    for one in race["places"]:
        rates = candidate_rates(registry()[one["rule"]])
        assert one["lr"] in rates
        assert one["at_edge"] == (one["lr"] in (rates[0], rates[-1]))


def test_places_are_by_steps_to_the_target_then_by_loss(race):
    keys = [
        (
            one["diverged_at"] is not None,
            np.inf if one["steps"] is None else one["steps"],
            one["loss"],
        )
        for one in race["places"]
    ]
    assert keys == sorted(keys)
    start = surfaces.beale(*surfaces.beale.starts[0])
    assert race["target"] == pytest.approx(1e-3 * start, rel=1e-12)


@pytest.mark.parametrize("name", ["sgd", "adam", "rprop"])
def test_a_place_is_the_best_of_the_tries(race, name):
    rates = candidate_rates(registry()[name])
    (place,) = [one for one in race["places"] if one["rule"] == name]
    best = np.inf
    for rate in rates:
        path = tw.trajectory(name, "beale", steps=150, lr=rate)[name]
        above = np.flatnonzero(~(path.losses <= race["target"]))
        if path.diverged_at is None and (not len(above) or above[-1] < 150):
            best = min(best, above[-1] + 1 if len(above) else 0)
    assert place["steps"] == best


def test_a_surface_without_a_known_minimum_takes_the_lowest_that_was_found():
    found = answer(
        "T.race({surface: {text: 'x^2 + 3*y^2 + 5'}, rules: ['sgd', 'momentum'], steps: 80,"
        "start: [2, 1], tolerance: 0.01})"
    )
    assert found["target"] == pytest.approx(5 + 0.01 * 7, abs=1e-6)
    assert all(one["steps"] is not None for one in found["places"])


def test_progress_is_told_and_a_race_can_be_ended():
    done = answer(
        "((seen) => T.race({surface: 'bowl', rules: ['sgd', 'adam'], steps: 2000},"
        "{progress: (done, all) => seen.push([done, all])}).then(() => seen))([])"
    )
    assert done[-1] == [82, 82]
    assert done == sorted(done)
    ended = answer(
        "((control) => T.race({surface: 'bowl', steps: 5000}, {signal: control.signal,"
        "progress: () => control.abort(new Error('enough'))}).catch((error) => error.message))"
        "(new AbortController())"
    )
    assert ended == "enough"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"surface": "nope"}, "no surface named"),
        ({"surface": "bowl", "rules": ["nope"]}, "no rule named"),
        ({"surface": "bowl", "rules": []}, "rules=[]"),
        ({"surface": "bowl", "rules": "sgd"}, "rules="),
        ({"surface": "bowl", "steps": 20_000}, "steps=20000"),
        ({"surface": "bowl", "tolerance": 2}, "tolerance=2"),
        ({"surface": "bowl", "start": [0]}, "start=[0]"),
        ({"surface": {"text": "1/x"}, "start": [0, 0]}, "no finite value"),
    ],
)
def test_what_cannot_be_raced_is_refused(options, words):
    found = answer(f"T.race({json.dumps(options)}).then(() => '', (error) => error.message)")
    assert words in found


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "neither a name nor {text"),
        ({"surface": "bowl"}, "no rule named"),
        ({"surface": "bowl", "rule": "toString"}, "no rule named"),
        ({"surface": "bowl", "rule": "sgd", "steps": 0}, "steps=0"),
        ({"surface": "bowl", "rule": "sgd", "steps": 1.5}, "steps=1.5"),
        ({"surface": "bowl", "rule": "sgd", "start": [0, None]}, "start=[0,null]"),
        ({"surface": "bowl", "rule": "sgd", "start": "1,2"}, "start="),
        ({"surface": "bowl", "rule": "sgd", "noise": -1}, "noise=-1"),
        ({"surface": "bowl", "rule": "sgd", "seed": -1}, "seed=-1"),
        ({"surface": "bowl", "rule": "sgd", "batch": 4}, "bowl has no samples"),
        ({"surface": "petals", "rule": "sgd", "batch": 151}, "batch=151"),
        ({"surface": "bowl", "rule": "sgd", "hyper": {"beta": 1}}, "no hyperparameter of sgd"),
        ({"surface": "bowl", "rule": "sgd", "hyper": {"lr": "0.1"}}, "it must be a number"),
        ({"surface": "bowl", "rule": "adam", "hyper": {"beta1": 1}}, "it must be below 1"),
        ({"surface": "bowl", "rule": "sgd", "schedule": "none"}, "no schedule named"),
        ({"surface": "bowl", "rule": "sgd", "schedule": {"warmup": 1}}, "warmup=1"),
        ({"surface": "bowl", "rule": "sgd", "transforms": ["clip"]}, "no transform named"),
        ({"surface": "bowl", "rule": "sgd", "average": {"kind": "mean"}}, "no average named"),
        ({"surface": "bowl", "rule": "sgd", "average": {"kind": "ema", "decay": 1}}, "decay=1"),
    ],
)
def test_a_path_that_cannot_be_is_refused(options, words):
    found = answer(f"refused(() => T.path({json.dumps(options)}))")
    assert found.startswith("UsageError")
    assert words in found
