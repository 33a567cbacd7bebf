"""128 runs of digits-mlp trained as lanes, against a plain torch loop over the same runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from statistics import fmean, median
from typing import Any

import torch

from common import Comparison, Record, parser
from thalweg import tasks
from thalweg.bench.contenders import torch_modes
from thalweg.bench.timing import in_turns, timed
from thalweg.racing import search
from thalweg.racing.entrants import entrants
from thalweg.racing.space import Configuration
from thalweg.racing.spec import Spec
from thalweg.tasks import Task
from thalweg.training.population import build
from thalweg.training.runs import Regime, Run, batches
from thalweg.training.train import Session

LANES = 128
TARGET = 7.0
BLOCK = 12  # steps in a row that are timed, after as many as WARM that are not
WARM = 3
APART = 8  # as many runs as the mix has of a method: every eighth run is one of each
# An endless run, measured only before its first step: evaluation counts on neither side.
REGIME = Regime(epochs=1_000_000, batch_size=64, evaluations=1)

# The same methods in torch; Lion is not in torch.
TORCH: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {}),
    "momentum": ("SGD", {"momentum": 0.9}),
    "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "asgd": ("ASGD", {}),
    "rprop": ("Rprop", {}),
    "adagrad": ("Adagrad", {}),
    "adadelta": ("Adadelta", {}),
    "rmsprop": ("RMSprop", {}),
    "rmsprop_centered": ("RMSprop", {"centered": True}),
    "rmsprop_momentum": ("RMSprop", {"momentum": 0.9}),
    "adam": ("Adam", {}),
    "amsgrad": ("Adam", {"amsgrad": True}),
    "adamw": ("AdamW", {}),
    "adamax": ("Adamax", {}),
    "nadam": ("NAdam", {}),
    "radam": ("RAdam", {}),
}
Mode = dict[str, bool]  # the options of torch that choose an implementation

COLUMNS = {
    "runs": "{runs}",
    "torch.optim": "{mode}",
    "torch's threads": "{torch_threads}",
    "torch µs": "{theirs:.0f}",
    "lanes µs": "{ours:.1f}",
    "ratio": "{ratio:.2f}×",
    "quartiles": "{ratio_low:.2f} to {ratio_high:.2f}",
    "target": "{target:g}×",
    "": "{met}",
}


def mix(task: Task) -> list[Run]:
    """Runs taken evenly from what a default race tries: all methods × learning rates × seeds."""
    spec = Spec(task, entrants(list(TORCH)), REGIME)
    every = [
        run
        for entrant in spec.entrants
        for run in spec.tuning(
            entrant,
            [Configuration.of(rate) for rate in search.grid(entrant.learning_rates(), spec.budget)],
        )
    ]
    return [every[k * len(every) // LANES] for k in range(LANES)]


def adam_alone(task: Task) -> list[Run]:
    """Adam at the learning rates that a race tries, with as many seeds as fill the lanes."""
    (adam,) = entrants(["adam"])
    rates = search.grid(adam.learning_rates(), Spec.budget)
    return [Run(adam, {"lr": rates[k % len(rates)]}, k // len(rates)) for k in range(LANES)]


def plain(task: Task, run: Run, mode: Mode) -> Iterator[None]:
    """One run in a loop as one writes it for torch; every item is a step."""
    x, y = task.train
    model = build(task, run.seed)
    name, options = TORCH[run.method.name]
    optimizer = getattr(torch.optim, name)(model.parameters(), **run.hyper, **options, **mode)
    for indices in batches(len(x), REGIME, run.seed):
        index = torch.from_numpy(indices)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x[index]), y[index]).backward()
        optimizer.step()
        yield


def advance(steps: Iterator[object], number: int) -> None:
    """Take so many steps."""
    for _ in islice(steps, number):
        pass


def block(steps: Iterator[object]) -> float:
    """Seconds per step of some steps in a row."""
    advance(steps, WARM)
    return timed(lambda: advance(steps, BLOCK)) / BLOCK


def fastest_modes(task: Task, runs: Sequence[Run]) -> Mapping[str, Mode]:
    """For every method the mode of torch that is fastest at this model's size."""
    best: dict[str, Mode] = {}
    for run in {run.method.name: run for run in runs}.values():
        modes = torch_modes(TORCH[run.method.name][0])
        sides = {m: partial(advance, plain(task, run, o), BLOCK) for m, o in modes.items()}
        taken = in_turns(sides, 5)
        best[run.method.name] = modes[min(taken, key=lambda m: median(taken[m]))]
    return best


def compare(
    task: Task, runs: Sequence[Run], threads: int, rounds: int
) -> dict[tuple[str, int], Comparison]:
    """Seconds per run and step in every round, for every mode and number of threads of torch.

    In a round, lanes take a block of steps, and so do, one after the other for each way to run
    torch, a few of the runs: another few in every round.
    """
    lanes = iter(Session(task, runs, REGIME))
    advance(lanes, WARM)
    fastest = fastest_modes(task, runs)
    ways = [(mode, t) for mode in ("defaults", "fastest") for t in sorted({1, threads})]
    ours: list[float] = []
    theirs: dict[tuple[str, int], list[float]] = {way: [] for way in ways}
    for number in range(rounds):
        torch.set_num_threads(threads)
        ours.append(block(lanes) / len(runs))
        few = runs[number % APART :: APART]
        for mode, t in ways:
            torch.set_num_threads(t)
            options = [fastest[run.method.name] if mode == "fastest" else {} for run in few]
            loops = [plain(task, run, o) for run, o in zip(few, options, strict=True)]
            theirs[mode, t].append(fmean(block(loop) for loop in loops))
    torch.set_num_threads(threads)
    return {way: Comparison(ours, times) for way, times in theirs.items()}


def measured(
    title: str, task: Task, runs: Sequence[Run], threads: int, rounds: int
) -> list[dict[str, Any]]:
    """A row per mode of torch, which gets the number of threads that suits it better."""
    found = compare(task, runs, threads, rounds)
    rows = []
    for mode in dict.fromkeys(mode for mode, _ in found):
        way = min((w for w in found if w[0] == mode), key=lambda w: median(found[w].theirs))
        row = found[way].row(TARGET, 1e-6)
        rows.append({"runs": title, "mode": mode, "torch_threads": way[1], **row})
    return rows


def main() -> None:
    """Measure, print, record."""
    options = parser(__doc__ or "").parse_args()
    record = Record("lanes", options)
    task = tasks.find("digits-mlp")
    rows: list[dict[str, Any]] = []
    rounds = 4 if options.quick else 24
    for title, runs in (("all methods", mix(task)), ("Adam", adam_alone(task))):
        one = partial(measured, title, task, runs, options.threads, rounds)
        rows += record.case(title, one)
    record.table(f"digits-mlp, {LANES} runs, per run and step", COLUMNS, rows)
    record.close()


if __name__ == "__main__":
    main()
