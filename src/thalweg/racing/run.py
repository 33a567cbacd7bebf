"""The race itself: try, continue, choose, run again on fresh seeds, judge."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..records import Store, write_json
from ..tasks import Task, find
from ..training.execute import Execution, choose, execute, grouped
from ..training.runs import Method, Regime, Run
from . import search, timing
from .spec import Spec, entrants
from .summary import Outcome, document


class Watcher(Protocol):
    """Is told how a race goes; the command line draws it."""

    def stage(self, text: str, run_steps: int) -> None:
        """A stage begins, with this many run-steps to do."""

    def advance(self, run_steps: int) -> None:
        """This many were done."""

    def say(self, text: str) -> None:
        """Something worth a line happened."""


class Silence:
    """Watches and says nothing."""

    def stage(self, text: str, run_steps: int) -> None:
        """Nothing."""

    def advance(self, run_steps: int) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""


@dataclass
class Race:
    """A finished race.

    Attributes:
        document: everything that was found, as plain data: what `--json` prints and the report
            is drawn from.
    """

    document: dict[str, Any]

    @property
    def best(self) -> list[str]:
        """The optimizers that tie for first."""
        return list(self.document["verdict"]["best"])

    @property
    def optimizers(self) -> list[dict[str, Any]]:
        """One entry per optimizer, by rank."""
        return list(self.document["optimizers"])

    def __str__(self) -> str:
        return str(self.document["verdict"]["sentence"])


def race(
    task: Task | str,
    *,
    optimizers: Sequence[str | Method] | None = None,
    budget: int = Spec.budget,
    seeds: int = Spec.seeds,
    epochs: int | None = None,
    batch_size: int | None = None,
    out: str | Path | None = None,
    watcher: Watcher | None = None,
) -> Race:
    """Find out which optimizer suits a task, at which learning rate, and how sure that is.

    Every optimizer tries the same number of learning rates on a log grid over its own range,
    continued until the best is inside it. The best on validation data is trained again on fresh
    seeds that all share, and judged on test data once.

    Args:
        task: a task, or the name of a built-in one.
        optimizers: names of built-in methods or rules of one's own; all distinct ones by default.
        budget: learning rates that each tries before the grid is continued.
        seeds: fresh seeds that the chosen ones are compared on.
        epochs: passes over the training data; the task's own number by default.
        batch_size: samples in a mini-batch; the task's own number by default.
        out: folder for the records; the same call continues what it finds there.
        watcher: is told how the race goes.

    Returns:
        The finished race.

    Raises:
        UsageError: an argument cannot work.
        ThalwegError: the records cannot be read or written; what is finished is safe.
    """
    task = find(task) if isinstance(task, str) else task
    regime = Regime(
        epochs=task.epochs if epochs is None else epochs,
        batch_size=task.batch_size if batch_size is None else batch_size,
    )
    spec = Spec(task, entrants(optimizers), regime, budget=budget, seeds=seeds)
    return _Racing(spec, None if out is None else Path(out), watcher or Silence()).run()


@dataclass
class _Racing:
    """A race on its way."""

    spec: Spec
    out: Path | None
    watcher: Watcher
    tried: dict[str, dict[float, list[Outcome]]] = field(default_factory=dict)

    def run(self) -> Race:
        started = time.perf_counter()
        spec = self.spec
        self.store = Store(None if self.out is None else self.out / "records")
        for path in self.store.damaged:
            self.watcher.say(f"{path} cannot be read; its runs are run again")
        first = {m: search.grid(m.learning_rates(), spec.budget) for m in spec.entrants}
        self.way = self._way([r for m, rates in first.items() for r in spec.tuning(m, rates)])
        self.watcher.say(str(self.way))
        self._try("learning rates", first)
        for number in range(spec.rounds):
            if not any(search.on_edge(self._scores(m)) for m in spec.entrants):
                break
            self._try(f"continued grids, round {number + 1}", self._continuations())
        chosen = {m: search.best(self._scores(m)) for m in spec.entrants}
        runs = {m: spec.final(m, rate) for m, rate in chosen.items()}
        self._perform("fresh seeds", [r for own in runs.values() for r in own], test=True)
        final = {m.name: [self._outcome(r, True) for r in own] for m, own in runs.items()}
        self.watcher.stage("time per step", 0)
        speeds = timing.milliseconds_per_step(spec, chosen)
        result = document(spec, self.tried, {m.name: lr for m, lr in chosen.items()}, final,
                          speeds, str(self.way), time.perf_counter() - started)  # fmt: skip
        if self.out is not None:
            write_json(self.out / "race.json", result)
        return Race(result)

    def _way(self, runs: Sequence[Run]) -> Execution:
        """How to execute; a race that is continued goes on the way it began.

        The last digits of a result depend on how many runs share a matrix product, so records of
        one race should not mix.
        """
        path = None if self.out is None else self.out / "execution.json"
        if path is not None and path.exists():
            try:
                return Execution(**json.loads(path.read_text(encoding="utf-8")))
            except (ValueError, TypeError):
                self.watcher.say(f"{path} cannot be read; the way to run is chosen anew")
        self.watcher.stage("measuring the fastest way to run", 0)
        way = choose(self.spec.task, runs, self.spec.regime)
        if path is not None:
            write_json(path, vars(way))
        return way

    def _continuations(self) -> dict[Method, list[float]]:
        spec, found = self.spec, {}
        for m in spec.entrants:
            where = m.learning_rates()
            spacing = where.decades / (spec.budget - 1) if spec.budget > 1 else 1.0
            found[m] = search.more(self._scores(m), spec.extra, spacing)
        return found

    def _try(self, stage: str, rates: Mapping[Method, Sequence[float]]) -> None:
        runs = {(m, lr): self.spec.tuning(m, [lr]) for m, own in rates.items() for lr in own}
        self._perform(stage, [run for own in runs.values() for run in own], test=False)
        for (m, lr), own in runs.items():
            self.tried.setdefault(m.name, {})[lr] = [self._outcome(run, False) for run in own]

    def _perform(self, stage: str, runs: Sequence[Run], test: bool) -> None:
        """Do those of the runs that no record holds, a group at a time."""
        spec, store = self.spec, self.store
        # Groups are made of all runs before the finished ones are left out, so that a race that
        # was interrupted goes on with the groups of one that was not.
        groups = []
        for group in grouped(runs, self.way):
            absent = set(store.missing([spec.identity(run, test) for run in group]))
            if left := [run for run in group if spec.identity(run, test) in absent]:
                groups.append(left)
        self.watcher.stage(stage, sum(map(len, groups)) * spec.steps)
        for done, results in execute(
            spec.task, groups, spec.regime, self.way, test=test, progress=self.watcher.advance
        ):
            pairs = zip(done, results, strict=True)
            store.add({spec.identity(run, test): r.to_dict() for run, r in pairs})

    def _outcome(self, run: Run, test: bool) -> Outcome:
        return Outcome.of(self.spec.task, self.store.found[self.spec.identity(run, test)])

    def _scores(self, entrant: Method) -> dict[float, search.Score]:
        """How good each learning rate was on validation; larger is better."""
        sign = 1.0 if self.spec.task.metric.higher_is_better else -1.0
        return {
            lr: (
                sign * sum(o.validation for o in outcomes) / len(outcomes),
                -sum(o.validation_loss for o in outcomes) / len(outcomes),
            )
            for lr, outcomes in self.tried[entrant.name].items()
        }
