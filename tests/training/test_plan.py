"""The choice between lanes, processes and one run after the other, by measurement."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from thalweg.tasks import find
from thalweg.training.execution import plan as planning
from thalweg.training.execution import speedup
from thalweg.training.execution.plan import ExecutionPlan, choose
from thalweg.training.execution.speedup import measure_speedup
from thalweg.training.runs import Regime, Run, method

pytestmark = pytest.mark.usefixtures("one_thread")

REGIME = Regime(epochs=1, batch_size=32, evaluations=2)
Measured = dict[tuple[int, int], float]


def runs(count: int = 6) -> list[Run]:
    names = ("adam", "sgd", "nadam")
    return [Run(method(names[k % 3]), {"lr": 0.01}, k) for k in range(count)]


def measured(
    monkeypatch: pytest.MonkeyPatch,
    times: Measured,
    speedups: Mapping[int, float | None] | None = None,
) -> list[int]:
    """Pretend these times and, by lanes, speed-ups of processes; the lanes they are asked for."""
    asked = list[int]()

    def pretend(context: object, sample: Sequence[Run], processes: int) -> float | None:
        asked.append(len(sample))
        return processes if speedups is None else speedups[len(sample)]

    monkeypatch.setattr(planning, "measure", lambda *args: times)
    monkeypatch.setattr(planning, "measure_speedup", pretend)
    return asked


def build(lock: object) -> nn.Module:
    return nn.Linear(13, 3)


def test_the_fastest_measured_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    task = find("wine-mlp")
    measured(monkeypatch, {(1, 2): 90.0, (1, 1): 100.0, (6, 2): 30.0, (6, 1): 40.0})
    assert choose(task, runs(), REGIME) == ExecutionPlan("lanes", 6, 1, 2, 30.0, 90.0)
    measured(monkeypatch, {(1, 2): 90.0, (1, 1): 100.0, (6, 2): 95.0, (6, 1): 97.0})
    slower = choose(task, runs(), REGIME)
    assert slower == ExecutionPlan("one by one", 1, 1, 2, 90.0, 90.0)
    assert slower.why == "as lanes they took 95 µs"
    measured(monkeypatch, {(1, 2): 9e9, (1, 1): 100.0, (6, 2): 9e9, (6, 1): 40.0})
    assert choose(task, runs(), REGIME) == ExecutionPlan("lanes", 6, 1, 1, 40.0, 100.0)


def test_processes_are_taken_where_they_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    task = find("wine-mlp")
    monkeypatch.setattr(planning, "cores", lambda: 4)
    slow: Measured = {(1, 2): 9e5, (1, 1): 1e6, (6, 2): 8e5, (6, 1): 8e5}
    measured(monkeypatch, slow)
    # 6 runs of 4 steps of 0.9 s are worth starting processes for.
    assert choose(task, runs(), REGIME) == ExecutionPlan("processes", 1, 4, 1, 2.5e5, 9e5)
    measured(monkeypatch, {key: value / 100 for key, value in slow.items()})
    assert choose(task, runs(), REGIME) == ExecutionPlan("lanes", 6, 1, 2, 8e3, 9e3)
    measured(monkeypatch, slow)
    monkeypatch.setattr(planning, "cores", lambda: 1)
    assert choose(task, runs(), REGIME) == ExecutionPlan("lanes", 6, 1, 2, 8e5, 9e5)


def test_lanes_are_shared_out_to_processes_that_they_fill(monkeypatch: pytest.MonkeyPatch) -> None:
    task, many = find("wine-mlp"), runs(300)
    monkeypatch.setattr(planning, "cores", lambda: 2)
    measured(monkeypatch, {(1, 2): 9e5, (1, 1): 9e5, (128, 2): 9e4, (128, 1): 1e5})
    assert choose(task, many, REGIME) == ExecutionPlan("lanes", 128, 2, 1, 5e4, 9e5)
    # Half as many in each are taken to be as fast a run, fewer are not.
    assert choose(task, many[:128], REGIME) == ExecutionPlan("lanes", 64, 2, 1, 5e4, 9e5)
    assert choose(task, many[:120], REGIME) == ExecutionPlan("lanes", 128, 1, 2, 9e4, 9e5)
    # All of them must fit into memory.
    monkeypatch.setattr(planning, "models_that_fit", lambda *args: 140)
    assert choose(task, many, REGIME) == ExecutionPlan("lanes", 70, 2, 1, 5e4, 9e5)
    monkeypatch.setattr(planning, "models_that_fit", lambda *args: 1)
    measured(monkeypatch, {(1, 2): 9e5, (1, 1): 9e5})
    assert choose(task, many, REGIME).mode == "one by one"


def test_processes_are_as_fast_as_they_are_measured_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task, many = find("wine-mlp"), runs(300)
    monkeypatch.setattr(planning, "cores", lambda: 2)
    times: Measured = {(1, 1): 9e5, (128, 2): 9e4, (128, 1): 1e5}
    # Two processes that share what bounds them do little more than one.
    asked = measured(monkeypatch, times, {2: 1.25})
    assert choose(task, many, REGIME) == ExecutionPlan("lanes", 128, 2, 1, 8e4, 9e5)
    asked = measured(monkeypatch, times, {2: 1.05})
    assert choose(task, many, REGIME).processes == 1
    assert "in 2 processes they took 95238 µs" in choose(task, many, REGIME).why
    assert asked == [2, 2]
    measured(monkeypatch, times, {2: None})
    assert choose(task, many, REGIME) == ExecutionPlan("lanes", 128, 1, 2, 9e4, 9e5)
    assert "2 processes could not be timed" in choose(task, many, REGIME).why


def test_a_short_race_does_not_wait_for_that_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    task, many = find("wine-mlp"), runs(300)
    monkeypatch.setattr(planning, "cores", lambda: 2)
    asked = measured(monkeypatch, {(1, 1): 1e4}, {1: 1.0})
    assert choose(task, many, REGIME).processes == 2  # 12 s, which processes may halve
    assert not asked
    measured(monkeypatch, {(1, 1): 2e4}, {1: 1.0})
    assert choose(task, many, REGIME).mode == "one by one"


def test_the_next_plan_is_measured_where_the_first_is_slower_than_assumed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task, many = find("wine-mlp"), runs(300)
    monkeypatch.setattr(planning, "cores", lambda: 2)
    times: Measured = {(1, 1): 1.1e5, (128, 1): 1e5}
    asked = measured(monkeypatch, times, {18: 1.0, 1: 2.0})
    assert choose(task, many, REGIME) == ExecutionPlan("processes", 1, 2, 1, 5.5e4, 1.1e5)
    assert asked == [18, 1]


def test_processes_that_train_together_are_timed() -> None:
    task = find("wine-mlp")
    context = ExecutionPlan("lanes", 2, 2).context(task, REGIME)
    found = measure_speedup(context, runs(2), 2)
    assert found is not None
    assert found > 0


class Ending(nn.Linear):
    """Ends its process."""

    def __init__(self) -> None:
        super().__init__(13, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        os._exit(3)


class Raising(Ending):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise LookupError("not in a worker")


@pytest.mark.parametrize("model", [Ending, Raising])
def test_processes_in_which_the_model_fails_are_not_timed(model: Callable[[], nn.Module]) -> None:
    task = replace(find("wine-mlp"), model=model)
    context = ExecutionPlan("processes", 1, 2).context(task, REGIME)
    assert measure_speedup(context, runs(1), 2) is None


def test_a_speedup_is_that_of_all_processes_over_one_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Stub:
        def __init__(self, channel: Pool) -> None:
            self.channel = channel

    class Pool:
        def __init__(self, size: int) -> None:
            self.workers = [Stub(self) for _ in range(size)]
            self.asked = 0

        def send(self, message: bytes) -> None:
            self.asked += 1

        def listen(self, seconds: float) -> list[tuple[Any, list[Any], bool]]:
            busy, self.asked = self.asked, 0
            rate = {1: 100.0, 3: 60.0}[busy]
            return [(w, [("burst", rate)], False) for w in self.workers[:busy]]

    pool: Any = Pool(3)
    monkeypatch.setattr(speedup, "_ROUNDS", 1)
    assert speedup._timed(pool) == pytest.approx(1.8)


def test_what_cannot_be_sent_is_never_given_to_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "cores", lambda: 4)
    measured(monkeypatch, {(1, 1): 1e6})
    held = replace(find("wine-mlp"), model=partial(build, threading.Lock()))
    assert choose(held, runs(), REGIME).mode == "one by one"
    local = replace(find("wine-mlp"), model=lambda: nn.Linear(13, 3))
    assert choose(local, runs(), REGIME).mode == "processes"
