"""What the stories of the page say is so in the numbers of their paths."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import thalweg as tw
from browsers import answer, needs_node
from thalweg.playground.page import _asset

pytestmark = needs_node


def _evaluated(name: str, expression: str):
    """A value of one of the page's scripts that needs no page."""
    script = "globalThis.window = globalThis;\nwindow.thalweg = {state: () => ({lang: 'en'})};\n"
    found = _asset(f"page/{name}.js")
    return answer(expression, f"{script}const thalweg = window.thalweg;\n{found}")


STORIES = {story["id"]: story for story in _evaluated("stories", "STORIES")}


def path(story: str, rule: str | None = None, **changed):
    """The path of a rule in a story: points, losses, and what else `path` gives."""
    state = STORIES[story]["state"] | changed
    name = rule or state["rules"][0]
    options = {k: v for k, v in state.items() if k not in ("rules", "active", "hyper")}
    options |= {"rule": name, "hyper": state["hyper"].get(name, {}), "details": True}
    found = answer(f"T.path({json.dumps(options)})")
    points = np.array(found["points"], dtype=float).reshape(-1, 2)
    losses = np.array(found["losses"], dtype=float)
    return points, losses, found


def lengths(points):
    return np.linalg.norm(np.diff(points, axis=0), axis=1)


def test_every_story_has_a_test_and_every_text_both_languages():
    tested = {name[5:].replace("_", "-") for name in globals() if name.startswith("test_")}
    assert set(STORIES) <= tested
    for story in STORIES.values():
        for english, korean in (story["title"], story["text"]):
            assert not re.search("[가-힣]", english)
            assert re.search("[가-힣]", korean)
    for key, (english, korean) in _evaluated("texts", "TEXTS").items():
        assert english, key
        assert korean, key
    titled = _evaluated("texts", "SURFACES_KO")
    assert set(titled) == {surface["name"] for surface in answer("T.surfaces()")}


@pytest.mark.parametrize("story", STORIES)
def test_a_story_sets_a_state_that_the_page_takes_as_it_is(story):
    state = {k: v for k, v in STORIES[story]["state"].items() if k != "active"}
    assert answer(f"T.set({json.dumps(state)})") == []


def test_ravine():
    points, _, found = path("ravine")
    assert np.all(np.sign(points[1:, 1]) == -np.sign(points[:-1, 1]))  # from wall to wall
    assert found["diverged_at"] is None
    slow, _, _ = path("ravine", hyper={"sgd": {"lr": 0.095}})
    assert np.all(np.diff(slow[:, 1]) < 0)
    assert slow[-1, 0] < -7 / 2  # not half way


def test_overshoot():
    points, _, _ = path("overshoot", "momentum")
    plain, _, _ = path("overshoot", "sgd")
    assert points[:, 0].max() > 1
    assert abs(points[-1, 0]) < 0.1  # it came back
    assert plain[:, 0].max() < 0


def test_lookahead():
    heavy, high, _ = path("lookahead", "momentum")
    ahead, low, _ = path("lookahead", "nesterov")
    assert heavy[:, 0].max() > ahead[:, 0].max() > 0
    assert 300 < high[-1] / low[-1] < 500  # "400 times lower"


def test_saddle():
    def left(rule):
        points, _, _ = path("saddle", rule)
        away = np.flatnonzero(np.abs(points[:, 1]) > 1)
        return away[0] if len(away) else 999

    assert left("sgd") > left("momentum") > left("adam")
    points, _, _ = path("saddle", "sgd")
    assert np.sum(np.linalg.norm(points, axis=1) < 0.2) > 15  # it lingers
    adam, _, _ = path("saddle", "adam")
    first = np.abs(adam[1] - adam[0])
    assert first[0] == pytest.approx(first[1], rel=0.01)  # both directions from the first step


def test_adagrad():
    points, losses, _ = path("adagrad")
    steps = lengths(points)
    assert steps[-1] < steps[0] / 50
    assert np.linalg.norm(points[-1] - (3, 0.5)) > 0.9  # still far from the minimum
    assert losses[-1] > 0.1


