"""How a run is judged, one that diverged too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UsageError
from ..records import Number, RunRecord
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

    record: RunRecord
    validation: float
    validation_loss: float
    test: float
    diverged: bool

    @property
    def stopped_at(self) -> int | None:
        """The step after which it was stopped early; None if it was not."""
        return self.record.stopped_at


def judge(task: Task, records: Sequence[RunRecord]) -> list[Outcome]:
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
        UsageError: the model raised in every run, and then with its error; or the untrained model
            has no finite value either, and no run finished.
    """
    _check_failures(task, records)
    higher = task.metric.higher_is_better
    kinds = {"validation_metric": higher, "validation_loss": False, "test_metric": higher}
    measured = [kind for kind in kinds if _curve(records[0], kind)]
    finished = [
        r.diverged_at is None and all(_finite(_curve(r, kind)[-1]) for kind in measured)
        for r in records
    ]
    worst = {kind: _worst(task, kind, records, finished, kinds[kind]) for kind in measured}
    found = []
    for record, sound in zip(records, finished, strict=True):
        ends = {kind: _curve(record, kind)[-1] for kind in measured}
        values = {k: worst[k] if end is None or not sound else end for k, end in ends.items()}
        found.append(
            Outcome(
                record,
                values["validation_metric"],
                values["validation_loss"],
                values.get("test_metric", float("nan")),
                not sound,
            )
        )
    return found


def score(outcomes: Sequence[Outcome], higher_is_better: bool) -> tuple[float, float]:
    """How good a configuration was on validation, for `preference`: its metric and its loss.

    Args:
        outcomes: of one configuration over the tuning seeds.
        higher_is_better: of the metric.

    Returns:
        The mean metric, signed so that larger is better, and −infinity where it was stopped early;
        the mean loss.
    """
    if outcomes[0].stopped_at is not None:
        return -math.inf, math.inf
    # An exact sum, or the order of equal scores would depend on rounding.
    metric = math.fsum(o.validation for o in outcomes) / len(outcomes)
    loss = math.fsum(o.validation_loss for o in outcomes) / len(outcomes)
    return (metric if higher_is_better else -metric), loss


def others(task: Task, outcomes: Sequence[Outcome], part: str) -> dict[str, list[float | None]]:
    """What the metrics that decide nothing say of runs that are compared with each other.

    A run that diverged, or has no finite value, is given the worst of the others, as in `judge`.

    Args:
        task: what was trained.
        outcomes: of all the runs.
        part: "validation" or "test".

    Returns:
        A value per outcome and metric, in their order; None where no run has a finite one.
    """
    found: dict[str, list[float | None]] = {}
    for metric in task.also:
        both = [o.record.also[metric.name] for o in outcomes]
        curves = [curve.validation if part == "validation" else curve.test for curve in both]
        ends = [
            None if o.diverged or not _finite(c[-1]) else c[-1]
            for o, c in zip(outcomes, curves, strict=True)
        ]
        known = [v for v in (*ends, *(c[0] for c in curves)) if v is not None and _finite(v)]
        worst = (min if metric.higher_is_better else max)(known) if known else None
        found[metric.name] = [worst if end is None else end for end in ends]
    return found


def _curve(record: RunRecord, kind: str) -> list[Number]:
    curve: list[Number] = getattr(record, kind)
    return curve


def _check_failures(task: Task, records: Sequence[RunRecord]) -> None:
    """Raise with the person's own error if nothing is there to be judged beside it."""
    failed = [r for r in records if r.failed]
    if failed and len(failed) == len(records):
        names = {r.run.optimizer for r in failed if r.run is not None}
        who = f" of {names.pop()}" if len(names) == 1 else ""
        raise UsageError(f"task {task.name!r}: every run{who} fails: {failed[0].failed}")


def _worst(
    task: Task,
    kind: str,
    records: Sequence[RunRecord],
    finished: Sequence[bool],
    higher_is_better: bool,
) -> float:
    untrained = [_curve(r, kind)[0] for r in records]
    trained = [_curve(r, kind)[-1] for r, sound in zip(records, finished, strict=True) if sound]
    values = [v for v in untrained + trained if v is not None and _finite(v)]
    if not values:
        raise UsageError(
            f"task {task.name!r}: the {kind.replace('_', ' ')} is not finite even before the first "
            "step, and no run changed that; check the model's initial values and its data"
        )
    return min(values) if higher_is_better else max(values)


def _finite(value: float | None) -> bool:
    return value is not None and abs(value) <= _LARGEST
