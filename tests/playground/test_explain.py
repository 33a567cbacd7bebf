"""The numbers of one step, line by line, and what a path is made of."""

from __future__ import annotations

import json

import numpy as np
import pytest

from browsers import answer, needs_node
from oracles import lively
from thalweg.formula import statements
from thalweg.playground.generated import named_rules
from thalweg.rules import registry

pytestmark = needs_node
EVERY = named_rules(())


@pytest.fixture(scope="module")
def explained():
    asked = [
        {"rule": name, "surface": "bowl", "steps": 7, "hyper": dict(lively(rule)), "details": True}
        for name, rule in EVERY.items()
    ]
    # The last step that a path takes: a rule may be wrong on purpose, and end it early.
    last = "(path) => [T.explain({...one, at: path.steps}), path]"
    found = answer(f"{json.dumps(asked)}.map((one) => ({last})(T.path(one)))")
    return dict(zip(EVERY, found, strict=True))


@pytest.mark.parametrize("name", EVERY)
def test_the_lines_of_a_step_end_where_the_step_does(name, explained):
    numbers, path = explained[name]
    rule, lines = EVERY[name], numbers["lines"]
    assert len(lines) == len(statements(rule))
    values = {}
    for line, statement in zip(lines, statements(rule), strict=True):
        for variable, value in line["reads"].items():
            assert value is not None, variable
            if variable in values:
                assert value == values[variable], "a line reads what the last one gave"
        assert tuple(line["gives"]) == statement.targets
        values |= line["gives"]
        for variable in line["reads"]:
            assert f"data-name='{variable}'" in line["mathml"].replace("&#x27;", "'")
    parameter = rule.formula.__code__.co_varnames[0]
    assert values[parameter] == numbers["after"] == path["points"][-2:]
    assert numbers["before"] == path["points"][-4:-2]
    assert numbers["gradient"] == path["gradients"][-2:]
    for slot in rule.slots:
        if slot in values:
            kept = path["slots"][slot]
            given = values[slot]
            if slot in rule.scalars:
                assert given == kept[-1]
            else:
                assert (given if isinstance(given, list) else [given] * 2) == kept[-2:]


@pytest.mark.parametrize("name", registry())
def test_details_fit_together(name, explained):
    _, path = explained[name]
    points, updates = (np.reshape(path[key], (-1, 2)) for key in ("points", "updates"))
    assert np.array_equal(updates[1:], np.diff(points, axis=0))
    assert len(path["gradients"]) == len(path["points"])
    for slot in registry()[name].slots:
        width = 1 if slot in registry()[name].scalars else 2
        assert len(path["slots"][slot]) == width * (path["steps"] + 1)


def test_adam_by_hand():
    (m, v, m_hat, v_hat, theta) = answer(
        "T.explain({rule: 'adam', surface: 'bowl', start: [10, 1], at: 1, hyper: {lr: 0.5}}).lines"
    )
    # The gradient of x²/20 + y² at (10, 1) is (1, 2).
    assert m["gives"]["m"] == pytest.approx([0.1, 0.2])
    assert v["gives"]["v"] == pytest.approx([0.001, 0.004])
    assert m_hat["gives"]["m_hat"] == pytest.approx([1, 2])
    assert v_hat["gives"]["v_hat"] == pytest.approx([1, 4])
    assert theta["gives"]["theta"] == pytest.approx([9.5, 0.5])
    assert theta["reads"]["lr"] == 0.5


def test_a_condition_is_true_or_false_and_a_schedule_shows_its_rate():
    found = answer("T.explain({rule: 'radam', surface: 'bowl', at: 2})")
    (settled,) = [one["gives"]["settled"] for one in found["lines"] if "settled" in one["gives"]]
    assert settled is False
    half = answer(
        "T.explain({rule: 'sgd', surface: 'bowl', at: 11, steps: 20, schedule: 'linear',"
        "hyper: {lr: 0.1}})"
    )
    assert half["rate"] == pytest.approx(0.05)
    assert half["lines"][0]["reads"]["lr"] == half["rate"]


def test_transforms_come_first():
    found = answer(
        "T.explain({rule: 'sgd', surface: 'bowl', at: 1, transforms: ['clip_norm', 'maximize'],"
        "start: [30, 4], hyper: {lr: 1, max_norm: 1}})"
    )
    clipped, turned, stepped = found["lines"]
    assert clipped["gives"]["g"] == pytest.approx([3 / 73**0.5, 8 / 73**0.5], rel=1e-6)
    assert turned["gives"]["g"] == [-x for x in clipped["gives"]["g"]]
    assert stepped["reads"]["g"] == turned["gives"]["g"]


def test_a_step_after_the_end_of_a_path_has_no_numbers():
    assert answer("T.explain({rule: 'sgd', surface: 'bowl', at: 90, hyper: {lr: 5}})") is None
