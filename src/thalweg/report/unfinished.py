"""A race that is not finished, as far as its records tell: what was tried, and no verdict."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from . import text

_CURVES = ("train_loss", "validation_loss", "validation_metric")

Record = Mapping[str, Any]


def document(runs: Mapping[str, Record]) -> dict[str, Any]:
    """A document of the schema `thalweg.race/1` without what only a finished race has.

    Args:
        runs: records that say what they are of, one or more, by identity.
    """
    records = list(runs.values())
    about = records[0]["run"]
    higher = bool(about["higher_is_better"])
    by_name: dict[str, list[Record]] = {}
    for record in records:
        by_name.setdefault(str(record["run"]["optimizer"]), []).append(record)
    entries = [_entry(name, own, higher) for name, own in by_name.items()]
    entries.sort(key=lambda entry: _order(entry["validation"]["mean"], higher))
    tuning = sum(record["run"]["stage"] == "tuning" for record in records)
    return {
        "schema": "thalweg.race/1",
        "task": about["task"],
        "setting": {
            "metric": {"name": about["metric"], "higher_is_better": higher},
            **({"also": about["also"]} if "also" in about else {}),
        },
        "optimizers": entries,
        "runs": len(records),
        "record_ids": list(runs),
        "verdict": {
            "best": [],
            "sentence": f"This race is not finished: of {about['task']} {tuning} runs of the "
            f"search and {len(records) - tuning} on fresh seeds are recorded. There is no verdict "
            "yet; the same command goes on from here.",
            "unknown": ["All of it: who is first so far was chosen and judged on the same data."],
        },
    }


def _entry(name: str, records: Sequence[Record], higher: bool) -> dict[str, Any]:
    """An optimizer with the configuration that is best so far, by mean validation metric."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(json.dumps(record["run"]["configuration"]), []).append(record)
    points = [_point(own) for own in groups.values()]
    best = min(range(len(points)), key=lambda k: _order(points[k]["validation"]["mean"], higher))
    chosen = list(groups.values())[best]
    return {
        "name": name,
        "learning_rate": points[best]["learning_rate"],
        "configuration": points[best]["configuration"],
        "validation": points[best]["validation"],
        "configurations": len(points),
        "diverged": fmean(record["diverged_at"] is not None for record in records),
        "sensitivity": points,
        "curve": _curve(chosen),
    }


def _point(records: Sequence[Record]) -> dict[str, Any]:
    configuration = records[0]["run"]["configuration"]
    sound = [r["validation_metric"][-1] for r in records if r["diverged_at"] is None]
    return {
        "learning_rate": configuration.get("lr"),
        "configuration": configuration,
        "validation": {"mean": _mean(sound), "low": None, "high": None},
        "diverged": fmean(r["diverged_at"] is not None for r in records),
        "stopped_at": records[0].get("stopped_at"),
    }


def _curve(records: Sequence[Record]) -> dict[str, Any]:
    """The mean course; steps that not all of them took are left out."""
    steps = min((r["steps"] for r in records), key=len)
    nothing = [None] * len(steps)

    def band(runs: Sequence[Sequence[Any]]) -> dict[str, Any]:
        means = [_mean([values[k] for values in runs]) for k in range(len(steps))]
        return {"mean": means, "low": nothing, "high": nothing}

    curve = {"steps": steps, **{name: band([r[name] for r in records]) for name in _CURVES}}
    if also := records[0].get("also"):
        curve["also"] = {n: band([r["also"][n]["validation"] for r in records]) for n in also}
    return curve


def _mean(values: Sequence[Any]) -> float | None:
    known = [v for value in values if (v := text.finite(value)) is not None]
    return fmean(known) if known else None


def _order(value: float | None, higher: bool) -> float:
    """A key that sorts the better first and the unknown last."""
    if value is None:
        return math.inf
    return -value if higher else value
