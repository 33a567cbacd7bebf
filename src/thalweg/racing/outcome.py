"""How a run is judged, one that diverged too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from ..tasks import Task

_LARGEST = 1e300  # beyond this a mean overflows


@dataclass(frozen=True)
class Outcome:
    """A run as it is judged.

    Attributes:
        record: what the run left behind.
        validation: the metric on the validation set at the end.
        validation_loss: the loss there.
        test: the metric on the test set; NaN where that was not measured.
        diverged: whether it did; its values above are then not its own.
    """

    record: Mapping[str, Any]
    validation: float
    validation_loss: float
    test: float
    diverged: bool

    @property
    def stopped_at(self) -> int | None:
        """The step after which it was stopped early; None if it was not."""
        at = self.record.get("stopped_at")
        return None if at is None else int(at)


def judge(task: Task, records: Sequence[Mapping[str, Any]]) -> list[Outcome]:
    """The outcomes of runs that are compared with each other.

    A run that diverged has taught its model nothing, and no number that it left behind means
    anything. It is given the worst value that any model among these runs had, untrained or
    after a training that came to its end. So it never counts for more than a run that finished,
    whatever the metric, nor for more than no training at all.

    Args:
        task: what was trained.
        records: of all the runs, in any order; tested ones and others may not be mixed.

    Returns:
        An outcome per record, in their order.

    Raises:
        UsageError: the untrained model has no finite value either, and no run finished.
    """
    higher = task.metric.higher_is_better
    kinds = {"validation_metric": higher, "validation_loss": False, "test_metric": higher}
    measured = [kind for kind in kinds if records[0][kind]]
    finished = [
        r["diverged_at"] is None and all(_finite(r[kind][-1]) for kind in measured) for r in records
    ]
    worst = {kind: _worst(task, kind, records, finished, kinds[kind]) for kind in measured}
    found = []
    for record, sound in zip(records, finished, strict=True):
        values = {kind: record[kind][-1] if sound else worst[kind] for kind in measured}
        found.append(Outcome(record, values["validation_metric"], values["validation_loss"],
                             values.get("test_metric", float("nan")), not sound))  # fmt: skip
    return found


def _worst(
    task: Task,
    kind: str,
    records: Sequence[Mapping[str, Any]],
    finished: Sequence[bool],
    higher_is_better: bool,
) -> float:
    untrained = [r[kind][0] for r in records]
    trained = [r[kind][-1] for r, sound in zip(records, finished, strict=True) if sound]
    values = [v for v in untrained + trained if _finite(v)]
    if not values:
        raise UsageError(
            f"task {task.name!r}: the {kind.replace('_', ' ')} is not finite even before the first "
            "step, and no run changed that; check the model's initial values and its data"
        )
    return min(values) if higher_is_better else max(values)


def _finite(value: float | None) -> bool:
    return value is not None and abs(value) <= _LARGEST
