"""A race that ends in time: less is tried than was asked for, and alike for every optimizer.

Before it begins, fresh seeds and configurations are cut until the race fits by the time of a step
that was measured. Then it goes in waves: each gives every optimizer as many further configurations,
or fresh seeds, as any other. A wave that will not end in time is not begun, one that does not end
in time is broken off and counts for none; so what is judged was given to all alike.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..durations import shown
from ..errors import UsageError
from ..training.execution.plan import ExecutionPlan
from ..training.runs import Method, Run
from .estimate import training_seconds
from .run import Racing
from .space import Configuration
from .spec import Spec
from .timing import PATIENCE

_FEWEST = 3  # fresh seeds, and configurations, that a race is cut to at most
_TELLING = 6  # fresh seeds with which differences can be significant
_USEFUL = 5  # configurations that find a learning rate's order of magnitude
_MARGIN = 1.1  # times what a wave is expected to take must be left to begin it
_TIMED = 33  # steps of each optimizer that are timed at the end
_SUMMARY = 0.1  # seconds that it takes to put the findings on one optimizer together


class OutOfTime(BaseException):
    """The time of a race is over; no `except Exception` of a person's model may stop it."""


@dataclass
class Clock:
    """The time that a race has, and how fast it goes.

    Attributes:
        limit: seconds from the start to the end.
        started: by `time.monotonic`.
        spent, steps: seconds of training so far, and the run-steps done in them.
    """

    limit: float
    started: float = field(default_factory=lambda: time.monotonic())
    spent: float = 0.0
    steps: int = 0

    @property
    def left(self) -> float:
        """Seconds until the limit; below 0 beyond it."""
        return self.started + self.limit - time.monotonic()

    def count(self, run_steps: int, seconds: float, plan: ExecutionPlan) -> None:
        """Note how long run-steps took; the first ones wait for kernels and count for less."""
        expected = training_seconds(plan, run_steps)
        if not self.steps and expected is not None:
            seconds = min(seconds, 2 * expected)
        self.spent, self.steps = self.spent + seconds, self.steps + run_steps

    def needed(self, run_steps: int, plan: ExecutionPlan) -> float:
        """The seconds that so many run-steps take, as fast as so far; 0 where that is not known."""
        if self.steps:
            return self.spent / self.steps * run_steps
        return training_seconds(plan, run_steps) or 0.0


