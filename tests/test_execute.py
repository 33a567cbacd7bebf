"""How runs are executed: the choice between ways, groups, processes and what befalls them."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from thalweg.tasks import Task, find
from thalweg.training import execute as executing
from thalweg.training import workers
from thalweg.training.execute import Execution, choose, execute, grouped, hired, thread_count
from thalweg.training.runs import RANDOM_SEARCH, Regime, Result, Run, method

pytestmark = pytest.mark.usefixtures("one_thread")

REGIME = Regime(epochs=1, batch_size=32, evaluations=2)
Measured = dict[tuple[int, int], float]


def runs(count: int = 6) -> list[Run]:
    names = ("adam", "sgd", "nadam")
    return [Run(method(names[k % 3]), {"lr": 0.01}, k) for k in range(count)]


def measured(monkeypatch: pytest.MonkeyPatch, times: Measured) -> None:
    monkeypatch.setattr(executing, "_measure", lambda *args: times)


# The choice.


def test_the_fastest_measured_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    task = find("wine-mlp")
    measured(monkeypatch, {(1, 2): 90.0, (1, 1): 100.0, (6, 2): 30.0, (6, 1): 40.0})
    assert choose(task, runs(), REGIME) == Execution("lanes", 6, 1, 2, 30.0, 90.0)
    measured(monkeypatch, {(1, 2): 90.0, (1, 1): 100.0, (6, 2): 95.0, (6, 1): 97.0})
    slower = choose(task, runs(), REGIME)
    assert slower == Execution("one by one", 1, 1, 2, 90.0, 90.0)
    assert slower.why == "as lanes they took 95 µs"
    measured(monkeypatch, {(1, 2): 9e9, (1, 1): 100.0, (6, 2): 9e9, (6, 1): 40.0})
    assert choose(task, runs(), REGIME) == Execution("lanes", 6, 1, 1, 40.0, 100.0)


def test_processes_are_taken_where_they_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    task = find("wine-mlp")
    monkeypatch.setattr(executing, "cores", lambda: 4)
    slow: Measured = {(1, 2): 9e5, (1, 1): 1e6, (6, 2): 8e5, (6, 1): 8e5}
    measured(monkeypatch, slow)
    # 6 runs of 4 steps of 0.9 s are worth starting processes for.
    assert choose(task, runs(), REGIME) == Execution("processes", 1, 4, 1, 2.5e5, 9e5)
    measured(monkeypatch, {key: value / 100 for key, value in slow.items()})
    assert choose(task, runs(), REGIME) == Execution("lanes", 6, 1, 2, 8e3, 9e3)
    measured(monkeypatch, slow)
    monkeypatch.setattr(executing, "cores", lambda: 1)
    assert choose(task, runs(), REGIME) == Execution("lanes", 6, 1, 2, 8e5, 9e5)


def test_lanes_are_shared_out_to_processes_that_they_fill(monkeypatch: pytest.MonkeyPatch) -> None:
    task, many = find("wine-mlp"), runs(300)
    monkeypatch.setattr(executing, "cores", lambda: 2)
    measured(monkeypatch, {(1, 2): 9e5, (1, 1): 9e5, (128, 2): 9e4, (128, 1): 1e5})
    assert choose(task, many, REGIME) == Execution("lanes", 128, 2, 1, 5e4, 9e5)
    # Half as many in each are taken to be as fast a run, fewer are not.
    assert choose(task, many[:128], REGIME) == Execution("lanes", 64, 2, 1, 5e4, 9e5)
    assert choose(task, many[:120], REGIME) == Execution("lanes", 128, 1, 2, 9e4, 9e5)
    # All of them must fit into memory.
    monkeypatch.setattr(executing, "fitting", lambda *args: 140)
    assert choose(task, many, REGIME) == Execution("lanes", 70, 2, 1, 5e4, 9e5)
    monkeypatch.setattr(executing, "fitting", lambda *args: 1)
    measured(monkeypatch, {(1, 2): 9e5, (1, 1): 9e5})
    assert choose(task, many, REGIME).mode == "one by one"


def test_what_cannot_be_sent_is_never_given_to_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executing, "cores", lambda: 4)
    measured(monkeypatch, {(1, 1): 1e6})
    local = replace(find("wine-mlp"), model=lambda: nn.Linear(13, 3))
    assert choose(local, runs(), REGIME).mode == "one by one"
    assert choose(find("wine-mlp"), runs(), REGIME).mode == "processes"


def script(tmp_path: Path, body: str) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(body), encoding="utf-8")
    return subprocess.run(
        [sys.executable, path], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(
    ("guard", "expected"), [("if __name__ == '__main__':", True), ("if 1:", False)]
)
def test_a_script_that_would_race_again_in_every_process_is_kept_from_them(
    tmp_path: Path, guard: str, expected: bool
) -> None:
    done = script(
        tmp_path,
        f"""
        from thalweg.tasks import find
        from thalweg.training.workers import reachable
        {guard}
            print(reachable(find("wine-mlp"), []))
        """,
    )
    assert done.stdout == f"{expected}\n", done.stderr


def test_what_was_typed_at_a_prompt_is_kept_from_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = type(sys)("__main__")
    monkeypatch.setitem(sys.modules, "__main__", prompt)
    exec("from torch import nn\ndef model(): return nn.Linear(13, 3)", prompt.__dict__)
    task = find("wine-mlp")
    assert workers.reachable(task, runs())
    assert not workers.reachable(replace(task, model=prompt.model), runs())


class Branching(nn.Module):
    """Looks at its values, which a model in lanes cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(13, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.linear(x)
        return scores if scores.detach().sum() > 0 else 2 * scores


class Moody(nn.Linear):
    """Fails in lanes with an error of its own."""

    def __init__(self) -> None:
        super().__init__(13, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch._C._functorch.is_batchedtensor(x):
            raise LookupError("no lanes here")
        return super().forward(x)


@pytest.mark.parametrize("model", [Branching, Moody])
def test_a_model_that_fits_no_lanes_trains_one_by_one(model: Callable[[], nn.Module]) -> None:
    task = replace(find("wine-mlp"), model=model)
    regime = Regime(epochs=8, batch_size=32, evaluations=2)
    way = choose(task, runs(), regime)
    assert (way.mode, way.lanes) == ("one by one", 1)
    assert "no lanes, because the model fails in them" in way.why
    assert f"{__file__}:" in way.why
    ((_, results),) = execute(task, grouped(runs(), way), regime, way)
    assert all(r.validation_loss[-1] < r.validation_loss[0] for r in results)


@pytest.mark.parametrize("only", [RANDOM_SEARCH, method("adam")])
@pytest.mark.parametrize("regime", [Regime(1, 106, evaluations=1), REGIME])
def test_every_way_is_timed_in_races_of_one_step_too(only: object, regime: Regime) -> None:
    sample = [Run(only, {"lr": 0.01}, k) for k in range(4)]  # type: ignore[arg-type]
    times = executing._measure(find("wine-mlp"), sample, regime, 4, [])
    assert set(times) == {(1, 1), (4, 1)}
    assert all(0 < t < 1e9 for t in times.values())


def test_ways_are_timed_and_run_with_their_own_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with thread_count(2):
        times = executing._measure(find("wine-mlp"), runs(), REGIME, 2, [])
        assert torch.get_num_threads() == 2
    assert set(times) == {(1, 1), (1, 2), (2, 1), (2, 2)}
    seen = []
    plain = executing.complete

    def watching(*args: Any, **more: Any) -> list[Result]:
        seen.append(torch.get_num_threads())
        return plain(*args, **more)

    monkeypatch.setattr(executing, "complete", watching)
    list(execute(find("wine-mlp"), [runs(1)], REGIME, Execution("one by one", threads=2)))
    assert seen == [2]
    assert torch.get_num_threads() == 1


def test_a_way_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="mode='teleport' is none of"):
        Execution("teleport")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="lanes=0 must be a whole number"):
        Execution("lanes", 0)


