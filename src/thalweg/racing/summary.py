"""What a race found, as one document of plain data."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from .. import __version__
from ..formula import mathml
from ..optim.spelling import code
from ..records import plain
from ..rules.core import Rule
from ..training.runs import Method
from . import statistics
from .outcome import Outcome
from .spec import Spec
from .verdict import verdict

SCHEMA = "thalweg.race/1"
TARGET = 0.9  # of the way from the untrained loss to the best one reached


def document(
    spec: Spec,
    tried: Mapping[str, Mapping[float, Sequence[Outcome]]],
    chosen: Mapping[str, float],
    final: Mapping[str, Sequence[Outcome]],
    speeds: Mapping[str, float],
    executor: str,
    seconds: float,
) -> dict[str, Any]:
    """The race as one document, schema `thalweg.race/1`.

    Args:
        spec: the race.
        tried: for every method and learning rate, the outcomes over tuning seeds.
        chosen: the learning rate that each method goes on with.
        final: for every method, the outcomes over fresh seeds, paired across methods.
        speeds: milliseconds per step.
        executor: how the runs were executed.
        seconds: how long the race took.
    """
    metric = spec.task.metric
    ties = statistics.ties(
        {name: [o.test for o in own] for name, own in final.items()},
        higher_is_better=metric.higher_is_better,
        margin=metric.margin,
    )
    target = _target(final)
    by_name = {m.name: m for m in spec.entrants}
    optimizers: list[dict[str, Any]] = []
    for standing in ties.standings:
        name = standing.name
        entry = _entry(spec, by_name[name], tried[name], chosen[name], final[name], target)
        entry["rank"] = 1 if standing.tied else 1 + len(optimizers)
        entry["tied"] = standing.tied
        entry["ms_per_step"] = speeds[name]
        d = standing.difference
        entry["versus_best"] = None if name == ties.leader else {
            "difference": d.mean, "low": d.low, "high": d.high, "p": standing.adjusted_p,
            "probability_better": standing.probability_better,
        }  # fmt: skip
        optimizers.append(entry)
    result = {
        "schema": SCHEMA,
        "task": spec.task.name,
        "setting": _setting(spec, target, executor),
        "optimizers": optimizers,
        "runs": sum(len(o) for own in tried.values() for o in own.values())
        + sum(map(len, final.values())),
        "seconds": seconds,
        "environment": environment(),
    }
    result["verdict"] = verdict(spec, result, ties)
    return dict(plain(result))


def _entry(
    spec: Spec,
    entrant: Method,
    tried: Mapping[float, Sequence[Outcome]],
    rate: float,
    final: Sequence[Outcome],
    target: float | None,
) -> dict[str, Any]:
    """What the race found about one method."""
    higher = spec.task.metric.higher_is_better
    rates = sorted(tried)
    means = [float(np.mean([o.validation for o in tried[lr]])) for lr in rates]
    good = statistics.good_range(
        rates, means, higher_is_better=higher, tolerance=spec.task.metric.margin
    )
    every = [o for own in tried.values() for o in own] + list(final)
    reached = median(_steps_to(o, target) for o in final)
    return {
        "name": entrant.name,
        "title": entrant.title,
        "reference": str(entrant.reference) if entrant.reference else None,
        "formula_mathml": mathml(entrant) if isinstance(entrant, Rule) else None,
        "code": code(entrant, rate) if isinstance(entrant, Rule) else None,
        "learning_rate": rate,
        "validation": statistics.interval([o.validation for o in final])._asdict(),
        "test": statistics.interval([o.test for o in final])._asdict(),
        "steps_to_target": None if math.isinf(reached) else reached,
        "diverged": sum(o.diverged for o in every) / len(every),
        "edge": rate in (rates[0], rates[-1]),
        "good_range": good._asdict(),
        "configurations": len(rates),
        "sensitivity": [
            {
                "learning_rate": lr,
                "validation": statistics.interval([o.validation for o in tried[lr]])._asdict(),
                "diverged": sum(o.diverged for o in tried[lr]) / len(tried[lr]),
            }
            for lr in rates
        ],
        "expected_best": statistics.expected_best(means, higher_is_better=higher).tolist(),
        "curve": _curve(final),
    }


def _curve(final: Sequence[Outcome]) -> dict[str, Any]:
    """The mean course of the final runs with the band that holds 95 % of their mean."""
    curve: dict[str, Any] = {"steps": final[0].record["steps"]}
    for name in ("train_loss", "validation_loss", "validation_metric"):
        columns = zip(*(o.record[name] for o in final), strict=True)
        bands = [
            _band([v for v in column if v is not None and math.isfinite(v)]) for column in columns
        ]
        curve[name] = {part: [b[part] for b in bands] for part in ("mean", "low", "high")}
    return curve


def _band(values: Sequence[float]) -> dict[str, float | None]:
    if not values:
        return {"mean": None, "low": None, "high": None}
    return statistics.interval(values, resamples=500)._asdict()


def _target(final: Mapping[str, Sequence[Outcome]]) -> float | None:
    """The validation loss that counts as having learned the task, from the pooled best."""
    starts = [o.record["validation_loss"][0] for own in final.values() for o in own]
    ends = [float(np.mean([o.validation_loss for o in own])) for own in final.values()]
    start, best = float(np.mean([s for s in starts if s is not None] or [0.0])), min(ends)
    return start - TARGET * (start - best) if best < start else None


def _steps_to(outcome: Outcome, target: float | None) -> float:
    """The first measured step at which a run met the target; infinity for a miss."""
    record = outcome.record
    for step, loss in zip(record["steps"], record["validation_loss"], strict=True):
        if target is not None and loss is not None and loss <= target:
            return float(step)
    return math.inf


def _setting(spec: Spec, target: float | None, executor: str) -> dict[str, Any]:
    task, metric = spec.task, spec.task.metric
    return {
        "title": task.title,
        "metric": {
            "name": metric.name,
            "higher_is_better": metric.higher_is_better,
            "margin": metric.margin,
        },
        "train": len(task.train[0]),
        "validation": len(task.validation[0]),
        "test": len(task.test[0]),
        "parameters": task.parameters(),
        "fingerprint": task.fingerprint,
        "batch_size": spec.regime.batch_size,
        "epochs": spec.regime.epochs,
        "steps": spec.steps,
        "budget": spec.budget,
        "tuning_seeds": spec.tuning_seeds,
        "seeds": spec.seeds,
        "target_loss": target,
        "engine": "numba",
        "executor": executor,
    }


@cache
def environment() -> dict[str, Any]:
    """Versions and machine, for whoever wants to repeat the race."""
    return {
        "thalweg": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "numba", "numpy")},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
