"""Runs as a table: one flat row each, for frames and files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from .extras import needed
from .records import Number, RaceDocument, RunInfo, RunRecord, Value

if TYPE_CHECKING:
    import pandas as pd

# The last value of each of these is a column, and that of every other metric.
CURVES = (
    "train_loss",
    "validation_loss",
    "validation_metric",
    "test_loss",
    "test_metric",
    "gradient_norm",
    "update_ratio",
    "effective_lr",
)
_NAMES = ("task", "optimizer", "stage", "seed")
ENDS = ("diverged_at", "stopped_at", "stopped_why")

Row = dict[str, Value]


class Described(NamedTuple):
    """A record that says what it is of.

    Attributes:
        identity: of the run.
        run: what it is of.
        record: what it left behind.
    """

    identity: str
    run: RunInfo
    record: RunRecord


def runs(document: RaceDocument | None, records: Mapping[str, RunRecord]) -> list[Described]:
    """The records of a race that say what they are of.

    Args:
        document: the race's; None for all records.
        records: by identity.
    """
    known = None if document is None else document.record_ids
    found = ((i, records[i]) for i in (records if known is None else known) if i in records)
    return [Described(i, record.run, record) for i, record in found if record.run is not None]


def rows(document: RaceDocument | None, records: Mapping[str, RunRecord]) -> list[Row]:
    """A row per run; all rows have the same columns, None where a run has no value.

    Args:
        document, records: as for `runs`.
    """
    own = runs(document, records)
    tuned = {key: None for each in own for key in each.run.configuration}
    measured = {key: None for each in own for key in curves(each.record)}
    return [_row(each, list(tuned), list(measured)) for each in own]


def curves(record: RunRecord) -> dict[str, list[Number]]:
    """What a run measured, by name: `CURVES`, then the metrics that decide nothing."""
    found = {name: getattr(record, name) for name in CURVES}
    for metric, parts in record.also.items():
        found |= {f"validation_{metric}": parts.validation, f"test_{metric}": parts.test}
    return found


def measurements(record: RunRecord) -> Iterator[tuple[int, dict[str, float]]]:
    """The finite measurements of a run by step and name.

    The test set is measured before the first step and after the last.
    """
    known = {name: values for name, values in curves(record).items() if values}
    ends = [record.steps[0], record.steps[-1]]
    at = {
        name: dict(zip(record.steps if len(values) != 2 else ends, values, strict=True))
        for name, values in known.items()
    }
    for step in record.steps:
        found = {name: own.get(step) for name, own in at.items()}
        if values := {name: value for name, value in found.items() if value is not None}:
            yield step, values


def _row(each: Described, tuned: Sequence[str], measured: Sequence[str]) -> Row:
    own = curves(each.record)
    return {
        "run": each.identity,
        **{name: getattr(each.run, name) for name in _NAMES},
        **{f"param_{key}": each.run.configuration.get(key) for key in tuned},
        "steps": each.record.steps[-1],
        **{name: (own.get(name) or [None])[-1] for name in measured},
        **{name: getattr(each.record, name) for name in ENDS},
    }


def frame(table: Sequence[Row]) -> pd.DataFrame:
    """The rows as a pandas frame.

    Raises:
        MissingPackage: pandas is not installed.
    """
    with needed("a frame"):
        import pandas as pd
    return pd.DataFrame(list(table))
