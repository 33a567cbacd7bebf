"""The runs of a race as its page holds them: the table in full, curves to four digits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .. import frames
from . import also, text

_DRAWN = (
    "train_loss", "validation_loss", "validation_metric", "gradient_norm", "update_ratio",
    "effective_lr",
)  # fmt: skip


def embedded(
    summary: Mapping[str, Any], records: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Plain data for the page's script.

    Args:
        summary: of the schema `thalweg.race/1`.
        records: of its runs, by identity.

    Returns:
        `columns` and `rows` of the table, as `frames.rows` has them; `list`, a curve of every
        quantity per run; `steps`, the different lists of steps that they refer to.
    """
    document = summary if "record_ids" in summary else None
    table = frames.rows(document, records)
    steps: dict[tuple[int, ...], int] = {}
    curves = []
    for record in frames.runs(document, records).values():
        about = record["run"]
        curves.append({
            **{name: about.get(name) for name in ("optimizer", "stage", "seed", "configuration")},
            "steps": steps.setdefault(tuple(record["steps"]), len(steps)),
            **{name: [_short(v) for v in record.get(name) or ()] for name in _DRAWN},
            **{name: [_short(v) for v in values] for name, values in _others(summary, record)},
            **{name: record.get(name) for name in ("diverged_at", "stopped_at")},
        })  # fmt: skip
    return {
        "columns": list(table[0]) if table else [],
        "rows": [list(row.values()) for row in table],
        "steps": [list(s) for s in steps],
        "list": curves,
    }


def _others(
    summary: Mapping[str, Any], record: Mapping[str, Any]
) -> Iterator[tuple[str, Sequence[Any]]]:
    """The curves of the metrics that decide nothing, under the names that the script has."""
    measured = record.get("also") or {}
    for k, metric in enumerate(also.metrics(summary)):
        yield f"also-{k}", (measured.get(metric.get("name")) or {}).get("validation") or ()


def _short(value: Any) -> float | None:
    known = text.finite(value)
    return None if known is None else float(f"{known:.4g}")
