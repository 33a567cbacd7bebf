"""What a race found about one method, for its document."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from statistics import median

import numpy as np
from msgspec import structs

from ..formula import mathml
from ..optim.python_code import code
from ..preference import preference
from ..records import (
    Band,
    BySeed,
    Citation,
    Curve,
    GoodRange,
    Interval,
    Number,
    OptimizerResult,
    PerStep,
    ToTarget,
    Tried,
    Value,
)
from ..rules import Rule, RuleError
from ..schedules import CONSTANT
from ..training.class_code import class_code
from ..training.runs import Method, RandomSearch
from ..training.torch_method import TorchMethod
from . import statistics, tuning
from .outcome import Outcome, score
from .space import Configuration
from .spec import Spec


@dataclass(frozen=True)
class MethodFindings:
    """What a race has found about one method.

    Attributes:
        tried: for every configuration the outcomes over tuning seeds.
        chosen: the one that it went on with.
        edges: what of it lies at an end of what was tried.
        rising: what still gets steeply better towards an end of what was tried.
        final: the outcomes over fresh seeds.
        speed: milliseconds per step.
    """

    tried: Mapping[Configuration, Sequence[Outcome]]
    chosen: Configuration
    edges: Sequence[str]
    rising: Sequence[str]
    final: Sequence[Outcome]
    speed: float


def preferences(
    tried: Mapping[str, Mapping[Configuration, Sequence[Outcome]]], higher_is_better: bool
) -> dict[tuple[str, Configuration], int]:
    """The place of every configuration of every method, 1 for the one that is preferred to all.

    Args:
        tried: the outcomes over tuning seeds.
        higher_is_better: of the metric.
    """
    keys = {
        (name, c): preference(*score(outcomes, higher_is_better), c.to_dict())
        for name, own in tried.items()
        for c, outcomes in own.items()
    }
    return {each: place for place, each in enumerate(sorted(keys, key=lambda k: keys[k]), 1)}


def entry(
    spec: Spec,
    entrant: Method,
    found: MethodFindings,
    target: float | None,
    preferred: Mapping[tuple[str, Configuration], int],
) -> OptimizerResult:
    """What the race found about one method, its place among the others apart.

    Args:
        spec: the race.
        entrant: the method.
        found: what was found about it.
        target: the validation loss that counts as having learned the task; None for none.
        preferred: from `preferences`.
    """
    higher, name = spec.task.metric.higher_is_better, entrant.name
    tried, final, chosen = found.tried, found.final, found.chosen
    configurations = sorted(tried, key=lambda c: c.rate)
    means = [float(np.mean([o.validation for o in tried[c]])) for c in configurations]
    tolerance = spec.task.metric.margin_beside((max if higher else min)(means))
    good = _good_range(configurations, means, higher, tolerance)
    stopped = {c.rate for c in configurations if tried[c][0].stopped_at is not None}
    tuning_runs = [o for outcomes in tried.values() for o in outcomes]
    every = tuning_runs + list(final)
    reached = [_steps_to(o, target) for o in final]
    middle, per_step = median(reached), _per_step(spec, chosen, found.speed)
    work = entrant.reference
    return OptimizerResult(
        name=name,
        title=entrant.title,
        reference=str(work) if work else None,
        citation=Citation(**vars(work)) if work else None,
        formula_mathml=_formula(entrant),
        code=None if isinstance(entrant, RandomSearch) else line(entrant, chosen),
        learning_rate=chosen.rate,
        configuration=chosen.to_dict(),
        validation=interval([o.validation for o in final]),
        test=interval([o.test for o in final]),
        settings=_settings(spec, tried, chosen),
        per_step=per_step,
        steps_to_target=None if math.isinf(middle) else middle,
        to_target=_to_target(middle, per_step),
        by_seed=BySeed(
            test=[o.test for o in final],
            steps_to_target=[None if math.isinf(step) else step for step in reached],
            steps=spec.steps_of(chosen.recipe),
            diverged=[o.diverged for o in final],
        ),
        diverged=_share_diverged(every),
        diverged_tuning=_share_diverged(tuning_runs),
        diverged_final=_share_diverged(final),
        edge=bool(found.edges),
        edges=list(found.edges),
        rising=list(found.rising),
        good_range=GoodRange(**good._asdict(), at_least=_cut_short(good, configurations, stopped)),
        configurations=len(configurations),
        sensitivity=[_tried(c, tried[c], preferred[name, c]) for c in configurations],
        expected_best=tuning.expected_best(means, higher_is_better=higher).tolist(),
        curve=_curve(final),
        ms_per_step=found.speed,
    )


def _tried(configuration: Configuration, outcomes: Sequence[Outcome], place: int) -> Tried:
    return Tried(
        learning_rate=configuration.rate,
        configuration=configuration.to_dict(),
        validation=interval([o.validation for o in outcomes]),
        validation_loss=float(np.mean([o.validation_loss for o in outcomes])),
        diverged=_share_diverged(outcomes),
        stopped_at=outcomes[0].stopped_at,
        preference=place,
    )


def interval(values: Sequence[float]) -> Interval:
    """The mean of some scores and its 95 % interval; nothing is known of none."""
    return Interval(**statistics.interval(values)._asdict()) if values else Interval()


def _formula(entrant: Method) -> str | None:
    """The formula as MathML, if there is one and Python has kept its source."""
    if not isinstance(entrant, Rule):
        return None
    try:
        return mathml(entrant)
    except RuleError:  # typed at a prompt, or read from standard input
        return None


def _settings(
    spec: Spec, tried: Iterable[Configuration], chosen: Configuration
) -> dict[str, Value]:
    """All that was tuned, with the values chosen, also where that is the usual one."""
    usual: dict[str, Value] = {
        "schedule": "constant",
        "warmup": 0.0,
        "clip": "any",
        "batch_size": spec.regime.batch_size,
    }
    known = usual | chosen.to_dict()
    return {key: known[key] for c in tried for key in c.to_dict() if key in known}


def _per_step(spec: Spec, chosen: Configuration, speed: float) -> PerStep:
    """What a training step with the chosen configuration is in units that others share."""
    count, regime = spec.task.samples, spec.regime.under(chosen.recipe)
    steps = spec.steps_of(chosen.recipe) / regime.epochs
    # The last mini-batch of an epoch may be smaller than the others, or be left out.
    samples = min(float(count), steps * regime.batch_size) / steps
    return PerStep(epochs=1 / steps, samples=samples, seconds=speed / 1e3)


def _to_target(steps: float, per_step: PerStep) -> ToTarget:
    if math.isinf(steps):
        return ToTarget()
    units = structs.asdict(per_step).items()
    return ToTarget(steps=steps, **{unit: steps * each for unit, each in units})


def _share_diverged(outcomes: Sequence[Outcome]) -> float:
    return sum(o.diverged for o in outcomes) / len(outcomes)


def _good_range(
    configurations: Sequence[Configuration], means: Sequence[float], higher: bool, tolerance: float
) -> tuning.GoodRange:
    """The good learning rates, each as good as the best configuration that has it."""
    by_rate: dict[float, list[float]] = {}
    for c, mean in zip(configurations, means, strict=True):
        by_rate.setdefault(c.rate, []).append(mean)
    best = [(max if higher else min)(own) for own in by_rate.values()]
    return tuning.good_range(list(by_rate), best, higher_is_better=higher, tolerance=tolerance)


def _cut_short(
    good: tuning.GoodRange, configurations: Sequence[Configuration], stopped: Set[float]
) -> bool:
    """Whether a learning rate next to the good ones was stopped early, and might be good too."""
    rates = sorted({c.rate for c in configurations})
    beside = rates[: rates.index(good.low)][-1:] + rates[rates.index(good.high) + 1 :][:1]
    return any(rate in stopped for rate in beside)


def line(method: Rule | TorchMethod, chosen: Configuration) -> str:
    """The line of code that makes the chosen optimizer, and what else it was trained with.

    Args:
        method: that was configured.
        chosen: its configuration.
    """
    hyper, recipe = dict(chosen.hyper), chosen.recipe
    made, beside = (
        (code(method, hyper), []) if isinstance(method, Rule) else class_code(method, hyper)
    )
    if recipe.schedule != CONSTANT:
        beside.append(f"schedule {recipe.schedule}")
    if recipe.clip is not None:
        beside.append(f"gradients clipped to a norm of {recipe.clip:g}")
    if recipe.batch_size is not None:
        beside.append(f"batches of {recipe.batch_size}")
    return f"{made}  # {', '.join(beside)}" if beside else made


def _curve(final: Sequence[Outcome]) -> Curve:
    """The mean course of the final runs with the band that holds 95 % of their mean."""
    records = [o.record for o in final]
    return Curve(
        steps=records[0].steps,
        train_loss=_course([r.train_loss for r in records]),
        validation_loss=_course([r.validation_loss for r in records]),
        validation_metric=_course([r.validation_metric for r in records]),
        also={n: _course([r.also[n].validation for r in records]) for n in records[0].also},
    )


def _course(runs: Sequence[Sequence[Number]]) -> Band:
    columns = zip(*runs, strict=True)
    bands = [_band([v for v in column if v is not None and math.isfinite(v)]) for column in columns]
    return Band(
        mean=[band.mean for band in bands],
        low=[band.low for band in bands],
        high=[band.high for band in bands],
    )


def _band(values: Sequence[float]) -> Interval:
    if not values:
        return Interval()
    return Interval(**statistics.interval(values, resamples=500)._asdict())


def _steps_to(outcome: Outcome, target: float | None) -> float:
    """The first measured step at which a run met the target; infinity for a miss."""
    record = outcome.record
    for step, loss in zip(record.steps, record.validation_loss, strict=True):
        if target is not None and loss is not None and loss <= target:
            return float(step)
    return math.inf
