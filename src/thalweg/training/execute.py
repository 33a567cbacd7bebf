"""Run many runs the fastest way there is for them: in lanes, in processes, or one by one."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from statistics import median
from typing import Literal

import torch

from ..tasks import Task
from .runs import RandomSearch, Regime, Result, Run
from .train import Progress, Session, train

LANES = 128  # more gain little and cost memory
_LANE_MEMORY = 512 << 20  # bytes that the stacked parameters, gradients and states may take
_BATCH = 8  # runs in a group where lanes do not pay: little is lost when one is interrupted


@dataclass(frozen=True)
class Execution:
    """A way to execute runs, and what was measured to choose it.

    Attributes:
        mode: runs together as lanes, in processes, or one after the other.
        lanes: how many train together.
        processes: how many processes train at once.
        microseconds: per run and step, this way.
        alone: per run and step, one after the other.
    """

    mode: Literal["lanes", "processes", "one by one"]
    lanes: int = 1
    processes: int = 1
    microseconds: float = float("nan")
    alone: float = float("nan")

    @property
    def group(self) -> int:
        """How many runs finish and are recorded together."""
        return self.lanes if self.mode == "lanes" else _BATCH

    def __str__(self) -> str:
        ways = {
            "lanes": f"up to {self.lanes} runs together as lanes of one stacked model",
            "processes": f"runs in {self.processes} processes of one thread each",
            "one by one": "runs one after the other",
        }
        measured = f"{self.microseconds:.0f} µs per run and step"
        if self.mode != "one by one":
            measured += f" ({self.alone / self.microseconds:.1f}× a plain loop's speed)"
        return f"{ways[self.mode]}: {measured}, measured in the first steps"


def choose(task: Task, runs: Sequence[Run], regime: Regime) -> Execution:
    """Measure a few steps each way and take the fastest.

    Args:
        task: what will be trained.
        runs: what will be run; the first ones serve as the sample.
        regime: how they will be trained.
    """
    regime = replace(regime, evaluations=1)
    sample = [run for run in runs if not isinstance(run.method, RandomSearch)] or list(runs)
    threads = torch.get_num_threads()
    alone = _time(task, sample[:1], regime)
    ways = [Execution("one by one", microseconds=alone, alone=alone)]
    fits = max(1, _LANE_MEMORY // (4 * 6 * task.parameters()))
    lanes = min(LANES, fits, len(sample))
    if lanes > 1:
        try:
            together = _time(task, sample[:lanes], regime)
        except (RuntimeError, NotImplementedError):
            pass  # the model has something that cannot be vectorized over lanes
        else:
            ways.append(Execution("lanes", lanes, 1, together, alone))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    expected = alone * len(runs) * regime.steps(len(task.train[0])) / 1e6
    # Processes take seconds to start; a race shorter than that has no use for them.
    if (cores or 1) > 1 and expected > 20 and _travels(task, runs):
        torch.set_num_threads(1)
        try:
            single = _time(task, sample[:1], regime) / min(cores or 1, len(runs))
        finally:
            torch.set_num_threads(threads)
        ways.append(Execution("processes", 1, cores or 1, single, alone))
    return min(ways, key=lambda way: way.microseconds)


def _time(task: Task, runs: Sequence[Run], regime: Regime) -> float:
    """Microseconds per run and step, from the first steps of these runs."""
    session = iter(Session(task, runs, regime))
    next(session)  # compiles and warms up
    marks = [time.perf_counter()]
    for _ in islice(session, 12):
        marks.append(time.perf_counter())
        if marks[-1] - marks[0] > 1.0:
            break
    taken = [later - earlier for earlier, later in pairwise(marks)] or [float("inf")]
    return median(taken) / len(runs) * 1e6


def _travels(task: Task, runs: Sequence[Run]) -> bool:
    """Whether a process can be sent the task and the rules."""
    try:
        pickle.dumps((task, list(runs)))
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return True


def execute(
    task: Task,
    groups: Sequence[Sequence[Run]],
    regime: Regime,
    way: Execution,
    *,
    test: bool = False,
    progress: Progress | None = None,
) -> Iterator[tuple[Sequence[Run], list[Result]]]:
    """Train groups of runs and yield each when it is finished.

    Args:
        task: what to train.
        groups: from `grouped`.
        regime: how.
        way: from `choose`.
        test: measure the test set too.
        progress: called with the number of run-steps just done.
    """
    if way.mode == "processes" and len(groups) > 1:
        yield from _in_processes(task, groups, regime, way, test, progress)
        return
    for group in groups:
        yield group, _train(task, group, regime, way.lanes, test, progress)


def grouped(runs: Sequence[Run], way: Execution) -> list[list[Run]]:
    """The runs in groups that train together: random search apart, rules by their order."""
    searching = [run for run in runs if isinstance(run.method, RandomSearch)]
    rules = [run for run in runs if not isinstance(run.method, RandomSearch)]
    return [
        kind[start : start + way.group]
        for kind in (rules, searching)
        for start in range(0, len(kind), way.group)
    ]


def _train(
    task: Task,
    runs: Sequence[Run],
    regime: Regime,
    lanes: int,
    test: bool,
    progress: Progress | None,
) -> list[Result]:
    parts = (runs[k : k + lanes] for k in range(0, len(runs), lanes))
    return [r for part in parts for r in train(task, part, regime, test=test, progress=progress)]


def _in_processes(
    task: Task,
    groups: Sequence[Sequence[Run]],
    regime: Regime,
    way: Execution,
    test: bool,
    progress: Progress | None,
) -> Iterator[tuple[Sequence[Run], list[Result]]]:
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")  # a fork would inherit torch's dead threads
    pool = ProcessPoolExecutor(way.processes, context, initializer=_start_worker)
    try:
        work = {pool.submit(_train, task, g, regime, 1, test, None): g for g in groups}
        for done in as_completed(work):
            results = done.result()
            if progress is not None:
                progress(len(results) * regime.steps(len(task.train[0])))
            yield work[done], results
    except BaseException:
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers itself
    torch.set_num_threads(1)


__all__ = ["LANES", "Execution", "choose", "execute", "grouped"]
