"""Races on several tasks: profiles, ranks and times to target by hand, and a real one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from thalweg.errors import UsageError
from thalweg.racing import races, run
from thalweg.racing.multitask import across, folder, profile
from thalweg.records import as_race, to_plain
from thalweg.report.terminal import together
from thalweg.training.execution.plan import ExecutionPlan

pytestmark = pytest.mark.usefixtures("one_thread")


def entry(name: str, test: float, reached: list[int | None], tied: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "tied": tied,
        "test": {"mean": test},
        "by_seed": {"test": [test] * len(reached), "steps_to_target": reached, "steps": 100},
    }


def race_of(task: str, higher: bool, *entries: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": "thalweg.race/1",
        "task": task,
        "optimizers": list(entries),
        "runs": 10,
        "seconds": 1.0,
        "setting": {"metric": {"name": "score", "higher_is_better": higher}},
        "verdict": {},
    }


def together_of(documents: list[dict[str, Any]]) -> dict[str, Any]:
    return to_plain(across([as_race(document) for document in documents]))


@pytest.fixture
def found() -> dict[str, Any]:
    """Three tasks and optimizers; on the last task, where less is better, b and c are equal."""
    return together_of(
        [
            race_of(
                "one",
                True,
                entry("a", 0.9, [10, 20], True),
                entry("b", 0.8, [20, 20]),
                entry("c", 0.7, [40, None]),
            ),
            race_of(
                "two",
                True,
                entry("a", 0.9, [10, 10], True),
                entry("b", 0.8, [40, 10]),
                entry("c", 0.7, [None, None]),
            ),
            race_of(
                "three",
                False,
                entry("a", 0.1, [30, None], True),
                entry("b", 0.2, [15, None]),
                entry("c", 0.2, [15, None]),
            ),
        ]
    )


def by_name(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(o for o in found["optimizers"] if o["name"] == name)


def test_ranks_are_means_over_tasks_and_equals_share_theirs(found: dict[str, Any]) -> None:
    assert [o["name"] for o in found["optimizers"]] == ["a", "b", "c"]
    assert by_name(found, "b")["ranks"] == [2.0, 2.0, 2.5]
    assert by_name(found, "c")["mean_rank"] == pytest.approx(8.5 / 3)
    assert [o["first"] for o in found["optimizers"]] == [3, 0, 0]


def test_profiles_are_shares_of_the_problems_that_anybody_solved(found: dict[str, Any]) -> None:
    # Six pairs of task and seed, one of which nobody solved.
    assert (found["profile"]["problems"], found["profile"]["unsolved"]) == (5, 1)
    assert by_name(found, "a")["ratios"] == [1.0, 1.0, 1.0, 1.0, 2.0]
    assert by_name(found, "b")["ratios"] == [1.0, 1.0, 1.0, 2.0, 4.0]
    assert by_name(found, "c")["ratios"] == [1.0, 4.0, None, None, None]
    shares = {
        o["name"]: dict(zip(found["profile"]["tau"], o["profile"], strict=True))
        for o in found["optimizers"]
    }
    assert [shares[n][1.0] for n in "abc"] == [0.8, 0.6, 0.2]
    assert [shares[n][2.0] for n in "abc"] == [1.0, 0.8, 0.2]
    assert [shares[n][4.0] for n in "abc"] == [1.0, 1.0, 0.4]
    assert [o["solved"] for o in found["optimizers"]] == [1.0, 1.0, 0.4]


def test_time_to_target_is_the_median_share_of_the_steps(found: dict[str, Any]) -> None:
    assert by_name(found, "a")["time_to_target"] == [pytest.approx(0.15), 0.1, None]
    assert by_name(found, "c")["time_to_target"][1] is None


def test_friedmans_test_is_that_of_its_formula(found: dict[str, Any]) -> None:
    # Demšar 2006: CD = q √(k(k+1)/(6N)), q = 2.343 for three at 0.05.
    assert found["ranks"]["critical_difference"] == pytest.approx(
        2.343 * math.sqrt(3 * 4 / (6 * 3)), rel=1e-3
    )
    # χ² of 12N/(k(k+1)) (Σ R² − k(k+1)²/4), corrected for one tie of two among N·(k³ − k) = 72.
    ranks = [1.0, 6.5 / 3, 8.5 / 3]
    chi = 12 * 3 / 12 * (sum(r * r for r in ranks) - 3 * 16 / 4) / (1 - (2**3 - 2) / 72)
    assert found["ranks"]["p"] == pytest.approx(math.exp(-chi / 2))  # two degrees of freedom


def test_a_profile_rises_from_the_share_of_wins_to_the_share_solved() -> None:
    ratios = [1.0, 1.5, 3.0, math.inf]
    assert [profile(ratios, tau) for tau in (1, 1.5, 2.9, 3, 1e9)] == [0.25, 0.5, 0.5, 0.75, 0.75]
    assert profile([], 2.0) == 0.0


def test_different_optimizers_cannot_be_compared() -> None:
    with pytest.raises(UsageError, match="different optimizers"):
        together_of(
            [race_of("one", True, entry("a", 1, [1])), race_of("two", True, entry("b", 1, [1]))]
        )


def test_a_real_one_leaves_a_race_per_task_and_what_they_say_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "choose", lambda *args: ExecutionPlan("lanes", 64))
    found = races(
        ["wine-mlp", "quadratic:dim=4"],
        optimizers=["sgd", "adam"],
        budget=3,
        seeds=2,
        epochs=2,
        out=tmp_path,
    )
    assert json.loads((tmp_path / "race.json").read_text(encoding="utf-8")) == found.document
    assert found.document["schema"] == "thalweg.races/1"
    for own, name in zip(found.races, ("wine-mlp", "quadratic-dim=4"), strict=True):
        written = json.loads((tmp_path / name / "race.json").read_text(encoding="utf-8"))
        assert written == own.document
    assert found.document["tasks"] == ["wine-mlp", "quadratic:dim=4"]
    shown = together(found.result)
    assert str(found).split(",")[0] in shown
    assert "mean" in shown
    assert "it takes three tasks" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("tasks", "message"),
    [(["wine-mlp"], "two tasks or more"), (["wine-mlp", "wine-mlp"], "'wine-mlp' is named twice")],
)
def test_one_task_or_the_same_twice_is_refused(tasks: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        races(tasks)


def test_a_tasks_folder_has_its_options() -> None:
    assert folder("quadratic:dim=50,noise=0.1") == "quadratic-dim=50-noise=0.1"