def test_a_way_is_described_with_what_was_measured() -> None:
    lanes = str(Execution("lanes", 90, 1, 2, 50.0, 400.0))
    assert lanes == (
        "up to 90 runs together as lanes of one stacked model, 2 threads: 50 µs per run and step, "
        "8.0× as fast as one after the other"
    )
    apart = str(Execution("lanes", 90, 2, 1, 50.0, 400.0))
    assert apart.startswith("up to 90 runs together as lanes of one stacked model, in 2 processes")
    kept = str(Execution("one by one", 1, 1, 1, 50.0, 50.0, "no lanes, because"))
    assert kept.endswith("50 µs per run and step; no lanes, because")
    alone = str(Execution("one by one", 1, 1, 1, 50.0, 50.0))
    assert alone == "runs one after the other, 1 thread: 50 µs per run and step"


# Groups.


def test_groups_hold_every_run_once_and_keep_random_search_apart() -> None:
    mixed = [Run(RANDOM_SEARCH, {"lr": 0.1}, s) for s in range(3)] + runs(9)
    groups = grouped(mixed, Execution("lanes", 4))
    assert [len(g) for g in groups] == [4, 4, 1, 3]
    assert [run for g in groups for run in g] == mixed[3:] + mixed[:3]
    for group in groups:
        assert len({run.method is RANDOM_SEARCH for run in group}) == 1


