"""How runs are executed: groups, processes and what befalls them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from thalweg.tasks import Task, find
from thalweg.training.devices import thread_count
from thalweg.training.execution import local, recovery
from thalweg.training.execution.executor import make_executor
from thalweg.training.execution.grouping import grouped
from thalweg.training.execution.plan import ExecutionPlan, choose
from thalweg.training.execution.processes import ProcessExecutor
from thalweg.training.execution.timing import measure
from thalweg.training.execution.transport import can_travel, pack, unpack
from thalweg.training.runs import RANDOM_SEARCH, Regime, Result, Run, method

pytestmark = pytest.mark.usefixtures("one_thread")

REGIME = Regime(epochs=1, batch_size=32, evaluations=2)


def runs(count: int = 6) -> list[Run]:
    names = ("adam", "sgd", "nadam")
    return [Run(method(names[k % 3]), {"lr": 0.01}, k) for k in range(count)]


def build(lock: object) -> nn.Module:
    return nn.Linear(13, 3)


def test_a_plan_of_processes_trains_here_what_cannot_be_sent() -> None:
    held = replace(find("wine-mlp"), model=partial(build, threading.Lock()))
    with pytest.warns(RuntimeWarning, match=r"cannot start here: .*cannot be sent .*lock"):
        found = everything(held, ExecutionPlan("processes", 1, 2), runs(2))
    assert repr(found) == repr(everything(held, ExecutionPlan("one by one"), runs(2)))


PROMPT = """
from functools import lru_cache
import thalweg as tw
from torch import nn
WIDTH = 3
@lru_cache(maxsize=None)
def width(): return WIDTH
def model(): return nn.Linear(13, width())
@tw.rule
def typed(theta, g, t, *, lr=0.1):
    return theta - lr * g
