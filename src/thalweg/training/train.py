"""The training loop: one for a single run and for many lanes alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ..tasks import Task
from .population import Population
from .runs import RandomSearch, Regime, Result, Run, batches
from .steppers import Descent, Search

EXPLODED = 1e6  # times the first loss (or 1): past it a run is lost though still finite

Progress = Callable[[int], None]


def train(
    task: Task,
    runs: Sequence[Run],
    regime: Regime,
    *,
    test: bool = False,
    progress: Progress | None = None,
) -> list[Result]:
    """Train these runs at the same time, each in a lane of its own.

    A lane gives the result that its run alone would give, up to the rounding of matrix products,
    which depends on how many share one. A lane that diverges is frozen and disturbs no other.

    Args:
        task: what to train.
        runs: in any order; random search and rules may not be mixed.
        regime: how long, and on which mini-batches.
        test: measure the trained models on the test set as well.
        progress: called after every step with the number of runs it advanced.

    Returns:
        A result per run, in their order.
    """
    session = Session(task, runs, regime)
    for _ in session:
        if progress is not None:
            progress(len(runs))
    return session.results(test)


class Session:
    """Runs in training; iterate over it to take one step of all of them after the other."""

    def __init__(self, task: Task, runs: Sequence[Run], regime: Regime) -> None:
        regime.check(len(task.train[0]))
        self.task, self.regime = task, regime
        # Lanes of one rule lie side by side.
        self.order = sorted(range(len(runs)), key=lambda k: runs[k].method.name)
        self.runs = [runs[k] for k in self.order]
        searching = {isinstance(run.method, RandomSearch) for run in runs}
        if len(searching) > 1:
            raise ValueError("random search and rules cannot train in the same lanes")
        self.population = Population(task, [run.seed for run in self.runs])
        stepper = Search if searching.pop() else Descent
        self.stepper: Search | Descent = stepper(self.population, self.runs)
        self.diverged_at: list[int | None] = [None] * len(runs)
        self.limit: Tensor | None = None
        self.curves: dict[str, list[Tensor]] = {"train": [], "loss": [], "metric": []}

    def __iter__(self) -> Iterator[int]:
        """The numbers of the steps, each after it was taken."""
        samples = len(self.task.train[0])
        milestones = set(self.regime.milestones(samples))
        summed, count = torch.zeros(len(self.runs)), 0
        self._measure(torch.full((len(self.runs),), torch.nan))
        for step, (x, y) in enumerate(self._batches(samples), start=1):
            losses = self.stepper.step(x, y)
            self._watch(losses, step)
            summed, count = summed + losses, count + 1
            if step in milestones:
                self._measure(summed / count)
                summed, count = torch.zeros(len(self.runs)), 0
            yield step

    def _batches(self, samples: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Mini-batches (lanes, batch, …); lanes of one seed see the same."""
        seeds = list(dict.fromkeys(run.seed for run in self.runs))
        streams = [batches(samples, self.regime, seed) for seed in seeds]
        lane_of = torch.tensor([seeds.index(run.seed) for run in self.runs])
        x, y = self.task.train
        for indices in zip(*streams, strict=True):
            index = torch.from_numpy(np.stack(indices))[lane_of]
            flat, shape = index.reshape(-1), index.shape
            yield (
                x.index_select(0, flat).view(*shape, *x.shape[1:]),
                y.index_select(0, flat).view(*shape, *y.shape[1:]),
            )

    def _watch(self, losses: Tensor, step: int) -> None:
        """Freeze the lanes whose loss stopped being a number or exploded."""
        if self.limit is None:
            self.limit = EXPLODED * losses.abs().nan_to_num(0.0).clamp(min=1.0)
        sound = losses.abs() <= self.limit
        if bool(sound.all()):
            return
        lost = [k for k in torch.nonzero(~sound)[:, 0].tolist() if self.diverged_at[k] is None]
        for k in lost:
            self.diverged_at[k] = step
        if lost:
            self.stepper.freeze(lost)

    def _measure(self, train_loss: Tensor) -> None:
        loss, metric = self.population.evaluate(self.task.validation)
        for name, values in (("train", train_loss), ("loss", loss), ("metric", metric)):
            self.curves[name].append(values.detach().double().clone())

    def results(self, test: bool = False) -> list[Result]:
        """What the runs leave behind, in the order in which they were given."""
        milestones = self.regime.milestones(len(self.task.train[0]))
        curves = {name: torch.stack(values, 1).tolist() for name, values in self.curves.items()}
        tested = [v.tolist() for v in self.population.evaluate(self.task.test)] if test else None
        found: list[Result | None] = [None] * len(self.runs)
        for lane, original in enumerate(self.order):
            found[original] = Result(
                steps=milestones,
                train_loss=curves["train"][lane],
                validation_loss=curves["loss"][lane],
                validation_metric=curves["metric"][lane],
                test_loss=tested[0][lane] if tested else None,
                test_metric=tested[1][lane] if tested else None,
                diverged_at=self.diverged_at[lane],
            )
        return [result for result in found if result is not None]
