"""A race within a time: what is cut, what is said, and that it ends; the clock is pretended."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import thalweg as tw
from thalweg import durations
from thalweg.errors import UsageError
from thalweg.racing import run, time_limit
from thalweg.racing.estimate import expected
from thalweg.racing.inputs import spec_of
from thalweg.racing.options import completed
from thalweg.racing.progress import Progress
from thalweg.training.execution.plan import ExecutionPlan

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = 7  # of a run of wine-mlp over one epoch
SMALL: Any = {"optimizers": ["sgd", "adam", "momentum"], "budget": 5, "seeds": 8, "epochs": 1}


class Pretended:
    """Time that passes as run-steps are reported, and notes what is said."""

    def __init__(self, pace: float) -> None:
        self.now, self.pace = 0.0, pace
        self.said: list[str] = []
        self.stages: list[str] = []

    def monotonic(self) -> float:
        return self.now

    def stage(self, text: str, run_steps: int = 0, later: int = 0) -> None:
        self.stages.append(text)

    def advance(self, run_steps: int) -> None:
        self.now += self.pace * run_steps

    def say(self, text: str) -> None:
        self.said.append(text)


def raced(
    monkeypatch: pytest.MonkeyPatch,
    limit: object,
    pace: float = 1.0,
    planned: float | None = 1e6,
    **more: Any,
) -> tuple[Any, Pretended]:
    """A race whose run-steps take `pace` seconds where the plan says `planned` microseconds."""
    plan = ExecutionPlan("lanes", 6, 1, 1, planned, planned)
    monkeypatch.setattr(run, "choose", lambda *args: plan)
    watcher = Pretended(pace)
    monkeypatch.setattr(time_limit, "time", watcher)
    found = tw.race("wine-mlp", time_limit=limit, watcher=watcher, **{**SMALL, **more})
    return found, watcher


def counts(found: Any) -> tuple[set[int], set[int]]:
    """The configurations that the optimizers tried, and the fresh seeds they were judged on."""
    entries = found.document["optimizers"]
    return {e["configurations"] for e in entries}, {len(e["by_seed"]["test"]) for e in entries}


def test_where_the_time_suffices_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    found, watcher = raced(monkeypatch, "10d")
    tried, seeds = counts(found)
    assert min(tried) >= 5
    assert seeds == {8}
    assert not any("to end within" in line for line in watcher.said)
    assert not any("To end within" in line for line in found.document["verdict"]["unknown"])
    assert any(line.startswith("about ") and line.endswith("in all") for line in watcher.said)


@pytest.mark.parametrize("limit", [300, 400])
def test_the_race_is_cut_alike_for_all_and_ends_in_time(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, watcher = raced(monkeypatch, limit)
    tried, seeds = counts(found)
    assert len(tried) == len(seeds) == 1
    assert watcher.now <= limit
    assert watcher.now > limit / 3  # and the time is used
    setting = found.document["setting"]
    assert setting["seeds"] == seeds.pop() >= 3
    said = [line for line in watcher.said if line.startswith("to end within")]
    assert said
    (caveat,) = [s for s in found.document["verdict"]["unknown"] if s.startswith("To end within")]
    assert "instead of" in caveat or "no further configurations" in caveat


def test_a_machine_that_slows_down_ends_the_race_with_what_is_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fast, _ = raced(monkeypatch, 900)
    slow, watcher = raced(monkeypatch, 900, pace=2.5)
    (fast_tried,), (tried,) = counts(fast)[0], counts(slow)[0]
    assert tried < fast_tried
    assert len(counts(slow)[1]) == 1
    # What cannot be left out, a configuration and a seed of each, may take longer than there is.
    assert watcher.now <= 900
    stages = Counter(record["run"]["optimizer"] for record in slow.records.values())
    assert len(set(stages.values())) == 1


def test_a_race_without_times_is_ended_by_the_clock_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    found, watcher = raced(monkeypatch, 300, planned=None)
    tried, seeds = counts(found)
    assert len(tried) == len(seeds) == 1
    assert tried.pop() < 5
    assert watcher.now <= 300


def test_at_least_one_configuration_and_one_seed_are_raced(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = raced(monkeypatch, 1e-6, planned=None)
    assert counts(found) == ({1}, {2})  # two seeds of three optimizers fill the six lanes


def test_a_time_that_cannot_do_is_refused_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="even 3 configurations and 3 fresh seeds of 3 optimizers"):
        raced(monkeypatch, 60)
    with pytest.raises(UsageError, match="even 5 configurations and 3 fresh seeds"):
        raced(monkeypatch, 60, learning_rates=[0.1, 0.2, 0.3, 0.4, 0.5])


def test_a_race_that_was_cut_goes_on_where_it_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, _ = raced(monkeypatch, 350, out=tmp_path)
    again, watcher = raced(monkeypatch, 350, out=tmp_path)
    assert set(first.records) <= set(again.records)
    assert watcher.now <= 350
    assert counts(again) >= counts(first)


def test_several_tasks_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    real = time_limit.TimedRacing.run

    def noted(self: time_limit.TimedRacing) -> Any:
        given.append(self.clock.limit)
        return real(self)

    monkeypatch.setattr(time_limit.TimedRacing, "run", noted)
    monkeypatch.setattr(run, "choose", lambda *args: ExecutionPlan("lanes", 8))
    tw.races(["wine-mlp", "quadratic:dim=3"], time_limit="3h", **SMALL)
    assert given[0] == pytest.approx(5400, rel=0.01)
    assert given[1] > given[0]  # what the first one left


@given(st.integers(1, 200))
def test_the_first_few_of_a_spread_lie_all_over_it(count: int) -> None:
    order = time_limit._spread(count)
    assert sorted(order) == list(range(count))
    for first in range(1, count + 1):
        some = sorted(order[:first])
        gaps = [b - a for a, b in zip([-1, *some], [*some, count], strict=True)]
        assert max(gaps) <= 4 * max(1, -(-count // first))


@settings(max_examples=50)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.5, 1e5))
def test_what_is_cut_fits_and_is_no_more_than_needed(
    seeds: int, budget: int, seconds: float
) -> None:
    spec = spec_of("wine-mlp", None, None, completed(SPEC_OPTIONS))
    spec = replace(spec, seeds=seeds, budget=budget)
    plan = ExecutionPlan("lanes", 8, 1, 1, 1e4, 1e4)

    def taken(some: Any) -> float:
        runs = len(some.entrants) * (some.budget * some.tuning_seeds + some.seeds)
        return time_limit.training_seconds(plan, runs * some.steps) or 0.0

    try:
        found = time_limit.fitted(spec, plan, seconds)
    except UsageError:
        least = replace(spec, seeds=min(3, seeds), budget=min(3, budget))
        assert taken(least) > seconds
        return
    assert taken(found) <= seconds
    assert found.seeds <= seeds
    assert found.budget <= budget
    if (found.seeds, found.budget) != (seeds, budget):
        larger = replace(
            found, seeds=min(seeds, found.seeds + 1), budget=min(budget, found.budget + 1)
        )
        assert taken(larger) > seconds


SPEC_OPTIONS: Any = {"optimizers": ["sgd", "adam"], "epochs": 1}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("1.5m", 90),
        ("1h30m", 5400),
        (" 2 H ", 7200),
        (10, 10),
        ("1d", 86400),
    ],
)
def test_times_are_read(text: object, seconds: float) -> None:
    assert durations.seconds_of("time_limit", text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "-5s", "10 minutes", "m", "1e3", "٣m", ".", "1..5", "nan", 0, True, None, 1j]
)
def test_what_is_no_time_is_refused(text: object) -> None:
    with pytest.raises(UsageError, match="must be a time above 0, as 90s, 10m or 1h30m"):
        durations.seconds_of("time_limit", text)


def test_times_are_shown() -> None:
    shown = [durations.shown(s).replace("\u202f", " ") for s in (0, 59.6, 119, 120, 7199, 7200)]
    assert shown == ["0 s", "60 s", "119 s", "2.0 min", "120.0 min", "2.0 h"]
    assert [durations.clock(s) for s in (None, 0, 61, 3725.4)] == [
        "-:--:--",
        "0:00:00",
        "0:01:01",
        "1:02:05",
    ]


# What a race is expected to take.


def test_a_forecast_counts_the_runs_that_a_race_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = ExecutionPlan("lanes", 8, 1, 1, 100.0, 1000.0)
    monkeypatch.setattr(run, "choose", lambda *args: plan)
    monkeypatch.chdir(tmp_path)
    rates = {"learning_rates": [0.01, 0.1, 1.0], "prune": False}
    options = {**{k: v for k, v in SMALL.items() if k != "budget"}, **rates, "out": tmp_path / "x"}
    found = tw.racing.forecast("wine-mlp", **options)
    assert list(tmp_path.iterdir()) == []
    assert (found.search, found.rounds, found.final) == (3 * 3 * 2, 0, 3 * 8)
    real = tw.race("wine-mlp", **options)
    assert found.runs == real.document["runs"]
    assert found.run_steps == STEPS * found.runs
    assert found.seconds == pytest.approx(1.25 * 100e-6 * found.run_steps)
    assert "42 runs" not in str(found)
    assert str(found).splitlines()[1].split()[:2] == ["runs", "42:"]
    more = tw.racing.forecast("wine-mlp", **{**SMALL, "budget": 20, "tune": "all"})
    assert more.search == 3 * 20 * 2


def test_memory_grows_with_lanes_and_processes() -> None:
    spec = spec_of("digits-mlp", None, None, completed(SPEC_OPTIONS))
    first = {m: spec.tuning(m, []) for m in spec.entrants}
    assert first
    one, many, two = (
        time_limit_memory(spec, ExecutionPlan("lanes", lanes, processes))
        for lanes, processes in ((1, 1), (100, 1), (100, 2))
    )
    parameters = 4 * 6 * spec.task.parameters()
    assert many - one >= 99 * parameters
    assert two > 2 * many


def time_limit_memory(spec: Any, plan: ExecutionPlan) -> int:
    from thalweg.racing.space import Configuration

    first = {m: [Configuration.of(0.1)] for m in spec.entrants}
    return expected(spec, first, plan).memory


# The time left, on a terminal.


def test_the_time_left_is_that_of_the_whole_race(monkeypatch: pytest.MonkeyPatch) -> None:
    from thalweg.racing import progress as module

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    clock = Pretended(0.0)
    monkeypatch.setattr(module, "time", clock)
    with Progress(Terminal()) as progress:
        left = progress.bars.columns[-1]
        assert isinstance(left, module._Left)

        def shown() -> str:
            (task,) = progress.bars.tasks
            return left.render(task).plain

        progress.stage("measuring")
        assert shown() == "-:--:-- left in all"
        clock.now = 50.0
        progress.stage("learning rates", 100, later=300)
        clock.now = 60.0
        progress.advance(50)
        assert shown() == "0:01:10 left in all"  # 350 steps at 0.2 s
        clock.now = 70.0
        progress.advance(50)
        progress.stage("fresh seeds", 100, later=0)
        assert shown() == "0:00:20 left in all"