"""


def test_what_was_typed_at_a_prompt_travels_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = type(sys)("__main__")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "__main__", prompt)
        exec(PROMPT, prompt.__dict__)
        task = replace(find("wine-mlp"), model=prompt.model)
        given = [Run(prompt.typed, {"lr": 0.2}, 0)]
        packed = pack((task, given))
    model, (run,) = unpack(packed)[0].model, unpack(packed)[1]
    assert model().out_features == 3
    assert run.method(1.0, 2.0, 1, lr=0.5) == (0.0,)
    assert run.method is not prompt.typed


def test_a_module_that_holds_what_cannot_be_copied_is_imported_by_the_other_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "locking.py").write_text(
        "import threading\nfrom torch import nn\nLOCK = threading.Lock()\n"
        "def model():\n    with LOCK:\n        return nn.Linear(13, 3)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    import locking  # type: ignore[import-not-found]

    task = replace(find("wine-mlp"), model=locking.model)
    assert unpack(pack(task)).model is locking.model
    # It would start a race again that is started by the module's import.
    monkeypatch.setattr(locking.__spec__, "_initializing", True, raising=False)
    assert not can_travel(task)


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
    context = way.context(task, regime)
    ((_, results),) = local.LocalExecutor().train(context, grouped(runs(), way))
    assert all(r.validation_loss[-1] < r.validation_loss[0] for r in results)


@pytest.mark.parametrize("only", [RANDOM_SEARCH, method("adam")])
@pytest.mark.parametrize("regime", [Regime(1, 106, evaluations=1), REGIME])
def test_every_way_is_timed_in_races_of_one_step_too(only: object, regime: Regime) -> None:
    sample = [Run(only, {"lr": 0.01}, k) for k in range(4)]  # type: ignore[arg-type]
    times = measure(find("wine-mlp"), sample, regime, 4, [])
    assert set(times) == {(1, 1), (4, 1)}
    assert all(0 < t < 1e9 for t in times.values())


def test_ways_are_timed_and_run_with_their_own_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with thread_count(2):
        times = measure(find("wine-mlp"), runs(), REGIME, 2, [])
        assert torch.get_num_threads() == 2
    assert set(times) == {(1, 1), (1, 2), (2, 1), (2, 2)}
    seen = []
    plain = recovery.train_group

    def watching(*args: Any, **more: Any) -> list[Result]:
        seen.append(torch.get_num_threads())
        return plain(*args, **more)

    monkeypatch.setattr(recovery, "train_group", watching)
    everything(find("wine-mlp"), ExecutionPlan("one by one", threads=2), runs(1))
    assert seen == [2]
    assert torch.get_num_threads() == 1


def test_a_way_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="mode='teleport' is none of"):
        ExecutionPlan("teleport")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="lanes=0 must be a whole number"):
        ExecutionPlan("lanes", 0)


def test_a_way_is_described_with_what_was_measured() -> None:
    lanes = str(ExecutionPlan("lanes", 90, 1, 2, 50.0, 400.0))
    assert lanes == (
        "up to 90 runs together as lanes of one stacked model, 2 threads: 50 µs per run and step, "
        "8.0× as fast as one after the other"
    )
    apart = str(ExecutionPlan("lanes", 90, 2, 1, 50.0, 400.0))
    assert apart.startswith("up to 90 runs together as lanes of one stacked model, in 2 processes")
    kept = str(ExecutionPlan("one by one", 1, 1, 1, 50.0, 50.0, "no lanes, because"))
    assert kept.endswith("50 µs per run and step; no lanes, because")
    alone = str(ExecutionPlan("one by one", 1, 1, 1, 50.0, 50.0))
    assert alone == "runs one after the other, 1 thread: 50 µs per run and step"


# Groups.


def test_groups_hold_every_run_once_and_keep_random_search_apart() -> None:
    mixed = [Run(RANDOM_SEARCH, {"lr": 0.1}, s) for s in range(3)] + runs(9)
    groups = grouped(mixed, ExecutionPlan("lanes", 4))
    assert [len(g) for g in groups] == [4, 4, 1, 3]
    assert [run for g in groups for run in g] == mixed[3:] + mixed[:3]
    for group in groups:
        assert len({run.method is RANDOM_SEARCH for run in group}) == 1


def test_groups_are_shared_out_evenly_to_processes_and_brackets_stay_whole() -> None:
    brackets = [replace(run, bracket=f"b{k}") for k in range(21) for run in [runs(1)[0]] * 27]
    groups = grouped(brackets, ExecutionPlan("lanes", 128, 2))
    assert [len(g) for g in groups] == [81, 108, 81, 108, 81, 108]
    assert [run for g in groups for run in g] == brackets
    assert [len(g) for g in grouped(runs(5), ExecutionPlan("lanes", 4, 2))] == [2, 3]
    assert [len(g) for g in grouped(runs(1), ExecutionPlan("lanes", 4, 2))] == [1]


def test_progress_counts_every_step_of_every_run() -> None:
    task, way, steps = find("wine-mlp"), ExecutionPlan("lanes", 4), []
    everything(task, way, runs(6), steps.append)
    assert sum(steps) == 6 * REGIME.steps(len(task.train[0]))


# Processes.


def everything(
    task: Task,
    way: ExecutionPlan,
    given: list[Run],
    progress: Callable[[int], None] = lambda n: None,
) -> dict[int, Result]:
    groups = [given[k : k + 2] for k in range(0, len(given), 2)]
    context, found = replace(way.context(task, REGIME), test=True, progress=progress), {}
    with make_executor(way) as executor:
        for group, results in executor.train(context, groups):
            assert isinstance(results, list)
            found.update({run.seed: result for run, result in zip(group, results, strict=True)})
    return dict(sorted(found.items()))


def test_processes_leave_the_records_that_one_by_one_leaves() -> None:
    task, steps = find("wine-mlp"), list[int]()
    apart = everything(task, ExecutionPlan("processes", 1, 2), runs(6), steps.append)
    assert repr(apart) == repr(everything(task, ExecutionPlan("one by one"), runs(6)))
    assert sum(steps) == 6 * 4


def test_processes_compute_with_the_number_type_and_precision_of_this_one(double: None) -> None:
    torch.set_float32_matmul_precision("high")
    try:
        task, given = find("quadratic:dim=4"), runs(2)
        apart = everything(task, ExecutionPlan("processes", 1, 2), given)
        assert repr(apart) == repr(everything(task, ExecutionPlan("one by one"), given))
    finally:
        torch.set_float32_matmul_precision("highest")


def test_processes_of_lanes_leave_the_records_that_lanes_leave() -> None:
    task = find("wine-mlp")
    apart = everything(task, ExecutionPlan("lanes", 2, 2), runs(6))
    together = everything(task, ExecutionPlan("lanes", 2), runs(6))
    assert {k: repr(r) for k, r in sorted(apart.items())} == {
        k: repr(r) for k, r in sorted(together.items())
    }


def test_workers_train_one_call_after_the_other() -> None:
    task, way, steps = find("wine-mlp"), ExecutionPlan("processes", 1, 2), list[int]()
    groups, context = [[run] for run in runs(4)], way.context(task, REGIME)
    with ProcessExecutor(2) as executor:
        assert not executor.pool.workers
        first = list(executor.train(context, groups[:2]))
        workers = list(executor.pool.workers)
        assert 1 <= len(workers) <= 2
        counted = replace(context, progress=steps.append)
        second = list(executor.train(counted, groups[2:]))
        assert executor.pool.workers[: len(workers)] == workers
        # Another regime is not what they were sent.
        longer = replace(context, regime=replace(REGIME, epochs=2))
        ((_, (result,)),) = executor.train(longer, groups[:1])
        assert result.steps[-1] == 2 * REGIME.steps(len(task.train[0]))
        workers += executor.pool.workers
    assert all(worker.process.poll() is not None for worker in workers)
    assert sorted(group[0].seed for group, _ in first + second) == [0, 1, 2, 3]
    assert sum(steps) == 2 * REGIME.steps(len(task.train[0]))


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
    found = everything(task, ExecutionPlan("processes", 1, 2), given)
    plain = everything(
        task, ExecutionPlan("one by one"), [replace(r, method=method("sgd")) for r in given]
    )
    for seed in range(4):
        assert found[seed].validation_loss == pytest.approx(plain[seed].validation_loss, rel=1e-5)


class Stop(Exception):
    """Raised to leave in the middle."""


def test_leaving_early_ends_the_workers_that_are_not_finished() -> None:
    def stop(run_steps: int) -> None:
        raise Stop

    task, way = find("wine-mlp"), ExecutionPlan("processes", 1, 2)
    endless = replace(way.context(task, replace(REGIME, epochs=100_000)), progress=stop)
    with ProcessExecutor(2) as executor:
        with pytest.raises(Stop):
            list(executor.train(endless, [[r] for r in runs(6)]))
        assert not any(worker.work for worker in executor.pool.workers)
        assert len(list(executor.train(way.context(task, REGIME), [[r] for r in runs(2)]))) == 2


ENDLESS = """
    import sys
    from thalweg.tasks import find
    from thalweg.training.execution.executor import make_executor
    from thalweg.training.execution.plan import ExecutionPlan
    from thalweg.training.runs import Regime, Run, method

    runs = [[Run(method("sgd"), {"lr": 0.1}, seed)] for seed in range(4)]
    way, regime = ExecutionPlan("processes", 1, 2), Regime(100_000, 1, evaluations=1)
    print("ready", flush=True)
    with make_executor(way) as executor:
        list(executor.train(way.context(find("wine-mlp"), regime), runs))
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
@pytest.mark.parametrize(
    "how",
    [
        pytest.param(signal.SIGINT, marks=pytest.mark.long),
        pytest.param(signal.SIGTERM, marks=pytest.mark.long),
        signal.SIGKILL,
    ],
)
def test_processes_end_with_their_parent_however_it_ends(
    tmp_path: Path, how: signal.Signals
) -> None:
    path = tmp_path / "endless.py"
    path.write_text(textwrap.dedent(ENDLESS), encoding="utf-8")
    parent = subprocess.Popen(
        [sys.executable, path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
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
