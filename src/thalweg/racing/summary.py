"""What a race found, as one document."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from msgspec import structs

from .._version import __version__
from ..engines.registry import engines_for
from ..records import (
    Environment,
    Interval,
    Metric,
    OtherMetric,
    OtherResult,
    Pair,
    RaceDocument,
    Samples,
    Search,
    Setting,
    Verdict,
    VersusBest,
    normalized,
)
from ..tasks import Task
from ..tasks.trees import count
from . import search, statistics
from .entry import MethodFindings, entry, interval, preferences
from .judgement import NO_SPREAD, NOTHING_TRAINED, Judgement, compare
from .outcome import Outcome, others
from .power import detectable, seeds_to_tell
from .sign_flips import ADJUSTMENT
from .space import Configuration
from .spec import Spec
from .verdict import verdict

TARGET = 0.9  # of the way from the untrained loss to the best one reached


@dataclass(frozen=True)
class Findings:
    """What a race has found, for the document.

    Attributes:
        tried: for every method and configuration, the outcomes over tuning seeds.
        repeated: outcomes of runs that were stopped early, and whose configuration was then
            trained again to its end.
        chosen: the configuration that each method goes on with.
        edges: what of it lies at an end of what was tried.
        rising: what still gets steeply better towards an end of what was tried.
        final: for every method, the outcomes over fresh seeds, paired across methods.
        speeds: milliseconds per step.
        samples: the interval of the metric over validation and test samples.
        executor: how the runs were executed.
        device: where.
        pruned: whether configurations were stopped early.
        seconds: how long the race took.
    """

    tried: Mapping[str, Mapping[Configuration, Sequence[Outcome]]]
    repeated: Sequence[Outcome]
    chosen: Mapping[str, Configuration]
    edges: Mapping[str, Sequence[str]]
    rising: Mapping[str, Sequence[str]]
    final: Mapping[str, Sequence[Outcome]]
    speeds: Mapping[str, float]
    samples: Mapping[str, statistics.Interval | None]
    executor: str
    device: str
    pruned: bool
    seconds: float

    def of(self, name: str) -> MethodFindings:
        """What was found about one method."""
        return MethodFindings(
            self.tried[name],
            self.chosen[name],
            self.edges[name],
            self.rising[name],
            self.final[name],
            self.speeds[name],
        )


def document(spec: Spec, found: Findings, record_ids: Sequence[str]) -> RaceDocument:
    """The race as one document.

    Args:
        spec: the race.
        found: what it found.
        record_ids: identities of its runs.
    """
    metric, final, tried = spec.task.metric, found.final, found.tried
    judgement = compare(metric, final)
    target = _target(final)
    by_name = {m.name: m for m in spec.entrants}
    also, preferred = _also(spec.task, final), preferences(tried, metric.higher_is_better)
    optimizers = []
    for name in judgement.order:
        one = entry(spec, by_name[name], found.of(name), target, preferred)
        optimizers.append(
            structs.replace(
                one,
                rank=judgement.ranks[name],
                tied=name in judgement.best,
                also=also[name],
                # Nothing is recommended that never trained.
                code=None if judgement.always_lost(name) else one.code,
                versus_best=_versus(name, judgement),
            )
        )
    result = RaceDocument(
        task=spec.task.name,
        setting=_setting(spec, target, found),
        search=_search(spec, found),
        optimizers=optimizers,
        pairs=_pairs(judgement, final, metric.higher_is_better),
        verdict=Verdict(),
        record_ids=list(record_ids),
        runs=sum(len(o) for own in tried.values() for o in own.values())
        + sum(map(len, final.values()))
        + len(found.repeated),
        seconds=found.seconds,
        environment=environment(),
        samples=Samples(**{part: _over_samples(known) for part, known in found.samples.items()}),
    )
    return normalized(structs.replace(result, verdict=verdict(spec, result, judgement)))


def _over_samples(known: statistics.Interval | None) -> Interval | None:
    return None if known is None else Interval(**known._asdict())


def _versus(name: str, judgement: Judgement) -> VersusBest | None:
    """A method against the first; None for the first, and for what is not compared."""
    if name not in judgement.behind or judgement.ties is None:
        return None
    (standing,) = (s for s in judgement.ties.standings if s.name == name)
    d, own = standing.difference, judgement.behind[name]
    rest = [each for other, each in judgement.behind.items() if other != name]
    # Where no seed changes anything there is no chance to test against.
    tested = judgement.unranked != NO_SPREAD
    return VersusBest(
        difference=d.mean,
        low=d.low,
        high=d.high,
        p=standing.adjusted_p if tested else None,
        probability_better=standing.probability_better,
        detectable=detectable(own, rest, margin=judgement.ties.margin),
        seeds_to_tell=seeds_to_tell(own, rest) if standing.undecided else None,
    )


def _pairs(
    judgement: Judgement, final: Mapping[str, Sequence[Outcome]], higher_is_better: bool
) -> list[Pair]:
    """Every two methods that trained; none where no seed changes anything."""
    if judgement.unranked in (NO_SPREAD, NOTHING_TRAINED):
        return []
    scores = {
        name: [o.test for o in final[name]]
        for name in judgement.order
        if not judgement.always_lost(name)
    }
    return [
        Pair(
            a=c.a,
            b=c.b,
            difference=c.difference.mean,
            low=c.difference.low,
            high=c.difference.high,
            p=c.adjusted_p,
            probability_better=c.probability_better,
        )
        for c in statistics.pairs(scores, higher_is_better=higher_is_better)
    ]


def _also(task: Task, final: Mapping[str, Sequence[Outcome]]) -> dict[str, dict[str, OtherResult]]:
    """For every method the intervals of the other metrics."""
    everyone = [o for own in final.values() for o in own]
    parts = {part: others(task, everyone, part) for part in ("validation", "test")}
    found: dict[str, dict[str, OtherResult]] = {name: {} for name in final}
    for metric in task.also:
        left = {part: iter(values[metric.name]) for part, values in parts.items()}
        for name, own in final.items():
            known = {
                part: interval([v for v in islice(values, len(own)) if v is not None])
                for part, values in left.items()
            }
            found[name][metric.name] = OtherResult(**known)
    return found


def _search(spec: Spec, found: Findings) -> Search:
    """How was searched, and what stopping early has saved of it."""
    outcomes = [o for own in found.tried.values() for each in own.values() for o in each]
    whole = sum(
        spec.steps_of(c.recipe) * len(each)
        for own in found.tried.values()
        for c, each in own.items()
    )
    runs = [*outcomes, *found.repeated]
    taken = sum(o.record.steps[-1] for o in runs)
    return Search(
        tune=list(spec.tune),
        sampler=spec.kind,
        beyond=search.BEYOND,
        fixed=Configuration((), spec.fixed.recipe).to_dict(),
        pruned=found.pruned,
        stopped=sum(o.stopped_at is not None for o in runs),
        repeated=len(found.repeated),
        run_steps=taken,
        run_steps_of_full_search=whole,
        saved=1 - taken / whole,
    )


def _target(final: Mapping[str, Sequence[Outcome]]) -> float | None:
    """The validation loss that counts as having learned the task, from the pooled best."""
    starts = [o.record.validation_loss[0] for own in final.values() for o in own]
    ends = [float(np.mean([o.validation_loss for o in own])) for own in final.values()]
    start, best = float(np.mean([s for s in starts if s is not None] or [0.0])), min(ends)
    return start - TARGET * (start - best) if best < start else None


def _setting(spec: Spec, target: float | None, found: Findings) -> Setting:
    task, metric = spec.task, spec.task.metric
    return Setting(
        title=task.title,
        metric=Metric(
            name=metric.name,
            higher_is_better=metric.higher_is_better,
            margin=metric.margin,
            relative_margin=metric.relative_margin,
        ),
        adjustment=ADJUSTMENT,
        also=[OtherMetric(name=m.name, higher_is_better=m.higher_is_better) for m in task.also],
        train=task.samples,
        validation=count(task.validation[0]),
        test=count(task.test[0]),
        parameters=task.parameters(),
        weights=str(task.weights),
        fingerprint=task.fingerprint,
        batch_size=spec.regime.batch_size,
        epochs=spec.regime.epochs,
        steps=spec.steps,
        budget=spec.budget,
        tuning_seeds=spec.tuning_seeds,
        seeds=spec.seeds,
        seed=spec.seed,
        target_loss=target,
        engine=next((engine.name for engine in engines_for(found.device)), None),
        device=found.device,
        executor=found.executor,
    )


@cache
def environment() -> Environment:
    """Versions and machine, with which the race can be repeated."""
    return Environment(
        thalweg=__version__,
        python=platform.python_version(),
        torch=version("torch"),
        numba=version("numba"),
        numpy=version("numpy"),
        platform=platform.platform(),
        processor=_processor(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        cores=os.cpu_count(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
