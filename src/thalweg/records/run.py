"""What a run leaves behind, and the file that holds the runs of a group."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

import msgspec

from .values import Count, Document, Number, OtherMetric, Value, same_length

SCHEMA = 1
_TESTED = (0, 2)  # a run is tested before its first step and after its last, or not at all


class RunInfo(Document, frozen=True, kw_only=True):
    """What a record is a run of.

    Attributes:
        task: name of the task.
        metric: name of the metric that judges.
        higher_is_better: direction of that metric.
        also: metrics that are measured and decide nothing.
        optimizer: name of the method.
        stage: `tuning`, a run of the search, or `final`, one on a fresh seed.
        seed: of initial weights, order of the data and the model's own random numbers.
        configuration: `lr`, other hyperparameters, `schedule`, `warmup`, `clip`, `batch_size`
            where they differ from the defaults.
    """

    task: str
    metric: str
    higher_is_better: bool
    also: list[OtherMetric] = []
    optimizer: str
    stage: Literal["tuning", "final"]
    seed: Count
    configuration: dict[str, Value]


class MetricCurves(Document, frozen=True, kw_only=True):
    """The course of a metric that decides nothing.

    Attributes:
        validation: a value for each of the record's `steps`.
        test: of the untrained and of the trained model; empty unless the run is tested.
    """

    validation: list[Number]
    test: list[Number] = []


class RunRecord(Document, frozen=True, kw_only=True):
    """The record of a run.

    Attributes:
        steps: the steps after which it was measured, rising; the curves below have a value for
            each.
        train_loss: mean over the mini-batches since the measurement before.
        validation_loss: on the whole validation set.
        validation_metric: on the whole validation set.
        test_loss: of the untrained and of the trained model on the test set; empty unless the
            run is on a fresh seed.
        test_metric: as `test_loss`.
        gradient_norm: of the mini-batch of the step before each measurement, over all
            parameters.
        update_ratio: length of that step by the norm of the parameters that it started from.
        effective_lr: length of that step by the norm of the gradient.
        diverged_at: the step at which the run diverged; null where it did not.
        stopped_at: the step after which it was stopped early; null for a run that trained to its
            end.
        stopped_why: what it fell behind.
        also: by name the metrics that decide nothing.
        failed: the error that the model raised; null where it raised none.
        run: what it is of; null in records of versions that did not say so.
    """

    steps: list[Count]
    train_loss: list[Number]
    validation_loss: list[Number]
    validation_metric: list[Number]
    test_loss: list[Number] = []
    test_metric: list[Number] = []
    gradient_norm: list[Number] = []
    update_ratio: list[Number] = []
    effective_lr: list[Number] = []
    diverged_at: Count | None = None
    stopped_at: Count | None = None
    stopped_why: str | None = None
    also: dict[str, MetricCurves] = {}
    failed: str | None = None
    run: RunInfo | None = None

    def __post_init__(self) -> None:
        if not self.steps or any(a >= b for a, b in pairwise(self.steps)):
            raise ValueError("steps must be one or more, and rise")
        measured = len(self.steps)
        for name in ("train_loss", "validation_loss", "validation_metric"):
            same_length(measured, "steps", **{name: getattr(self, name)})
        for name in ("gradient_norm", "update_ratio", "effective_lr"):
            if getattr(self, name):
                same_length(measured, "steps", **{name: getattr(self, name)})
        tests = {"test_loss": self.test_loss, "test_metric": self.test_metric}
        for name, curves in self.also.items():
            same_length(measured, "steps", **{f"also {name}": curves.validation})
            tests[f"also {name}"] = curves.test
        for name, values in tests.items():
            if len(values) not in _TESTED:
                raise ValueError(f"{name} has {len(values)} test values instead of none or two")


class RecordFile(Document, frozen=True, kw_only=True):
    """A file in `records/`: the runs of a group that finished together.

    Attributes:
        schema: the number of this form of the file.
        digest: of all that is in `runs`; a file in which it does not fit is damaged.
        runs: the records by the identities of the runs.
    """

    schema: int
    digest: str
    runs: dict[str, RunRecord]


class Execution(Document, frozen=True, kw_only=True):
    """A file in `execution/`: how and where the runs of a race are executed, measured once.

    Attributes:
        mode: `lanes`, `processes` or `one by one`.
        lanes: how many runs train together in each process.
        processes: how many processes train at once.
        threads: how many threads each process uses.
        microseconds: measured per run and step in this mode; null where nothing was measured.
        alone: per run and step, one run after the other.
        why: what kept the runs from training as lanes or on a GPU; empty where nothing did.
        device: where the runs train: cpu, cuda:0 and so on.
        fits: how many models fit into memory at once.
        class_processes: in how many processes the runs of optimizer classes train; 1 for those
            of the others.
    """

    mode: str
    lanes: int = 1
    processes: int = 1
    threads: int = 1
    microseconds: Number = None
    alone: Number = None
    why: str = ""
    device: str = "cpu"
    fits: int
    class_processes: int = 1

    def __post_init__(self) -> None:
        for name in ("lanes", "processes", "threads", "fits", "class_processes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more")


def as_runs(records: Mapping[str, RunRecord] | Mapping[str, Any]) -> Mapping[str, RunRecord]:
    """Records by identity out of plain data; records are returned as they are.

    Raises:
        msgspec.ValidationError: a value is missing or has another type than it must have.
    """
    if isinstance(next(iter(records.values()), None), RunRecord):
        return records
    return msgspec.convert(records, dict[str, RunRecord])
