"""A thousand runs of digits-mlp as a race trains them, against a plain torch loop over the same
runs, and against Optuna driving that loop.

The runs are those that a race without early stopping tries: every method at its learning rates, on
tuning seeds, with the race's 40 measurements of the validation set. All sides train the same runs
on the same mini-batches and measure as often. They take turns, a part of the runs after the other,
so that what else the machine does hits all alike; where the race starts processes, its first part
holds that too. The loops train one run at a time, with one thread or as many as there are,
whichever was faster; the race as it chose to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from common import Comparison, Record, parser
from lanes import TORCH
from thalweg import tasks
from thalweg.racing import search
from thalweg.racing.entrants import entrants
from thalweg.racing.space import Configuration
from thalweg.racing.spec import Spec
from thalweg.tasks import Task
from thalweg.training.devices import thread_count
from thalweg.training.execution.executor import Executor, make_executor
from thalweg.training.execution.grouping import grouped
from thalweg.training.execution.plan import ExecutionPlan, choose
from thalweg.training.population import build
from thalweg.training.runs import Regime, Run, batches

if TYPE_CHECKING:
    import optuna

RUNS, QUICK, PARTS = 1_000, 64, 4
TARGET = 8.0

COLUMNS = {
    "against": "{title}",
    "runs": "{runs}",
    "threads": "{threads}",
    "theirs, s": "{theirs_total:.0f}",
    "the race, s": "{ours_total:.1f}",
    "ratio": "{ratio:.2f}×",
    "of the parts": "{ratio_low:.2f} to {ratio_high:.2f}",
    "target": "{target:g}×",
    "": "{met}",
}


def some(task: Task, regime: Regime, count: int) -> list[Run]:
    """So many runs of a race of all methods that torch has, on as many seeds as it takes."""
    spec = Spec(task, entrants(list(TORCH)), regime, prune=False, tuning_seeds=RUNS)
    every = [
        spec.tuning(m, [Configuration.of(r) for r in search.grid(m.learning_rates(), spec.budget)])
        for m in spec.entrants
    ]
    each = -(-count // len(every))  # of a method: all its learning rates on the first seeds
    chosen = [sorted(own, key=lambda run: run.seed)[k] for k in range(each) for own in every]
    return chosen[:count]


def plain(task: Task, run: Run, regime: Regime) -> float:
    """One run in a loop as one writes it for torch; its last validation accuracy."""
    x, y = task.train
    model = build(task, run.seed)
    name, options = TORCH[run.method.name]
    optimizer = getattr(torch.optim, name)(model.parameters(), **run.hyper, **options)
    marks, found = set(regime.milestones(len(x))), _measured(task, model)
    for step, indices in enumerate(batches(len(x), regime, run.seed), start=1):
        index = torch.from_numpy(indices)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x[index]), y[index]).backward()
        optimizer.step()
        if step in marks:
            found = _measured(task, model)
    return found


@torch.no_grad()
def _measured(task: Task, model: torch.nn.Module) -> float:
    x, y = task.validation
    outputs = model(x)
    torch.nn.functional.cross_entropy(outputs, y).item()
    return float((outputs.argmax(1) == y).float().mean())


def loop(task: Task, runs: Sequence[Run], regime: Regime) -> None:
    """The runs, one after the other."""
    for run in runs:
        plain(task, run, regime)


def driven(task: Task, runs: Sequence[Run], regime: Regime) -> None:
    """The same, asked for by Optuna: a study per method, its trials at the runs' learning rates."""
    import optuna  # here: the race itself does not need it

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    left = list(runs)
    for name in dict.fromkeys(run.method.name for run in left):
        own = [run for run in left if run.method.name == name]
        study = optuna.create_study(direction="maximize")
        for run in own:
            study.enqueue_trial(dict(run.hyper))
        study.optimize(_objective(task, own, regime), n_trials=len(own))


def _objective(task: Task, runs: Sequence[Run], regime: Regime) -> Callable[[optuna.Trial], float]:
    def objective(trial: optuna.Trial) -> float:
        run = runs[trial.number]
        low, high = run.hyper["lr"] / 10, run.hyper["lr"] * 10
        assert trial.suggest_float("lr", low, high, log=True) == run.hyper["lr"]
        return plain(task, run, regime)

    return objective


def raced(
    task: Task, runs: Sequence[Run], regime: Regime, way: ExecutionPlan, executor: Executor
) -> None:
    """The same as a race trains them."""
    ordered = sorted(runs, key=lambda run: run.method.name)
    for _ in executor.train(way.context(task, regime), grouped(ordered, way)):
        pass


def quickest(task: Task, runs: Sequence[Run], regime: Regime, most: int) -> int:
    """The number of threads with which the loop is faster."""
    taken = dict.fromkeys((1, most), 0.0)
    for threads in [*taken] * 2:
        taken[threads] += _seconds(lambda: loop(task, runs, regime), threads)
    return min(taken, key=lambda threads: taken[threads])


def _seconds(do: Callable[[], None], threads: int) -> float:
    with thread_count(threads):
        start = time.perf_counter()
        do()
        return time.perf_counter() - start


def main() -> None:
    """Measure, print, record."""
    options = parser((__doc__ or "").split("\n\n")[0]).parse_args()
    record, task = Record("race_speed", options), tasks.find("digits-mlp")
    epochs, count = (2, QUICK) if options.quick else (task.epochs, RUNS)
    regime = Regime(epochs, task.batch_size, evaluations=40 * epochs // task.epochs)
    runs = some(task, regime, count)
    way = choose(task, runs, regime)
    record.document["execution"] = str(way)
    print(way)
    few = runs[:: max(1, count // 8)]
    threads = record.case("threads", partial(quickest, task, few, regime, options.threads))
    parts = [runs[k::PARTS] for k in range(PARTS)]
    executor = make_executor(way)
    sides: dict[str, Callable[[Sequence[Run]], None]] = {
        "race": lambda own: raced(task, own, regime, way, executor),
        "a plain torch loop": lambda own: loop(task, own, regime),
        "Optuna driving it": lambda own: driven(task, own, regime),
    }
    short = Regime(1, task.batch_size, evaluations=1)
    with make_executor(way) as compiling:  # what is not compiled yet
        raced(task, runs, short, way, compiling)

    def measured(part: Sequence[Run]) -> dict[str, float]:
        used = {name: options.threads if name == "race" else threads for name in sides}
        return {name: _seconds(partial(side, part), used[name]) for name, side in sides.items()}

    with executor:
        each = [record.case(f"part {k}", partial(measured, p)) for k, p in enumerate(parts)]
    taken = {name: [seconds[name] for seconds in each] for name in sides}
    rows: list[dict[str, Any]] = []
    for name in list(sides)[1:]:
        ours, theirs = taken["race"], taken[name]
        parts_of = Comparison(ours, theirs).row(TARGET, 1.0)
        whole = sum(theirs) / sum(ours)
        rows.append(
            {
                **parts_of,
                "title": name,
                "runs": count,
                "threads": threads,
                "steps": regime.steps(len(task.train[0])),
                "theirs_total": sum(theirs),
                "ours_total": sum(ours),
                "ratio": whole,
                "met": whole >= TARGET,
            }
        )
    record.table("digits-mlp, the same runs", COLUMNS, rows)
    record.close()


if __name__ == "__main__":
    main()