def test_rmsprop():
    points, losses, _ = path("rmsprop", "rmsprop")
    assert np.linalg.norm(points[-1] - (3, 0.5)) < 0.01
    assert losses[-1] < path("rmsprop", "adagrad")[1][-1] / 1000


def test_uncorrected():
    right, _, _ = path("uncorrected", "adam")
    wrong, _, _ = path("uncorrected", "mistake:adam_uncorrected")
    assert lengths(wrong)[0] / lengths(right)[0] == pytest.approx(np.sqrt(10), rel=1e-3)
    assert np.all(np.diff(lengths(wrong)[:3]) > 0)
    np.testing.assert_allclose(np.abs(right[1] - right[0]), 0.1, rtol=1e-3)


def test_edge():
    points, _, _ = path("edge")
    np.testing.assert_allclose(points[1:20, 1] / points[:19, 1], -1.02, rtol=1e-12)
    calm, _, _ = path("edge", hyper={"sgd": {"lr": 0.9}})
    assert abs(calm[-1, 1]) < 1e-6
    limit = answer("T.stability({rule: 'sgd', curvature: 2}).limit")
    assert limit == pytest.approx(1, rel=1e-8)


def test_decay():
    def rest(schedule):
        return np.mean(path("decay", schedule=schedule)[1][-20:])

    assert rest("cosine") < rest("constant") / 3


def test_batch():
    def ends(batch):
        return path("batch", batch=batch)[1]

    lowest = answer("T.surface('petals').lowest")
    single, few, whole = ends(1), ends(15), ends(0)
    assert single[-1] > 3 * lowest
    assert few[-1] < 1.05 * lowest
    assert np.all(np.diff(whole) < 0)
    rough = [np.sum(np.abs(np.diff(losses[100:]))) for losses in (single, few, whole)]
    assert rough[0] > 10 * rough[1] > 10 * rough[2]


def test_lecture():
    points, losses, _ = path("lecture", "adam")
    assert len(points) == 93
    assert np.max(np.abs(np.diff(points, axis=0))) < 0.051  # in each direction
    way = (5.8 - points[-1, 1]) / (5.8 + 4.2560)
    assert 0.35 < way < 0.5
    assert path("lecture", "sgd")[1][-1] < -4.5
    assert losses[-1] > 4


def test_mistaken_gradient():
    points, _, found = path("mistaken-gradient")
    assert found["diverged_at"] is None
    assert np.max(lengths(points)[-20:]) < 1e-3  # at rest
    x, y = points[-1]
    slopes = answer(f"T.surface('lecture').gradient({x}, {y})")
    assert np.linalg.norm(slopes) > 0.3
    assert np.linalg.norm(points[-1] - (0.48238, -4.25597)) > 0.2


def test_restarted():
    right, _, _ = path("restarted", "adam")
    wrong, _, _ = path("restarted", "mistake:adam_restarted")
    np.testing.assert_array_equal(right[1], wrong[1])
    assert lengths(wrong)[60] > 1.1 * lengths(right)[60]


def test_eps_subtracted():
    right, _, _ = path("eps-subtracted", "adam")
    wrong, _, _ = path("eps-subtracted", "mistake:adam_eps_subtracted")
    assert abs(right[1, 0]) < 0.05 < 0.1 < abs(wrong[1, 0])
    hyper = {"mistake:adam_eps_subtracted": {"lr": 0.05, "eps": 1e-7}}
    _, losses, _ = path("eps-subtracted", "mistake:adam_eps_subtracted", hyper=hyper)
    assert losses[1] > losses[0]


def test_wrong_root():
    points, losses, found = path("wrong-root", "mistake:adam_wrong_root")
    assert found["diverged_at"] is not None
    assert np.isnan(losses[-1])
    assert lengths(points[:20]).max() < 0.2 * lengths(path("wrong-root", "adam")[0][:20]).min()


def test_the_mistakes_are_in_no_list_of_optimizers():
    from thalweg.rules import registry

    assert not [name for name in registry() if "mistake" in name or name == "adam_restarted"]
    assert not hasattr(tw.optim, "AdamRestarted")
