"""The page's paths against the rules and surfaces themselves, on float64 arrays."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from browsers import answer, built_in_core, in_chromium, needs_chromium, needs_node
from oracles import lively
from play_reference import STEPS, exact, paths
from thalweg.playground.generated import named_rules
from thalweg.rules import (
    Rule,
    registry,
)
from thalweg.surfaces import Surface
from thalweg.surfaces import registry as surface_registry

EVERY = named_rules(())
SURFACES = list(surface_registry().values())

# Powers, exponentials and sines differ by a unit or so in the last place between the libraries of
# C, NumPy and V8. At rates at which descent is stable, 200 steps make up to 3e-11 of that (RMSprop
# with momentum on Rastrigin's function, which it magnifies) and below 1e-13 for most; other
# libraries may differ by some more.
BOUND = 1e-9


def settings(rule: Rule, surface: Surface) -> dict[str, float]:
    """Hyperparameters at which a path of 200 steps can be compared.

    Where all bits are equal, paths may diverge; elsewhere steps are small, so that no difference
    grows: on Rastrigin's function a rate above 0.005 is unstable for gradient descent.
    """
    hyper = dict(lively(rule))
    if "lr" in hyper and not exact(rule, surface):
        hyper["lr"] = 0.002
    return hyper


def cases(rules: Iterable[str]) -> list[dict[str, Any]]:
    return [
        {
            "rule": name,
            "surface": surface.name,
            "steps": STEPS,
            "hyper": settings(EVERY[name], surface),
        }
        for surface in SURFACES
        for name in rules
    ]


def assert_like_python(rules: list[str], found: list[dict[str, Any]]) -> None:
    """Compare paths, in the order of `cases`, with those in Python."""
    results = iter(found)
    for surface in SURFACES:
        lanes = [(EVERY[name], settings(EVERY[name], surface)) for name in rules]
        for name, wanted in zip(rules, paths(lanes, surface), strict=True):
            got, label = next(results), f"{name} on {surface.name}"
            points = np.array(got["points"], np.float64).reshape(-1, 2)
            losses = np.array(got["losses"], np.float64)
            want, heights = wanted.points[: len(points)], wanted.losses[: len(points)]
            assert got["diverged_at"] == wanted.diverged_at, label
            assert len(points) == (wanted.diverged_at or STEPS) + 1, label
            if exact(EVERY[name], surface):
                np.testing.assert_array_equal(points, want, err_msg=label)
                np.testing.assert_array_equal(losses, heights, err_msg=label)
            else:
                bound = BOUND * np.abs(want[np.isfinite(want)]).max()
                np.testing.assert_allclose(points, want, rtol=0, atol=bound, err_msg=label)


def walked(rules: list[str]) -> str:
    kept = "({points, losses, diverged_at}) => ({points, losses, diverged_at})"
    return f"{json.dumps(cases(rules))}.map((one) => T.path(one)).map({kept})"


@needs_node
def test_every_rule_on_every_surface_steps_as_in_python() -> None:
    assert_like_python([*registry()], answer(walked([*registry()])))


@needs_node
@pytest.mark.long
def test_every_variant_on_every_surface_steps_as_in_python() -> None:
    variants = [name for name in EVERY if name not in registry()]
    assert_like_python(variants, answer(walked(variants)))


@needs_chromium
def test_a_browser_steps_as_python_does(tmp_path: Path) -> None:
    script = f"{built_in_core()}\nconst T = window.thalweg;\n"
    script += f"const answer = {walked([*registry()])}.map((one) => ({{...one, "
    script += "points: Array.from(one.points, String), losses: Array.from(one.losses, String)}));"
    assert_like_python([*registry()], in_chromium(script, tmp_path))


def test_most_comparisons_are_of_every_bit() -> None:
    pairs = [exact(rule, surface) for rule in EVERY.values() for surface in SURFACES]
    assert sum(pairs) > 400
    assert len(pairs) > 1000
