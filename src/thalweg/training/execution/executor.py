"""What executes groups of runs: one interface for this process, worker processes and a cluster."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from ..context import TrainingContext
from ..devices import cores
from ..runs import Result, Run, kind_of
from .local import LocalExecutor
from .plan import ExecutionPlan
from .processes import ProcessExecutor
from .ray import Cluster, RayExecutor


class Executor(Protocol):
    """Trains groups of runs; the `with` statement ends the processes that it started."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def train(
        self, context: TrainingContext, groups: Sequence[Sequence[Run]]
    ) -> Generator[tuple[Sequence[Run], list[Result] | Path], None, None]:
        """Train groups and yield each when it is finished.

        Close the generator where it may be left early: what is not finished is then dropped.

        Args:
            context: what the runs have in common.
            groups: from `grouped`.
        """


def make_executor(plan: ExecutionPlan, cluster: Cluster | None = None) -> Executor:
    """What executes runs this plan: a Ray cluster, worker processes, or this process.

    Args:
        plan: from `choose`.
        cluster: of Ray, where they train, if they do; be connected to it.
    """
    if cluster is not None:
        return RayExecutor(cluster)
    if plan.processes > 1:
        return ProcessExecutor(min(plan.processes, cores()))
    if plan.class_processes > 1:
        return _Divided(ProcessExecutor(min(plan.class_processes, cores())))
    return LocalExecutor()


class _Divided:
    """Trains optimizer classes one by one in worker processes, and all else in this one.

    Args:
        classes: has the workers.
    """

    def __init__(self, classes: ProcessExecutor) -> None:
        self.classes, self.local = classes, LocalExecutor()

    def __enter__(self) -> Self:
        self.classes.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.classes.__exit__(*error)

    def train(
        self, context: TrainingContext, groups: Sequence[Sequence[Run]]
    ) -> Generator[tuple[Sequence[Run], list[Result] | Path], None, None]:
        """Train groups and yield each when it is finished, those in this process first."""
        kinds = [kind_of(group[0].method) for group in groups]
        others = [group for group, kind in zip(groups, kinds, strict=True) if kind != "torch"]
        classes = [group for group, kind in zip(groups, kinds, strict=True) if kind == "torch"]
        yield from self.local.train(context, others)
        if classes:
            yield from self.classes.train(replace(context, lanes=1, threads=1), classes)
