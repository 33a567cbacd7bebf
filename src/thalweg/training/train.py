"""The training loop: one for a single run and for many lanes alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..tasks import Task
from .population import Population
from .runs import Also, RandomSearch, Regime, Result, Run, batches
from .steppers import DIAGNOSTICS, Descent, Search

EXPLODED = 1e6  # times the first loss (or 1): past it a run is lost though still finite

_CURVES = (
    "train_loss", "validation_loss", "validation_metric", "test_loss", "test_metric",
    *DIAGNOSTICS,
)  # fmt: skip

Progress = Callable[[int], None]


def train(
    task: Task,
    runs: Sequence[Run],
    regime: Regime,
    *,
    test: bool = False,
    progress: Progress | None = None,
) -> list[Result]:
    """Train these runs at the same time, each in a lane of its own, to their end.

    A lane gives the result that its run alone would give, up to the rounding of matrix products,
    which depends on how many share one. A lane that diverges is frozen and disturbs no other.

    Args:
        task: what to train.
        runs: in any order; random search and rules may not be mixed, nor batch sizes.
        regime: how long, and on which mini-batches.
        test: measure the trained models on the test set as well.
        progress: called after every step with the number of runs it advanced.

    Returns:
        A result per run, in their order.
    """
    session = Session(task, runs, regime, test=test)
    session.advance(progress=progress)
    return session.results()


class Session:
    """Runs in training; iterate over it to take one step of all of them after the other.

    Args:
        task: what to train.
        runs: one lane each.
        regime: how long, and on which mini-batches.
        test: measure on the test set too, before the first step and after the last.

    Attributes:
        runs: lanes of one rule side by side.
        lanes: which of the runs each lane trains, as their numbers in `runs`.
        diverged_at, stopped_at, stopped_why: of every run.
        taken: the steps taken by `advance`.
        curves: of every run, the measurements by name.
        also: of every run, those of the task's other metrics.
    """

    def __init__(
        self, task: Task, runs: Sequence[Run], regime: Regime, *, test: bool = False
    ) -> None:
        regimes = {regime.under(run.recipe) for run in runs}
        if len(regimes) > 1:
            raise ValueError("runs of different batch sizes cannot train in the same lanes")
        self.regime = regimes.pop()
        samples = len(task.train[0])
        self.regime.check(samples)
        self.task, self.test = task, test
        self.steps = self.regime.steps(samples)
        searching = {isinstance(run.method, RandomSearch) for run in runs}
        if len(searching) > 1:
            raise ValueError("random search and rules cannot train in the same lanes")
        # Lanes of one rule lie side by side.
        names = [run.method.name if True in searching else run.rule.name for run in runs]
        self.order = sorted(range(len(runs)), key=lambda k: names[k])
        self.runs = [runs[k] for k in self.order]
        self.lanes = list(range(len(runs)))
        self.population = Population(task, [run.seed for run in self.runs])
        stepper = Search if searching.pop() else Descent
        self.stepper: Search | Descent = stepper(self.population, self.runs, self.steps)
        self.diverged_at: list[int | None] = [None] * len(runs)
        self.stopped_at: list[int | None] = [None] * len(runs)
        self.stopped_why: list[str | None] = [None] * len(runs)
        self.taken = 0
        self.limit = torch.full((len(runs),), torch.inf)
        self.curves: list[dict[str, list[float]]] = [{name: [] for name in _CURVES} for _ in runs]
        self.also: list[Also] = [
            {metric.name: {"validation": [], "test": []} for metric in task.also} for _ in runs
        ]
        self.summed = torch.zeros(len(runs))
        # A model that draws numbers as it trains, as dropout does, draws the same ones every
        # time, whatever else trains between two of its steps.
        self.random = torch.Generator().manual_seed(runs[0].seed).get_state()
        self.ahead = iter(self)

    def __iter__(self) -> Iterator[int]:
        """The numbers of the steps, each after it was taken."""
        milestones = set(self.regime.milestones(len(self.task.train[0])))
        count = 0
        untrained = self._measure(torch.full((len(self.lanes),), torch.nan), 0)
        self.limit = EXPLODED * untrained.abs().nan_to_num(0.0, 0.0).clamp(min=1.0)
        for step, (x, y) in enumerate(self._batches(), start=1):
            self.stepper.watching = step in milestones
            losses = self.stepper.step(x, y)
            self._watch(losses, step)
            self.summed += losses
            count += 1
            if step in milestones:
                self._measure(self.summed / count, step)
                self.summed, count = torch.zeros(len(self.lanes)), 0
            yield step

    def advance(self, until: int | None = None, progress: Progress | None = None) -> None:
        """Take the steps up to one, which is the last by default.

        Args:
            until: its number.
            progress: called after every step with the number of runs it advanced.
        """
        if not self.lanes or (until is not None and until <= self.taken):
            return
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self.random)
            for step in self.ahead:
                self.taken = step
                if progress is not None:
                    progress(len(self.lanes))
                if step == until:
                    break
            self.random = torch.get_rng_state()

    def rung(self, share: float) -> int:
        """The first step that is measured after this share of all steps."""
        marks = self.regime.milestones(len(self.task.train[0]))
        return min(mark for mark in marks if mark >= share * self.steps)

    def stop(self, reasons: Mapping[int, str]) -> None:
        """Train some runs no further than the step just taken, after which all were measured.

        Args:
            reasons: what each fell behind, by its number in `runs`.
        """
        for run, why in reasons.items():
            self.stopped_at[run], self.stopped_why[run] = self.taken, why
        kept = [lane for lane, run in enumerate(self.lanes) if run not in reasons]
        self.lanes = [self.lanes[lane] for lane in kept]
        self.summed, self.limit = self.summed[kept], self.limit[kept]
        if kept:
            self.stepper.keep(kept)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Mini-batches (lanes, batch, …); lanes of one seed see the same."""
        seeds = list(dict.fromkeys(run.seed for run in self.runs))
        x, y = self.task.train
        streams = [batches(len(x), self.regime, seed) for seed in seeds]
        stream_of = [seeds.index(run.seed) for run in self.runs]
        for indices in zip(*streams, strict=True):
            lane_of = torch.tensor([stream_of[run] for run in self.lanes])
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
        lost = [
            lane
            for lane in torch.nonzero(~sound)[:, 0].tolist()
            if self.diverged_at[self.lanes[lane]] is None
        ]
        for lane in lost:
            self.diverged_at[self.lanes[lane]] = step
        if lost:
            self.stepper.freeze(lost)

    def _measure(self, train_loss: Tensor, step: int) -> Tensor:
        """Evaluate all lanes; their validation losses."""
        loss, metric, *others = self.population.evaluate(self.task.validation)
        self._keep_also("validation", others)
        self._keep(train_loss=train_loss, validation_loss=loss, validation_metric=metric)
        self._keep(**(self.stepper.seen if step else dict.fromkeys(DIAGNOSTICS, _unseen(loss))))
        if step:
            self._watch(loss, step)  # a run may be lost by its last step
        if self.test and step in (0, self.steps):
            tested, metric, *others = self.population.evaluate(self.task.test)
            self._keep(test_loss=tested, test_metric=metric)
            self._keep_also("test", others)
        return loss

    def _keep(self, **values: Tensor) -> None:
        for name, value in values.items():
            for run, number in zip(self.lanes, value.detach().double().tolist(), strict=True):
                self.curves[run][name].append(number)

    def _keep_also(self, part: str, values: Sequence[Tensor]) -> None:
        for metric, each in zip(self.task.also, values, strict=True):
            for run, number in zip(self.lanes, each.detach().double().tolist(), strict=True):
                self.also[run][metric.name][part].append(number)

    def results(self) -> list[Result]:
        """What the runs leave behind, in the order in which they were given."""
        marks = self.regime.milestones(len(self.task.train[0]))
        found: list[Result | None] = [None] * len(self.runs)
        for run, original in enumerate(self.order):
            stop = self.stopped_at[run]
            curves: dict[str, Any] = dict(self.curves[run])
            found[original] = Result(
                [mark for mark in marks if stop is None or mark <= stop],
                **curves, diverged_at=self.diverged_at[run], stopped_at=stop,
                stopped_why=self.stopped_why[run], also=self.also[run],
            )  # fmt: skip
        return [result for result in found if result is not None]


def _unseen(like: Tensor) -> Tensor:
    """What is known of a step that was not taken, for every lane."""
    return torch.full_like(like, torch.nan)
