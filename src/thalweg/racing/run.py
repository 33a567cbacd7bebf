"""The race itself: try, continue, choose, run again on fresh seeds, judge."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from ..errors import UsageError
from ..records import Store, write_json
from ..tasks import Task, find
from ..training.execute import Execution, choose, execute, grouped
from ..training.runs import Method, Regime, Run
from . import search, timing
from .outcome import Outcome, judge
from .spec import Spec, entrants
from .summary import document


class Watcher(Protocol):
    """Is told how a race goes; the command line draws it."""

    def stage(self, text: str, run_steps: int = 0, later: int = 0) -> None:
        """A stage begins, with this many run-steps to do, and at most so many after it."""

    def advance(self, run_steps: int) -> None:
        """This many were done."""

    def say(self, text: str) -> None:
        """Something worth a line happened."""


class Silence:
    """Watches and says nothing."""

    def stage(self, text: str, run_steps: int = 0, later: int = 0) -> None:
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
    folder = None if out is None else Path(out)
    if folder is not None and folder.exists() and not folder.is_dir():
        raise UsageError(f"out={folder} is a file; name a folder for the records")
    return _Racing(spec, folder, watcher or Silence()).run()


@dataclass
class _Racing:
    """A race on its way."""

    spec: Spec
    out: Path | None
    watcher: Watcher
    rates: dict[Method, list[float]] = field(default_factory=dict)

    def run(self) -> Race:
        started = time.perf_counter()
        spec = self.spec
        self.store = Store(None if self.out is None else self.out / "records")
        for path in self.store.damaged:
            self.watcher.say(f"{path} is damaged or no record; what it lacks is run again")
        first = {m: search.grid(m.learning_rates(), spec.budget) for m in spec.entrants}
        self.way = self._way([r for m, rates in first.items() for r in spec.tuning(m, rates)])
        self.watcher.say(str(self.way))
        self._try("learning rates", first, rounds_left=spec.rounds)
        for number in range(spec.rounds):
            if not any(search.on_edge(self._scores(m)) for m in spec.entrants):
                break
            stage = f"more learning rates ({number + 1} of at most {spec.rounds} rounds)"
            self._try(stage, self._continuations(), rounds_left=spec.rounds - number - 1)
        chosen = {m: search.best(self._scores(m)) for m in spec.entrants}
        runs = {m: spec.final(m, rate) for m, rate in chosen.items()}
        everyone = [run for own in runs.values() for run in own]
        self._perform("fresh seeds", everyone, test=True)
        # Judged together: they are compared with each other.
        judged = iter(self._judge(everyone, test=True))
        final = {m.name: list(islice(judged, len(own))) for m, own in runs.items()}
        tried = {m.name: self._tried(m) for m in spec.entrants}
        self.watcher.stage("time per step")
        speeds = timing.milliseconds_per_step(spec, chosen, self.way.threads)
        result = document(spec, tried, {m.name: lr for m, lr in chosen.items()}, final,
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
        known: dict[str, Any] = {}
        if path is not None and path.exists():
            try:
                known = dict(json.loads(path.read_text(encoding="utf-8")))
                if self.spec.setting in known:
                    return Execution(**known[self.spec.setting])
            except (ValueError, TypeError):
                self.watcher.say(f"{path} is damaged; the fastest way to run is measured again")
        self.watcher.stage("measuring the fastest way to run")
        way = choose(self.spec.task, runs, self.spec.regime)
        if path is not None:
            write_json(path, {**known, self.spec.setting: vars(way)})
        return way

    def _continuations(self) -> dict[Method, list[float]]:
        spec, found = self.spec, {}
        for m in spec.entrants:
            spacing = search.spacing(m.learning_rates(), spec.budget)
            found[m] = search.more(self._scores(m), spec.extra, spacing)
        return found

    def _try(self, stage: str, rates: Mapping[Method, Sequence[float]], rounds_left: int) -> None:
        spec = self.spec
        runs = [run for m, own in rates.items() for run in spec.tuning(m, own)]
        each = rounds_left * spec.extra * spec.tuning_seeds + spec.seeds
        self._perform(stage, runs, test=False, later=each * len(spec.entrants) * spec.steps)
        for m, own in rates.items():
            self.rates.setdefault(m, []).extend(own)

    def _perform(self, stage: str, runs: Sequence[Run], test: bool, later: int = 0) -> None:
        """Do those of the runs that no record holds, a group at a time."""
        spec, store = self.spec, self.store
        # A file holds a whole group: what is missing falls into the groups it fell into before.
        absent = set(store.missing([spec.identity(run, test) for run in runs]))
        left = [run for run in runs if spec.identity(run, test) in absent]
        groups = grouped(left, self.way)
        if not groups:
            return
        count = len(left)
        text = f"{stage}: {count:,} run{'s' * (count > 1)} of {spec.steps:,} steps"
        self.watcher.stage(text, count * spec.steps, later)
        with closing(
            execute(
                spec.task, groups, spec.regime, self.way, test=test, progress=self.watcher.advance
            )
        ) as finished:
            for done, results in finished:
                pairs = zip(done, results, strict=True)
                store.add({spec.identity(run, test): r.to_dict() for run, r in pairs})

    def _judge(self, runs: Sequence[Run], test: bool) -> list[Outcome]:
        records = [self.store.found[self.spec.identity(run, test)] for run in runs]
        return judge(self.spec.task, records)

    def _tried(self, entrant: Method) -> dict[float, list[Outcome]]:
        """The outcomes of an entrant at every learning rate it tried, compared among themselves.

        So what it chooses does not depend on who else takes part.
        """
        rates, each = self.rates[entrant], self.spec.tuning_seeds
        judged = iter(self._judge(self.spec.tuning(entrant, rates), test=False))
        return {lr: list(islice(judged, each)) for lr in rates}

    def _scores(self, entrant: Method) -> dict[float, search.Score]:
        """How good each learning rate was on validation; larger is better."""
        sign = 1.0 if self.spec.task.metric.higher_is_better else -1.0
        return {
            lr: (
                sign * sum(o.validation for o in outcomes) / len(outcomes),
                -sum(o.validation_loss for o in outcomes) / len(outcomes),
            )
            for lr, outcomes in self._tried(entrant).items()
        }