def test_groups_are_shared_out_evenly_to_processes_and_brackets_stay_whole() -> None:
    brackets = [
        replace(run, bracket=f"b{k}") for k in range(21) for run in [runs(1)[0]] * 27
    ]  # fmt: skip
    groups = grouped(brackets, Execution("lanes", 128, 2))
    assert [len(g) for g in groups] == [81, 108, 81, 108, 81, 108]
    assert [run for g in groups for run in g] == brackets
    assert [len(g) for g in grouped(runs(5), Execution("lanes", 4, 2))] == [2, 3]
    assert [len(g) for g in grouped(runs(1), Execution("lanes", 4, 2))] == [1]


def test_progress_counts_every_step_of_every_run() -> None:
    task, way, steps = find("wine-mlp"), Execution("lanes", 4), []
    list(execute(task, grouped(runs(6), way), REGIME, way, progress=steps.append))
    assert sum(steps) == 6 * REGIME.steps(len(task.train[0]))


# Processes.


def everything(task: Task, way: Execution, given: list[Run]) -> dict[int, Result]:
    groups = [given[k : k + 2] for k in range(0, len(given), 2)]
    found = {}
    for group, results in execute(task, groups, REGIME, way, test=True):
        found.update({run.seed: result for run, result in zip(group, results, strict=True)})
    return found


def test_processes_leave_the_records_that_one_by_one_leaves() -> None:
    task, steps = find("wine-mlp"), []
    apart = everything(task, Execution("processes", 1, 2), runs(6))
    one_by_one = everything(task, Execution("one by one"), runs(6))
    assert {k: repr(r) for k, r in sorted(apart.items())} == {
        k: repr(r) for k, r in sorted(one_by_one.items())
    }
    groups = [runs(4)[:2], runs(4)[2:]]
    list(execute(task, groups, REGIME, Execution("processes", 1, 2), progress=steps.append))
    assert sum(steps) == 2 * 2 * 4


def test_processes_of_lanes_leave_the_records_that_lanes_leave() -> None:
    task = find("wine-mlp")
    apart = everything(task, Execution("lanes", 2, 2), runs(6))
    together = everything(task, Execution("lanes", 2), runs(6))
    assert {k: repr(r) for k, r in sorted(apart.items())} == {
        k: repr(r) for k, r in sorted(together.items())
    }


def test_a_crew_trains_one_call_after_the_other() -> None:
    task, way, steps = find("wine-mlp"), Execution("processes", 1, 2), []
    groups = [[run] for run in runs(4)]
    with hired(task, REGIME, way) as crew:
        assert not multiprocessing.active_children()
        first = dict(done(execute(task, groups[:2], REGIME, way, crew=crew)))
        children = multiprocessing.active_children()
        assert len(children) == 1
        second = done(execute(task, groups[2:], REGIME, way, crew=crew, progress=steps.append))
        assert multiprocessing.active_children() == children
    assert not any(child.is_alive() for child in children)
    assert sorted(first | dict(second)) == [0, 1, 2, 3]
    assert sum(steps) == 2 * REGIME.steps(len(task.train[0]))