class TimedRacing(Racing):
    """A race within a time.

    Args:
        *args: as of `Racing`.
        clock: which runs.
    """

    def __init__(self, *args: Any, clock: Clock) -> None:
        super().__init__(*args)
        self.clock = clock
        self.stop_at: float | None = None
        self.cuts: dict[str, str] = {}
        self.asked: dict[str, int] = {}

    def _decide(
        self, first: Mapping[Method, Sequence[Configuration]]
    ) -> Mapping[Method, Sequence[Configuration]]:
        """Choose how the runs are executed, and cut the race until it fits."""
        super()._decide(first)
        self.halved = False  # a wave has too few of an optimizer's configurations to stop some
        asked = self.spec
        self.spec = fitted(asked, self.plan, self.clock.left - self._closing())
        self._cut("fresh seeds", self.spec.seeds, asked.seeds)
        self._cut("configurations", self.spec.budget, asked.budget)
        if self.spec.budget == asked.budget:
            return first
        self._make_samplers()
        return {m: own.first({}) for m, own in self.samplers.items()}

    def _cut(self, things: str, count: int, asked: int) -> None:
        """Say that there are fewer of some things than there were to be, if there are."""
        if count < asked:
            asked = self.asked.setdefault(things, asked)
            self._say_cut(things, f"{count} {things} instead of {asked}")

    def _say_cut(self, things: str, what: str) -> None:
        self.cuts[things] = what
        self.watcher.say(f"to end within {shown(self.clock.limit)}: {what}")

    def _closing(self) -> float:
        """The seconds that the end of the race takes after its last run."""
        step = (self.plan.alone or 0.0) / 1e6
        timing = min(PATIENCE, _TIMED * step * len(self.spec.entrants))
        return timing + _SUMMARY * len(self.spec.entrants) + 1.0

    def _timing(self) -> float:
        return min(PATIENCE, max(0.0, self.clock.left))

    def _advance(self, run_steps: int) -> None:
        """Count steps that were done, and end where the time is over."""
        super()._advance(run_steps)
        if self.stop_at is not None and time.monotonic() > self.stop_at:
            raise OutOfTime

    def _try(
        self, stage: str, tried: Mapping[Method, Sequence[Configuration]], left: int, halved: bool
    ) -> bool:
        """Try configurations in waves until they have been tried or the time is over."""
        spec, count = self.spec, max(map(len, tried.values()))
        later = len(spec.entrants) * spec.seeds * spec.steps
        waves = [*_waves(_spread(count), self._size(spec.tuning_seeds))]
        for number, wave in enumerate(waves, 1):
            some = {m: [own[k] for k in wave if k < len(own)] for m, own in tried.items()}
            runs = {m: spec.tuning(m, own) for m, own in some.items()}
            everyone = [run for own in runs.values() for run in own]
            title = f"{stage}, part {number} of {len(waves)}" if len(waves) > 1 else stage
            if not self._wave(title, everyone, False, later, needed=not self.tried):
                self._cut_search()
                return False
            for m, own_runs in runs.items():
                self.tried.setdefault(m, []).extend(own_runs)
        return True

    def _cut_search(self) -> None:
        """Say that the search ends before all that it was to try."""
        tried = max(len(self._outcomes(m)) for m in self.tried)
        if tried < self.spec.budget:
            self._cut("configurations", tried, self.spec.budget)
            return
        self._say_cut("rounds", "no further configurations where a range was not exhausted")

    def _final(self, chosen: Mapping[Method, Configuration]) -> dict[Method, list[Run]]:
        """Train the chosen configurations on fresh seeds, as many as there is time for."""
        spec, done = self.spec, 0
        runs = {m: spec.final(m, configuration) for m, configuration in chosen.items()}
        waves = [*_waves(range(spec.seeds), self._size(1))]
        for number, wave in enumerate(waves, 1):
            everyone = [own[k] for own in runs.values() for k in wave]
            title = "fresh seeds" + (f", part {number} of {len(waves)}" if len(waves) > 1 else "")
            if not self._wave(title, everyone, True, 0, needed=done == 0):
                break
            done += len(wave)
        self._cut("fresh seeds", done, spec.seeds)
        self.spec = replace(spec, seeds=done)
        return {m: own[:done] for m, own in runs.items()}

    def _wave(
        self, stage: str, runs: Sequence[Run], test: bool, later: int, *, needed: bool
    ) -> bool:
        """Train a wave; whether it was finished in time.

        Args:
            stage: what it belongs to.
            runs: of the wave.
            test: whether they measure the test set.
            later: run-steps that must have time after it.
            needed: whether the race has no result without it, whatever its time.
        """
        steps = self._missing_steps(runs, test)
        reserved = self.clock.needed(later, self.plan) + self._closing()
        if not needed:
            if self.clock.left < _MARGIN * self.clock.needed(steps, self.plan) + reserved:
                return False
            self.stop_at = time.monotonic() + self.clock.left - reserved
        started = time.monotonic()
        try:
            self._perform(stage, runs, test, later)
        except OutOfTime:
            return False
        finally:
            self.stop_at = None
        if steps:
            self.clock.count(steps, time.monotonic() - started, self.plan)
        return True

    def _missing_steps(self, runs: Sequence[Run], test: bool) -> int:
        """The steps of those of the runs that no record holds."""
        absent = set(self.store.missing([self.spec.identity(run, test) for run in runs]))
        left = (run for run in runs if self.spec.identity(run, test) in absent)
        return sum(self.spec.steps_of(run.recipe) for run in left)

    def _size(self, each: int) -> int:
        """How many configurations, or seeds, of every optimizer train at once in a wave."""
        return max(1, self.plan.group * self.plan.processes // (len(self.spec.entrants) * each))

    def _patience(self, taken: float) -> float:
        return min(super()._patience(taken), self.clock.left)

    def _caveats(self) -> list[str]:
        """What the limit has changed, for those who read the result."""
        if not self.cuts:
            return []
        cuts = " and ".join(self.cuts.values())
        return [f"To end within {shown(self.clock.limit)}, the race had {cuts}."]


def fitted(spec: Spec, plan: ExecutionPlan, seconds: float) -> Spec:
    """The race with as many fresh seeds and configurations as fit into a time.

    Seeds are cut first, to six, with which differences can still be significant; then
    configurations, to five; then both, to three. Rounds that continue a search come last: they are
    raced where time is left.

    Args:
        spec: the race.
        plan: how the runs are executed; where it has no times, nothing is cut.
        seconds: that training may take.

    Raises:
        UsageError: not even the smallest race fits; the message says how long that takes.
    """
    least = spec, 0.0
    for seeds, budget in _sizes(spec):
        runs = len(spec.entrants) * (budget * spec.tuning_seeds + seeds)
        expected = training_seconds(plan, runs * spec.steps, spec.classes)
        if expected is None:
            return spec
        least = replace(spec, seeds=seeds, budget=budget), expected
        if expected <= seconds:
            return least[0]
    smallest, expected = least
    raise UsageError(
        f"time_limit leaves {shown(max(0.0, seconds))} to train in, and even "
        f"{smallest.budget} configurations and {smallest.seeds} fresh seeds of "
        f"{len(spec.entrants)} optimizers take about {shown(expected)}; give more time, fewer "
        "optimizers or fewer epochs"
    )


def _sizes(spec: Spec) -> Iterator[tuple[int, int]]:
    """Numbers of fresh seeds and configurations, from those that were asked for downwards."""
    seeds, budget = spec.seeds, spec.budget
    yield seeds, budget
    for least_seeds, least_budget in ((_TELLING, _USEFUL), (_FEWEST, _FEWEST)):
        while seeds > least_seeds:
            seeds -= 1
            yield seeds, budget
        while budget > least_budget and not spec.rates:  # rates that are named are all tried
            budget -= 1
            yield seeds, budget


def _spread(count: int) -> list[int]:
    """The numbers below this, each far from those before it, so that any first few are even."""
    order: list[int] = []
    step = 1
    while step < 2 * count:
        step *= 2
    while step > 1:
        order += range(step // 2 - 1, count, step)
        step //= 2
    return order


def _waves(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for first in range(0, len(numbers), size):
        yield numbers[first : first + size]
