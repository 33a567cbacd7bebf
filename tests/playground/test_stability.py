"""Stability limits from a rule's own linearised step, against closed forms and against paths."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from browsers import answer, needs_node

pytestmark = needs_node

BETA = 0.9
# Bisection ends at nine digits.
DIGITS = 1e-8


def limit(rule, **options):
    return answer(f"T.stability({json.dumps({'rule': rule, **options})})")["limit"]


CLOSED = {
    # Gradient descent: 2/λ; the heavy ball: 2(1 + β)/λ (Polyak 1964); Nesterov's momentum with
    # its look-ahead: 2(1 + β)/((1 + 2β)λ).
    "sgd": lambda curvature: 2 / curvature,
    "momentum": lambda curvature: 2 * (1 + BETA) / curvature,
    "nesterov": lambda curvature: 2 * (1 + BETA) / (1 + 2 * BETA) / curvature,
}


@pytest.mark.parametrize("curvature", [1e-3, 1.0, 4.0, 2508.0])
@pytest.mark.parametrize("rule", CLOSED)
def test_limits_are_the_closed_forms(rule, curvature):
    assert limit(rule, curvature=curvature) == pytest.approx(CLOSED[rule](curvature), rel=DIGITS)


@pytest.mark.parametrize(("t", "v"), [(1000, 0.04), (20, 3.0), (3, 1e-6)])
def test_adam_with_its_second_moment_held(t, v):
    """As gradient descent with an average of gradients, preconditioned: (2 + 2β₁)/((1 − β₁)λ)
    (Cohen et al. 2022, equation 3), with both corrections of bias at their present values."""
    root = math.sqrt(v / (1 - 0.999**t)) + 1e-8
    wanted = 2 * (1 + BETA) / (1 - BETA) / 4.0 * root * (1 - BETA**t)
    found = limit("adam", curvature=4.0, t=t, slots={"m": [0.3, -0.2], "v": [v, v]})
    assert found == pytest.approx(wanted, rel=1e-6)


def test_a_second_moment_of_each_coordinate_counts():
    rms = lambda v: math.sqrt(v) + 1e-8  # noqa: E731
    found = limit("rmsprop", hessian=[1.0, 0.0, 9.0], slots={"v": [1.0, 4.0]})
    assert found == pytest.approx(min(2 / 1.0 * rms(1.0), 2 / 9.0 * rms(4.0)), rel=1e-6)


def test_the_steepest_direction_decides():
    turned = [5.0, 4.0, 5.0]  # eigenvalues 9 and 1
    assert limit("sgd", hessian=turned) == pytest.approx(2 / 9, rel=DIGITS)
    # Downhill bends are left at any rate; the limit is that of the bend upwards.
    assert limit("sgd", hessian=[2.0, 0.0, -2.0]) == pytest.approx(1.0, rel=DIGITS)
    assert limit("sgd", hessian=[-2.0, 0.0, -2.0]) == "Infinity"


@pytest.mark.parametrize("rule", ["lion", "rprop", "lars", "lamb"])
def test_steps_that_are_not_linear_have_no_limit(rule):
    assert limit(rule, curvature=1.0) is None


@pytest.mark.parametrize(
    ("rule", "hyper"),
    [
        ("sgd", {}),
        ("momentum", {"momentum": 0.5}),
        ("momentum", {"momentum": 0.9, "dampening": 0.5}),
        ("nesterov", {"momentum": 0.95}),
        ("keras:nesterov", {}),
    ],
)
def test_paths_agree_with_the_limit(rule, hyper):
    """Just below it a path falls into the minimum, just above it leaves."""
    edge = limit(rule, hessian=[0.1, 0.0, 2.0], hyper=hyper)
    path = {"rule": rule, "surface": "bowl", "start": [0.001, 0.001], "steps": 10_000}
    ends = [
        answer(
            f"T.path({json.dumps({**path, 'hyper': {**hyper, 'lr': edge * share}})}).losses.at(-1)"
        )
        for share in (0.99, 1.01)
    ]
    assert float(ends[0]) < 1e-12
    assert not float(ends[1]) < 1.0


def test_the_radius_is_that_of_the_present_rate():
    found = answer("T.stability({rule: 'momentum', curvature: 4, hyper: {lr: 0.1, momentum: 0.8}})")
    matrix = np.array([[1 - 0.4, -0.08], [4.0, 0.8]])  # of θ ← θ − η(βv + λθ), v ← βv + λθ
    assert found["radius"] == pytest.approx(np.abs(np.linalg.eigvals(matrix)).max(), rel=1e-7)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rule": "adma", "curvature": 1}, "no rule named"),
        ({"rule": "sgd"}, "curvature=undefined"),
        ({"rule": "sgd", "hessian": [1, 2]}, "hessian=[1,2]"),
        ({"rule": "adam", "curvature": 1, "slots": {"v": [1]}}, "slots.v=[1]"),
        ({"rule": "sgd", "curvature": 1, "hyper": {"lr": -1}}, "lr=-1"),
        ({"rule": "sgd", "curvature": 1, "t": 0}, "t=0"),
    ],
)
def test_what_cannot_be_is_refused(options, words):
    assert words in answer(f"refused(() => T.stability({json.dumps(options)}))")
