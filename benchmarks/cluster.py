"""Races on Ray: throughput against the number of workers, and what a group costs the driver.

Everything runs on one machine, whose cores the workers, the driver and Ray itself share.
"""

from __future__ import annotations

import os
import resource
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import ray
import torch

from common import Record, parser
from thalweg import tasks
from thalweg.racing.entrants import entrants
from thalweg.racing.spec import Spec
from thalweg.training.context import TrainingContext
from thalweg.training.execution import ray as on_ray
from thalweg.training.execution.executor import make_executor
from thalweg.training.execution.grouping import grouped
from thalweg.training.execution.plan import ExecutionPlan
from thalweg.training.execution.ray import Cluster
from thalweg.training.runs import Regime, Result, Run, method

EMPTY = {False: 100_000, True: 2_000}  # empty groups, by --quick
LIMIT = 180.0  # seconds that they may take
LANES = 32
REGIME = Regime(epochs=5, batch_size=64, evaluations=10)

EMPTY_COLUMNS = {
    "workers": "{workers}",
    "groups": "{groups:,} of {asked:,}",
    "groups/s": "{per_second:.0f}",
    "driver, µs of CPU per group": "{driver_us:.0f}",
    "first tenth": "{first_us:.0f}",
    "last tenth": "{last_us:.0f}",
    "driver grew by, MB": "{grown_mb:.1f}",
}
GROUP_COLUMNS = {
    "workers": "{workers}",
    "groups": "{groups}",
    "runs": "{runs}",
    "s": "{seconds:.1f}",
    "run-steps/s": "{per_second:,.0f}",
    "by one worker": "{ratio:.2f}×",
}


def nothing(*_: object) -> tuple[list[Result], list[str]]:
    """What a node does instead of training a group of one run."""
    return [Result([0], [0.0], [0.0], [0.0], [], [])], []


class Driver:
    """The processor and wall time of this process since the last lap."""

    def __init__(self) -> None:
        self.cpu, self.start = time.process_time(), time.perf_counter()

    def lap(self) -> tuple[float, float]:
        """Seconds of processor and of the clock."""
        cpu, now = time.process_time(), time.perf_counter()
        lap = cpu - self.cpu, now - self.start
        self.cpu, self.start = cpu, now
        return lap


def resident() -> float:
    """Megabytes that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def connect(workers: int) -> None:
    """Start a cluster of so many cores on this machine."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        ray.init(address="local", num_cpus=workers, include_dashboard=False, log_to_driver=False)


def empty(workers: int, asked: int, limit: float) -> dict[str, Any]:
    """Groups of one run whose training does nothing, until they are done or time is up."""
    task, sgd = tasks.find("wine-mlp"), method("sgd")
    groups = [[Run(sgd, {"lr": 0.1}, seed)] for seed in range(asked)]
    on_ray._train = nothing  # type: ignore[assignment]
    connect(workers)
    finished = on_ray.RayExecutor(Cluster()).train(TrainingContext(task, REGIME), groups)
    warm = sum(1 for _ in islice(finished, 100))
    before, part = resident(), asked // 10
    begun, driver, laps, done = time.perf_counter(), Driver(), [], 0
    while time.perf_counter() - begun < limit:
        count = sum(1 for _ in islice(finished, part if not laps else 500))
        done += count
        cpu, _ = driver.lap()
        if not count:
            break
        laps.append((count, cpu))
    seconds, grown = time.perf_counter() - begun, resident() - before
    finished.close()
    ray.shutdown()
    tail, total = [], 0
    for count, cpu in reversed(laps):
        tail.append((count, cpu))
        total += count
        if total >= part:
            break
    return {
        "workers": workers,
        "asked": asked,
        "groups": done + warm,
        "seconds": seconds,
        "per_second": done / seconds,
        "driver_us": per_group(laps),
        "first_us": per_group(laps[:1]),
        "last_us": per_group(tail),
        "grown_mb": grown,
        "met": None,
    }


def per_group(laps: Sequence[tuple[int, float]]) -> float:
    """Microseconds of processor time per group."""
    return sum(cpu for _, cpu in laps) / sum(count for count, _ in laps) * 1e6


def digits(workers: int, number: int) -> dict[str, Any]:
    """Groups of lanes of digits-mlp; the processes of the workers have begun before."""
    task = tasks.find("digits-mlp")
    spec = Spec(task, entrants(["sgd", "momentum", "adam", "nadam"]), REGIME)
    way = ExecutionPlan("lanes", LANES)
    runs = [
        Run(m, {"lr": m.learning_rates().centre}, seed)
        for seed in range(number * LANES // len(spec.entrants))
        for m in spec.entrants
    ]
    connect(workers)
    warm = [replace(run, seed=run.seed + 10**6) for run in runs[: 2 * workers * LANES]]
    short = replace(REGIME, epochs=1)
    executor = make_executor(way, Cluster())
    for _ in executor.train(way.context(task, short), grouped(warm, way)):
        pass
    start = time.perf_counter()
    groups = sum(1 for _ in executor.train(way.context(task, REGIME), grouped(runs, way)))
    seconds = time.perf_counter() - start
    ray.shutdown()
    steps = len(runs) * REGIME.steps(len(task.train[0]))
    return {
        "workers": workers,
        "groups": groups,
        "runs": len(runs),
        "seconds": seconds,
        "per_second": steps / seconds,
        "met": None,
    }


def main() -> None:
    """Measure, print, record."""
    options = parser(__doc__ or "").parse_args()
    options.threads = 1
    record = Record("cluster", options)
    torch.set_num_threads(1)
    number = 4 if options.quick else 24
    rows = [
        record.case(f"digits, {workers}", partial(digits, workers, number)) for workers in (1, 2)
    ]
    rows = [{**row, "ratio": row["per_second"] / rows[0]["per_second"]} for row in rows]
    record.table(f"digits-mlp, groups of {LANES} lanes", GROUP_COLUMNS, rows)
    asked = EMPTY[options.quick]
    # One worker is a sample; all of the time goes to the many of two.
    few = [
        record.case("empty, 1", partial(empty, 1, asked // 10, LIMIT / 3)),
        record.case("empty, 2", partial(empty, 2, asked, LIMIT)),
    ]
    record.table("empty groups", EMPTY_COLUMNS, few)
    record.close()


if __name__ == "__main__":
    main()
