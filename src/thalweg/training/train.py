"""The training loop: one for a single run and for many lanes alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..tasks import Task
from ..tasks.pairs import Pair
from ..tasks.trees import map_tensors
from .device_data import data_on, select_lanes, to_device
from .devices import CPU
from .lane_rng import Generators
from .population import Population
from .rng import Purpose
from .runs import Also, Regime, Result, Run, batches, kind_of
from .steppers import DIAGNOSTICS, Descent, Search, Stepper
from .torch_stepper import TorchDescent

EXPLODED = 1e6  # times the first loss (or 1): past it a run is lost though still finite

_CURVES = (
    "train_loss",
    "validation_loss",
    "validation_metric",
    "test_loss",
    "test_metric",
    *DIAGNOSTICS,
)

StepCounter = Callable[[int], None]  # called with the number of run-steps that were done


class Session:
    """Runs in training; iterate over it to take one step of all of them after the other.

    A lane gives the result that its run alone would give, up to the rounding of matrix products,
    which depends on how many share one. A lane that diverges is frozen and disturbs no other.

    Args:
        task: what to train.
        runs: one lane each.
        regime: how long, and on which mini-batches.
        test: measure on the test set too, before the first step and after the last.
        device: where they train. A GPU is asked for its losses only when the runs are measured:
            a lane that diverged is frozen then, and `diverged_at` is still the step it was lost at.
        engine: the name of what steps; None for the engine of the device.

    Attributes:
        runs: lanes of one rule side by side.
        lanes: which of the runs each lane trains, as their numbers in `runs`.
        diverged_at, stopped_at, stopped_why: of every run.
        taken: the steps taken by `advance`.
        curves: of every run, the measurements by name.
        also: of every run, those of the task's other metrics.
    """

    def __init__(
        self,
        task: Task,
        runs: Sequence[Run],
        regime: Regime,
        *,
        test: bool = False,
        device: torch.device = CPU,
        engine: str | None = None,
    ) -> None:
        regimes = {regime.under(run.recipe) for run in runs}
        if len(regimes) > 1:
            raise ValueError("runs of different batch sizes cannot train in the same lanes")
        self.regime = regimes.pop()
        samples = task.samples
        self.regime.check(samples)
        self.task, self.test = task, test
        self.steps = self.regime.steps(samples)
        kinds = {kind_of(run.method) for run in runs}
        if len(kinds) > 1:
            raise ValueError(f"{' and '.join(sorted(kinds))} cannot train in the same lanes")
        kind = kinds.pop()
        # Lanes of one rule lie side by side.
        names = [run.rule.name if kind == "rule" else run.method.name for run in runs]
        self.order = sorted(range(len(runs)), key=lambda k: names[k])
        self.runs = [runs[k] for k in self.order]
        self.lanes = list(range(len(runs)))
        self.device, self.data = device, data_on(task, device)
        self.population = Population(task, [run.seed for run in self.runs], device)
        self.stepper: Stepper
        if kind == "rule":
            self.stepper = Descent(self.population, self.runs, self.steps, engine)
        else:
            apart = Search if kind == "search" else TorchDescent
            self.stepper = apart(self.population, self.runs, self.steps)
        self.diverged_at: list[int | None] = [None] * len(runs)
        self.stopped_at: list[int | None] = [None] * len(runs)
        self.stopped_why: list[str | None] = [None] * len(runs)
        self.taken = 0
        self.limit = torch.full((len(runs),), torch.inf, device=device)
        self.divergence = DivergenceTracker(len(runs), device)
        # Whether a lane is frozen at the very step at which it is lost. To ask a GPU after every
        # step would be to wait for it.
        self.freeze_immediately = device.type == "cpu"
        self.curves: list[dict[str, list[float]]] = [{name: [] for name in _CURVES} for _ in runs]
        self.also: list[Also] = [
            {metric.name: {"validation": [], "test": []} for metric in task.also} for _ in runs
        ]
        self.summed = torch.zeros(len(runs), device=device)
        # A model that draws numbers as it trains, as dropout does, draws the same ones every
        # time, also where other models train between two of its steps.
        self.generators = Generators(device)
        self.random = self.generators.seeded(Purpose.SESSION, runs[0].seed)
        self.ahead = iter(self)

    def __iter__(self) -> Iterator[int]:
        """The numbers of the steps, each after it was taken."""
        milestones = set(self.regime.milestones(self.task.samples))
        count = 0
        unknown = torch.full((len(self.lanes),), torch.nan, device=self.device)
        untrained = self._measure(unknown, 0)
        self.limit = EXPLODED * untrained.abs().nan_to_num(0.0, 0.0).clamp(min=1.0)
        for step, (x, y) in enumerate(self._batches(), start=1):
            self.stepper.watching = step in milestones
            losses = self.stepper.step(x, y)
            if self.freeze_immediately:
                self._watch(losses, step)
            else:
                self.divergence.note(losses, self.limit)
            self.summed += losses
            count += 1
            if step in milestones:
                self._measure(self.summed / count, step)
                self.summed, count = torch.zeros(len(self.lanes), device=self.device), 0
            yield step

    def advance(self, until: int | None = None, progress: StepCounter | None = None) -> None:
        """Take the steps up to one, which is the last by default.

        Args:
            until: its number.
            progress: called after every step with the number of runs it advanced.
        """
        if not self.lanes or (until is not None and until <= self.taken):
            return
        outer = self.generators.state()
        try:
            self.generators.become(self.random)
            for step in self.ahead:
                self.taken = step
                if progress is not None:
                    progress(len(self.lanes))
                if step == until:
                    break
            self.random = self.generators.state()
        finally:
            self.generators.become(outer)

    def rung(self, share: float) -> int:
        """The first step that is measured after this share of all steps."""
        marks = self.regime.milestones(self.task.samples)
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
        self.summed, self.limit = select_lanes(self.summed, kept), select_lanes(self.limit, kept)
        self.divergence.keep(kept)
        if kept:
            self.stepper.keep(kept)

    def _batches(self) -> Iterator[Pair]:
        """Mini-batches (lanes, batch, …); lanes of one seed see the same."""
        seeds = list(dict.fromkeys(run.seed for run in self.runs))
        x, y = self.data.train
        streams = [batches(self.task.samples, self.regime, seed, self.task.order) for seed in seeds]
        stream_of = [seeds.index(run.seed) for run in self.runs]
        for indices in zip(*streams, strict=True):
            lane_of = torch.tensor([stream_of[run] for run in self.lanes])
            index = torch.from_numpy(np.stack(indices))[lane_of]
            flat, shape = to_device(index.reshape(-1), self.device), index.shape

            def chosen(values: Tensor, flat: Tensor = flat, shape: torch.Size = shape) -> Tensor:
                return values.index_select(0, flat).view(*shape, *values.shape[1:])

            yield map_tensors(chosen, x), map_tensors(chosen, y)

    def _watch(self, losses: Tensor, step: int) -> None:
        """Freeze the lanes whose loss stopped being a number or exploded."""
        sound = losses.abs() <= self.limit
        if bool(sound.all()):
            return
        self._lose(dict.fromkeys(torch.nonzero(~sound)[:, 0].tolist(), step))

    def _lose(self, steps: Mapping[int, int]) -> None:
        """Freeze those of these lanes that are not yet; each was lost at a step."""
        lost = [lane for lane in steps if self.diverged_at[self.lanes[lane]] is None]
        for lane in lost:
            self.diverged_at[self.lanes[lane]] = steps[lane]
        if lost:
            self.stepper.freeze(lost)

    def _measure(self, train_loss: Tensor, step: int) -> Tensor:
        """Evaluate all lanes; their validation losses."""
        if step and not self.freeze_immediately:
            self._lose(self.divergence.lost(step))
        with self.stepper.evaluating():
            return self._evaluate(train_loss, step)

    def _evaluate(self, train_loss: Tensor, step: int) -> Tensor:
        loss, metric, *others = self.population.evaluate(self.data.validation)
        seen = self.stepper.seen if step else dict.fromkeys(DIAGNOSTICS, _unseen(loss))
        self._keep(train_loss=train_loss, validation_loss=loss, validation_metric=metric, **seen)
        self._keep_also("validation", others)
        if step:
            self._watch(loss, step)  # a run may be lost by its last step
        if self.test and step in (0, self.steps):
            tested, metric, *others = self.population.evaluate(self.data.test)
            self._keep(test_loss=tested, test_metric=metric)
            self._keep_also("test", others)
        return loss

    def _keep(self, **values: Tensor) -> None:
        for name, row in zip(values, _numbers(list(values.values())), strict=True):
            for run, number in zip(self.lanes, row, strict=True):
                self.curves[run][name].append(number)

    def _keep_also(self, part: str, values: Sequence[Tensor]) -> None:
        for metric, row in zip(self.task.also, _numbers(values), strict=True):
            for run, number in zip(self.lanes, row, strict=True):
                self.also[run][metric.name][part].append(number)

    def results(self) -> list[Result]:
        """What the runs leave behind, in the order in which they were given."""
        marks = self.regime.milestones(self.task.samples)
        found: list[Result | None] = [None] * len(self.runs)
        for run, original in enumerate(self.order):
            stop = self.stopped_at[run]
            curves: dict[str, Any] = dict(self.curves[run])
            found[original] = Result(
                [mark for mark in marks if stop is None or mark <= stop],
                **curves,
                diverged_at=self.diverged_at[run],
                stopped_at=stop,
                stopped_why=self.stopped_why[run],
                also=self.also[run],
            )
        return [result for result in found if result is not None]


def _numbers(values: Sequence[Tensor]) -> list[list[float]]:
    """All of them at once: every transfer waits for the device."""
    return torch.stack([v.detach().double() for v in values]).tolist() if values else []


class DivergenceTracker:
    """On the device, for how many steps the loss of each lane was a number and did not explode.

    Args:
        lanes: how many.
        device: where their losses are.
    """

    def __init__(self, lanes: int, device: torch.device) -> None:
        self.alive = torch.ones(lanes, dtype=torch.bool, device=device)
        self.steps = torch.zeros(lanes, dtype=torch.int64, device=device)

    def note(self, losses: Tensor, limit: Tensor) -> None:
        """Look at the losses (lanes,) of one more step, without waiting for them."""
        self.alive &= losses.abs() <= limit
        self.steps += self.alive

    def lost(self, step: int) -> dict[int, int]:
        """The lanes that were lost by this step, each with the step at which it was."""
        return {k: count + 1 for k, count in enumerate(self.steps.tolist()) if count < step}

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with these lanes alone."""
        self.alive, self.steps = select_lanes(self.alive, lanes), select_lanes(self.steps, lanes)


def _unseen(like: Tensor) -> Tensor:
    """Not a number for every lane: the diagnostics of a step that was not taken."""
    return torch.full_like(like, torch.nan)
