"""A race on its way: try, continue, choose, run again on fresh seeds, judge."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from msgspec import structs

from ..callbacks import Callback, tell
from ..durations import shown
from ..errors import ThalwegError, UsageError
from ..records import (
    Store,
    check_unfinished,
    to_plain,
    write_json,
)
from ..tasks.user_errors import describe_error
from ..training import devices
from ..training.context import RecordFolder
from ..training.execution.executor import make_executor
from ..training.execution.grouping import grouped
from ..training.execution.plan import choose
from ..training.execution.ray import Cluster, described
from ..training.runs import Method, RandomSearch, Run
from . import resolution, statistics, timing
from .estimate import USUAL_ROUNDS, expected
from .execution_plan import decide
from .outcome import Outcome, judge
from .result import Race
from .samplers import best, sampler
from .search import Score
from .space import Configuration
from .spec import Spec
from .summary import Findings, document
from .tried import Found, by_configuration, repeated, scores, to_the_end
from .watcher import Watcher

_WHAT = {
    "given": "learning rates",
    "grid": "learning rates",
    "sobol": "configurations",
    "optuna": "configurations",
}
_PATIENCE = 10.0  # seconds that the interval over samples is worth in a short race


@dataclass
class Racing:
    """A race on its way."""

    spec: Spec
    out: Path | None
    watcher: Watcher
    cluster: Cluster | None = None
    device: torch.device | None = None
    overwrite: bool = False
    callbacks: Sequence[Callback] = ()
    tried: dict[Method, list[Run]] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    runs: int = 0

    def run(self) -> Race:
        """Race, and judge."""
        started = time.perf_counter()
        first = self.prepare()
        whole = expected(self.spec, first, self.plan)
        self.runs = whole.runs
        if whole.seconds is not None:
            self.watcher.say(f"about {whole.runs:,} runs and {shown(whole.seconds)} in all")
        with make_executor(self.plan, self.cluster) as self.executor:
            chosen = self._search(first)
            runs = self._final(chosen)
        found = self._judged(chosen, runs, started)
        for callback in self.callbacks:
            callback.race_finished(found.result)
        return found

    def kept(self) -> str:
        """How many runs a race that is broken off leaves behind, in a sentence."""
        done = sum(name in self.store.runs for name in self.begun) if self.begun else 0
        if not done:
            return "no run was finished, so none is kept"
        count = f"{done:,} of about {max(done, self.runs):,} runs"
        if self.out is None:
            return f"{count} were finished; none is kept, because no folder was given for them"
        return f"{count} are kept in {self.out}; the same command goes on from there"

    def prepare(self) -> Mapping[Method, Sequence[Configuration]]:
        """Read the records, and decide how the runs are executed; what each begins with."""
        spec = self.spec
        self._make_samplers()
        for note in (*spec.task.remarks, *spec.notes):
            self.watcher.say(note)
        self.store = Store(None if self.out is None else self.out / "records")
        check_unfinished(self.store, spec.task.name, overwrite=self.overwrite)
        for path in self.store.damaged:
            self.watcher.say(f"{path} is damaged or no record; what it lacks is run again")
        return self._decide({m: own.first({}) for m, own in self.samplers.items()})

    def _make_samplers(self) -> None:
        spec = self.spec
        self.samplers = {
            m: sampler(
                spec.kind,
                spec.space(m),
                spec.budget,
                spec.task.metric.margin_beside,
                spec.rates.get(m.name, ()),
            )
            for m in spec.entrants
        }

    def _final(self, chosen: Mapping[Method, Configuration]) -> dict[Method, list[Run]]:
        """Train the chosen configurations on fresh seeds."""
        runs = {m: self.spec.final(m, configuration) for m, configuration in chosen.items()}
        self._perform("fresh seeds", [run for own in runs.values() for run in own], test=True)
        return runs

    def _judged(
        self,
        chosen: Mapping[Method, Configuration],
        runs: Mapping[Method, list[Run]],
        started: float,
    ) -> Race:
        """Judge the runs on fresh seeds, and write down what the race found."""
        spec = self.spec
        everyone = [run for own in runs.values() for run in own]
        # Judged together: they are compared with each other.
        judged = iter(self._judge(everyone, test=True))
        final = {m.name: list(islice(judged, len(own))) for m, own in runs.items()}
        searched = {m: self._outcomes(m) for m in spec.entrants}
        scored = {m: self._scores(outcomes) for m, outcomes in searched.items()}
        tuned = [run for own in self.tried.values() for run in own]
        self.watcher.stage("time per step")
        speeds = self._speeds(runs, final)
        found = Findings(
            tried={m.name: to_the_end(outcomes) for m, outcomes in searched.items()},
            repeated=[o for outcomes in searched.values() for o in repeated(outcomes)],
            chosen={m.name: c for m, c in chosen.items()},
            final=final,
            edges={m.name: own.edges(scored[m]) for m, own in self.samplers.items()},
            rising={m.name: own.rising(scored[m]) for m, own in self.samplers.items()},
            speeds=speeds,
            samples=self._samples(runs, final, speeds, started),
            executor=self.said,
            device=self.plan.device,
            pruned=self.halved,
            seconds=time.perf_counter() - started,
        )
        ids = [spec.identity(run, False) for run in tuned]
        ids += [spec.identity(run, True) for run in everyone]
        ids = list(dict.fromkeys(ids))
        result = document(spec, found, ids)
        if said := self._caveats():
            verdict = structs.replace(result.verdict, unknown=[*said, *result.verdict.unknown])
            result = structs.replace(result, verdict=verdict)
        if self.out is not None:
            write_json(self.out / "race.json", to_plain(result))
        return Race(result, {i: self.store.runs[i] for i in ids})

    def _speeds(
        self, runs: Mapping[Method, Sequence[Run]], outcomes: Mapping[str, Sequence[Outcome]]
    ) -> dict[str, float]:
        """Milliseconds per step of every method; NaN where the model raised in all of its runs."""
        timed = []
        for m, own in runs.items():
            pairs = zip(own, outcomes[m.name], strict=True)
            timed += [run for run, outcome in pairs if not outcome.record.failed][:1]
        measured = timing.milliseconds_per_step(
            self.spec, timed, self.plan.threads, self._here(), self._timing()
        )
        return {m.name: measured.get(m.name, math.nan) for m in runs}

    def _samples(
        self,
        runs: Mapping[Method, Sequence[Run]],
        outcomes: Mapping[str, Sequence[Outcome]],
        speeds: Mapping[str, float],
        started: float,
    ) -> Mapping[str, statistics.Interval | None]:
        """The interval of the metric over samples, if it is worth a training of one more run."""
        taken = time.perf_counter() - started
        try:
            return resolution.measure(
                self.spec,
                outcomes,
                {m.name: own for m, own in runs.items()},
                speeds,
                self._patience(taken),
                self.plan.threads,
                self._here(),
            )
        except Exception as error:  # of the person's model, loss or metric; the race is over
            self.watcher.say(f"the metric cannot be resampled: {type(error).__name__}: {error}")
            return {}

    def _timing(self) -> float:
        """The seconds that timing the steps of all methods may take."""
        return timing.PATIENCE

    def _patience(self, taken: float) -> float:
        """The seconds that the interval over samples is worth, after a race that took so long."""
        return max(_PATIENCE, taken / 10)

    def _caveats(self) -> list[str]:
        """What else the race does not know, because of how it went."""
        return []

    def _here(self) -> torch.device:
        """The device of the runs, if this machine has it."""
        device = torch.device(self.plan.device)
        return devices.CPU if devices.why_unusable(device) else device

    def _decide(
        self, first: Mapping[Method, Sequence[Configuration]]
    ) -> Mapping[Method, Sequence[Configuration]]:
        """Choose how the runs are executed, and whether some are stopped early.

        Args:
            first: the configurations that each begins with.

        Returns:
            Those, or what they are then.
        """
        spec = self.spec
        together = max(map(len, first.values())) * spec.tuning_seeds
        sample = [r for m, own in first.items() for r in spec.tuning(m, own)]
        sample += [r for m, own in first.items() for r in spec.final(m, own[0])]
        try:
            self.plan = decide(
                spec, sample, self.out, self.watcher, choose, self.device, self.cluster is not None
            )
        except ThalwegError:
            raise
        except Exception as error:  # a model raises whatever it likes, after a few steps
            raise UsageError(
                f"task {spec.task.name!r}: the model fails within its first steps: "
                f"{describe_error(error, spec.task.model)}"
            ) from error
        self.halved = spec.prune and together * self.plan.processes <= (self.plan.fits or 0)
        self.said = str(self.plan)
        if self.cluster is not None:
            self.said += f"; {described(self.cluster, self.plan.threads)}"
        self.watcher.say(self.said)
        if spec.prune and not self.halved:
            self.watcher.say(f"nothing is stopped early: {together} models would fill the memory")
        return first

    def _search(
        self, first: Mapping[Method, Sequence[Configuration]]
    ) -> dict[Method, Configuration]:
        """The configuration that each goes on with.

        Args:
            first: those that each begins with.
        """
        spec, stage, left = self.spec, _WHAT[self.spec.kind], self.spec.budget
        while any(first.values()):
            left -= max(map(len, first.values()))
            if not self._try(stage, first, left + self._coming(0) * spec.extra, self.halved):
                return {m: best(scores) for m, scores in self._scored().items()}
            scored = self._scored()
            first = {m: own.first(scored[m]) for m, own in self.samplers.items()}
        self._confirm()
        for number in range(spec.rounds):
            scored = self._scored()
            # Where the best draws of random search lie is noise, and no reason for a round.
            if not any(
                own.unfinished(scored[m])
                for m, own in self.samplers.items()
                if not isinstance(m, RandomSearch)
            ):
                break
            more = {m: own.more(scored[m], spec.extra) for m, own in self.samplers.items()}
            title = f"more {stage} (round {number + 1} of at most {spec.rounds})"
            left = self._coming(number + 1) * spec.extra
            if not self._try(title, more, left, halved=False):
                break
        return {m: best(scores) for m, scores in self._scored().items()}

    def _confirm(self) -> None:
        """Train to their end the learning rates next to each best one that were stopped early.

        Their order may have turned after that. No method tries a further configuration by this.
        """
        while True:
            doubtful = {}
            for m, own in self.samplers.items():
                found = to_the_end(self._outcomes(m))
                near = own.doubtful(self._scores(found))
                doubtful[m] = [c for c in near if not any(o.diverged for o in found[c])]
            if not any(doubtful.values()):
                return
            stage = "beside the best, stopped early before"
            self._try(stage, doubtful, self._coming(0) * self.spec.extra, halved=False)

    def _coming(self, done: int) -> int:
        """How many more rounds to expect after so many: few races need all of them."""
        return min(USUAL_ROUNDS, self.spec.rounds - done)

    def _try(
        self, stage: str, tried: Mapping[Method, Sequence[Configuration]], left: int, halved: bool
    ) -> bool:
        """Try some configurations, with about so many to come after them; whether all were."""
        spec = self.spec
        runs = {m: spec.tuning(m, own, halved) for m, own in tried.items()}
        each = left * spec.tuning_seeds + spec.seeds
        everyone = [run for own in runs.values() for run in own]
        self._perform(stage, everyone, test=False, later=each * len(spec.entrants) * spec.steps)
        for m, own in runs.items():
            self.tried.setdefault(m, []).extend(own)
        return True

    def _perform(self, stage: str, runs: Sequence[Run], test: bool, later: int = 0) -> None:
        """Do those of the runs that no record holds, a group at a time."""
        spec, store = self.spec, self.store
        self._reject(runs, test)
        self.begun |= {spec.identity(run, test) for run in runs}
        # A file holds a whole group: what is missing falls into the groups it fell into before.
        absent = set(store.missing([spec.identity(run, test) for run in runs]))
        # And what a bracket lacks, the whole of it decides.
        lacking = {run.bracket for run in runs if spec.identity(run, test) in absent} - {None}
        # Whatever finished first before a race was broken off, the same runs train together.
        whole = [
            [r for r in group if r.bracket in lacking or spec.identity(r, test) in absent]
            for group in grouped(runs, self.plan)
        ]
        groups = [group for group in whole if group]
        if not groups:
            return
        left = [run for group in groups for run in group]
        count, steps = len(left), sum(spec.steps_of(run.recipe) for run in left)
        each = f"{spec.steps:,} steps" if steps == count * spec.steps else f"{steps:,} steps in all"
        self.watcher.stage(f"{stage}: {count:,} run{'s' * (count > 1)} of {each}", steps, later)

        def entry(run: Run) -> tuple[str, dict[str, Any]]:
            """The name of a run, and what its record holds beside its result."""
            return spec.identity(run, test), {"run": spec.about(run, test)}

        records = None
        if self.cluster is not None and self.cluster.shared and store.folder is not None:
            records = RecordFolder(store.folder, entry)
        context = replace(
            self.plan.context(spec.task, spec.regime),
            test=test,
            progress=self._advance,
            records=records,
        )
        with closing(self.executor.train(context, groups)) as finished:
            for done, results in finished:
                named = [entry(run) for run in done]
                if isinstance(results, Path):
                    store.take(results)
                else:
                    entries = zip(named, results, strict=True)
                    store.add({name: {**r.to_dict(), **about} for (name, about), r in entries})
                if self.callbacks:
                    for name, _ in named:
                        tell(self.callbacks, name, store.runs[name])

    def _advance(self, run_steps: int) -> None:
        """Count run-steps that were done."""
        self.watcher.advance(run_steps)

    def _reject(self, runs: Sequence[Run], test: bool) -> None:
        """Run again what a record claims to be of and cannot be: its file has been changed."""
        for run in runs:
            name = self.spec.identity(run, test)
            if name in self.store.runs and not self.spec.fits(self.store.runs[name], run, test):
                path = self.store.reject(name)
                self.watcher.say(f"{path} does not fit its runs; what it lacks is run again")

    def _judge(self, runs: Sequence[Run], test: bool) -> list[Outcome]:
        records = [self.store.runs[self.spec.identity(run, test)] for run in runs]
        return judge(self.spec.task, records)

    def _outcomes(self, entrant: Method) -> Found:
        """The outcomes of an entrant's search, compared among themselves.

        So what it chooses does not depend on who else takes part.
        """
        runs = self.tried[entrant]
        return by_configuration(runs, self._judge(runs, test=False))

    def _scores(self, found: Found) -> dict[Configuration, Score]:
        """How good each configuration that trained to its end was; larger is better."""
        return scores(to_the_end(found), self.spec.task.metric.higher_is_better)

    def _scored(self) -> dict[Method, dict[Configuration, Score]]:
        """The same of every entrant, as it stands."""
        return {m: self._scores(self._outcomes(m)) for m in self.spec.entrants}
