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

_CURVES = ("train_loss", "validation_loss", "validation_metric", "test_loss", "test_metric")

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
    # A model that draws numbers as it trains, as dropout does, draws the same ones every time.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(runs[0].seed)
        session = Session(task, runs, regime, test=test)
        for _ in session:
            if progress is not None:
                progress(len(runs))
    return session.results()


class Session:
    """Runs in training; iterate over it to take one step of all of them after the other.

    Args:
        task: what to train.
        runs: one lane each.
        regime: how long, and on which mini-batches.
        test: measure on the test set too, before the first step and after the last.
    """

    def __init__(
        self, task: Task, runs: Sequence[Run], regime: Regime, *, test: bool = False
    ) -> None:
        regime.check(len(task.train[0]))
        self.task, self.regime, self.test = task, regime, test
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
        self.limit = torch.full((len(runs),), torch.inf)
        self.curves: dict[str, list[Tensor]] = {name: [] for name in _CURVES}

    def __iter__(self) -> Iterator[int]:
        """The numbers of the steps, each after it was taken."""
        samples = len(self.task.train[0])
        milestones = set(self.regime.milestones(samples))
        summed, count = torch.zeros(len(self.runs)), 0
        untrained = self._measure(torch.full((len(self.runs),), torch.nan), 0)
        self.limit = EXPLODED * untrained.abs().nan_to_num(0.0, 0.0).clamp(min=1.0)
        for step, (x, y) in enumerate(self._batches(samples), start=1):
            losses = self.stepper.step(x, y)
            self._watch(losses, step)
            summed, count = summed + losses, count + 1
            if step in milestones:
                self._measure(summed / count, step)
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
        sound = losses.abs() <= self.limit
        if bool(sound.all()):
            return
        lost = [k for k in torch.nonzero(~sound)[:, 0].tolist() if self.diverged_at[k] is None]
        for k in lost:
            self.diverged_at[k] = step
        if lost:
            self.stepper.freeze(lost)

    def _measure(self, train_loss: Tensor, step: int) -> Tensor:
        """Evaluate all lanes; their validation losses."""
        loss, metric = self.population.evaluate(self.task.validation)
        self._keep(train_loss=train_loss, validation_loss=loss, validation_metric=metric)
        if step:
            self._watch(loss, step)  # a run may be lost by its last step
        if self.test and step in (0, self.regime.steps(len(self.task.train[0]))):
            tested = self.population.evaluate(self.task.test)
            self._keep(test_loss=tested[0], test_metric=tested[1])
        return loss

    def _keep(self, **values: Tensor) -> None:
        for name, value in values.items():
            self.curves[name].append(value.detach().double().clone())

    def results(self) -> list[Result]:
        """What the runs leave behind, in the order in which they were given."""
        milestones = self.regime.milestones(len(self.task.train[0]))
        columns = {name: torch.stack(own, 1).tolist() for name, own in self.curves.items() if own}
        found: list[Result | None] = [None] * len(self.runs)
        for lane, original in enumerate(self.order):
            curves = {name: columns[name][lane] if name in columns else [] for name in _CURVES}
            found[original] = Result(milestones, **curves, diverged_at=self.diverged_at[lane])
        return [result for result in found if result is not None]