def done(found: Iterable[tuple[Sequence[Run], Any]]) -> list[tuple[int, Any]]:
    return [(group[0].seed, results) for group, results in found]


def test_a_rule_from_a_file_reaches_the_processes(tmp_path: Path) -> None:
    file = tmp_path / "my_rule.py"
    file.write_text(
        "import thalweg as tw\n@tw.rule\ndef mine(theta, g, t, *, lr=0.1):\n"
        "    return theta - lr * g\n",
        encoding="utf-8",
    )
    from thalweg.cli.load import load_rule

    rule = load_rule(f"{file}:mine")
    given = [Run(rule, {"lr": 0.1}, seed) for seed in range(4)]
    task = find("wine-mlp")
    assert workers.reachable(task, given)
    found = everything(task, Execution("processes", 1, 2), given)
    plain = everything(
        task, Execution("one by one"), [replace(r, method=method("sgd")) for r in given]
    )
    for seed in range(4):
        assert found[seed].validation_loss == pytest.approx(plain[seed].validation_loss, rel=1e-5)


def test_a_dead_worker_costs_speed_and_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A module that another process can import.
    (tmp_path / "deadly.py").write_text(
        "import os, multiprocessing\nfrom torch import nn\n"
        "def model():\n"
        "    if multiprocessing.parent_process() is not None:\n"
        "        os._exit(3)\n"
        "    return nn.Linear(13, 3)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    task = replace(find("wine-mlp"), model=importlib.import_module("deadly").model)
    steps: list[int] = []
    groups, way = [[run] for run in runs(6)], Execution("processes", 1, 2)
    with pytest.warns(RuntimeWarning, match="a worker process ended early"):
        found = done(execute(task, groups, REGIME, way, progress=steps.append))
    assert sorted(dict(found)) == list(range(6))
    assert sum(steps) == 6 * REGIME.steps(len(task.train[0]))
    assert torch.get_num_threads() == 1


def test_leaving_early_ends_the_processes() -> None:
    generator = execute(
        find("wine-mlp"), [[r] for r in runs(6)], REGIME, Execution("processes", 1, 2)
    )
    next(generator)
    children = multiprocessing.active_children()
    assert len(children) == 1
    generator.close()
    assert not any(child.is_alive() for child in children)


ENDLESS = """
    import sys
    from thalweg.tasks import find
    from thalweg.training.execute import Execution, execute
    from thalweg.training.runs import Regime, Run, method

    if __name__ == "__main__":
        runs = [[Run(method("sgd"), {"lr": 0.1}, seed)] for seed in range(4)]
        way, regime = Execution("processes", 1, 2), Regime(100_000, 1, evaluations=1)
        print("ready", flush=True)
        list(execute(find("wine-mlp"), runs, regime, way))
"""


def children_of(process: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text()
        except OSError:
            continue
        if int(status.rpartition(")")[2].split()[1]) == process:
            found.append(int(folder.name))
    return found


def running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def within(seconds: float, true: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_processes_end_with_their_parent_however_it_ends(
    tmp_path: Path, how: signal.Signals
) -> None:
    path = tmp_path / "endless.py"
    path.write_text(textwrap.dedent(ENDLESS), encoding="utf-8")
    parent = subprocess.Popen(
        [sys.executable, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        # A worker and Python's own resource tracker.
        assert within(60, lambda: len(children_of(parent.pid)) >= 2)
        family = children_of(parent.pid)
        if how is signal.SIGINT:
            # Workers never hear it themselves, from their very first moment on.
            for _ in range(10):
                for child in family:
                    os.kill(child, signal.SIGINT)
                time.sleep(0.1)
            assert all(map(running, family))
            os.killpg(parent.pid, how)  # as a terminal does on Ctrl-C: all of them
        else:
            parent.send_signal(how)
        _, said = parent.communicate(timeout=60)
        assert within(60, lambda: not any(map(running, family)))
        if how is signal.SIGINT:
            assert said.count("KeyboardInterrupt") == 1  # the parent's; the workers are silent
    finally:
        for process in (parent.pid, *children_of(parent.pid)):
            if running(process):
                os.kill(process, signal.SIGKILL)
        parent.wait()
