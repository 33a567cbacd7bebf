"""Groups of runs brought to their end when memory runs out or a model fails."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import torch

from ...errors import ThalwegError, UsageError
from ...tasks import Task
from ...tasks.user_errors import describe_error
from ..brackets import Isolation, train_group
from ..context import TrainingContext
from ..devices import release, thread_count
from ..runs import Result, Run, kind_of
from ..train import StepCounter
from .grouping import units


def complete(context: TrainingContext, runs: Sequence[Run]) -> list[Result]:
    """Train a group of runs; if memory runs out, half as many together, and so on.

    If the model fails, the runs are trained one by one, those of a bracket side by side. A run that
    fails alone is recorded as one that diverged and named in a warning; the others go on.

    Args:
        context: what the runs have in common.
        runs: of one kind; brackets whole.

    Returns:
        A result per run, in their order.

    Raises:
        ThalwegError: memory does not suffice for a single run, or the device cannot go on.
    """
    with thread_count(context.threads):
        return _together(context, runs)


def _together(context: TrainingContext, runs: Sequence[Run]) -> list[Result]:
    lanes = min(context.lanes, len(runs))
    while True:
        counted = _Counted(context.progress)
        try:
            return train_group(replace(context, lanes=lanes, progress=counted), runs)
        except UsageError:
            raise
        except Exception as error:
            counted.take_back()
            if not out_of_memory(error):
                _check_device(context.device, error)
                return _one_by_one(context, runs, error)
            if lanes == 1:
                raise _too_large(context.task, error) from error
        lanes //= 2
        release(context.device)  # outside `except`: the error holds what the attempt allocated
        warnings.warn(
            f"out of memory; {lanes} run{'s' * (lanes > 1)} at once from here on",
            RuntimeWarning,
            stacklevel=2,
        )


def _one_by_one(context: TrainingContext, runs: Sequence[Run], error: Exception) -> list[Result]:
    """The runs of a group in which a model failed; a single run is not tried again."""
    if len(runs) > 1:
        return [result for unit in units(runs) for result in isolated(context, unit)]
    context.progress(context.steps(runs))
    why = _describe(context, runs[0], error)
    warn_of_failure(runs[0], why)
    return [no_result(context, runs[0], why)]


def isolated(
    context: TrainingContext,
    runs: Sequence[Run],
    doomed: Mapping[int, str] = MappingProxyType({}),
    entering: Callable[[int], None] = lambda number: None,
) -> list[Result]:
    """Train runs in a lane each; one that fails is recorded as diverged and named in a warning.

    Args:
        context: what the runs have in common.
        runs: one run, or a bracket.
        doomed: why some runs, by their numbers, are recorded so without being trained.
        entering: called with the number of a run each time before its model computes anything.

    Raises:
        ThalwegError: memory does not suffice for a single run, or the device cannot go on.
    """

    def failed(run: Run, error: Exception) -> Result:
        if isinstance(error, UsageError):
            raise error
        if out_of_memory(error):
            raise _too_large(context.task, error) from error
        _check_device(context.device, error)
        why = _describe(context, run, error)
        warn_of_failure(run, why)
        return no_result(context, run, why)

    lost = {number: no_result(context, runs[number], why) for number, why in doomed.items()}
    with thread_count(context.threads):
        return train_group(context, runs, Isolation(failed, entering, lost))


def out_of_memory(error: BaseException) -> bool:
    """Whether this says that memory ran out; torch has several ways to say it."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text
        or "can't allocate memory" in text
        or "not enough memory" in text
        or "alloc_failed" in text  # of CUDA's libraries
    )


def _describe(context: TrainingContext, run: Run, error: Exception) -> str:
    """What a run raised; where no line of the person's own did, a rule's run has the model's."""
    rule = kind_of(run.method) != "torch"  # an optimizer class may have raised it itself
    return describe_error(error, context.task.model if rule else None)


def warn_of_failure(run: Run, why: str) -> None:
    """Name a run that failed: its optimizer, configuration and seed, and why."""
    warnings.warn(
        f"{run.method.name} at {dict(run.hyper)}, seed {run.seed}, fails and counts as diverged: "
        f"{why}",
        RuntimeWarning,
        stacklevel=2,
    )


def no_result(context: TrainingContext, run: Run, why: str) -> Result:
    """The result of a run whose model failed: the reason, and no number that could be judged."""
    steps = context.milestones(run)
    lost = [math.nan] * len(steps)
    tested = [math.nan] * 2 if context.test else []
    also = {metric.name: {"validation": lost, "test": tested} for metric in context.task.also}
    return Result(
        steps, lost, lost, lost, tested, tested, lost, lost, lost, steps[-1], also=also, failed=why
    )


def _check_device(device: torch.device, error: Exception) -> None:
    """Stop after an error that a device does not recover from; no later run caused the next.

    Raises:
        ThalwegError: it is such an error.
    """
    kind = getattr(torch, "AcceleratorError", ())
    if device.type != "cpu" and (isinstance(error, kind) or str(error).startswith("CUDA error")):
        raise ThalwegError(
            f"{device} is in an unrecoverable state: {describe_error(error)}; restart the process. "
            "What is finished is kept, and the same call goes on from there. If a model does this "
            "again (indices out of range do), device='cpu' tells the line"
        ) from error


def _too_large(task: Task, error: Exception) -> ThalwegError:
    return ThalwegError(
        f"task {task.name!r}: memory does not suffice for a single run ({describe_error(error)}); "
        "take a smaller batch_size or model"
    )


class _Counted:
    """Passes progress on, and can take it back.

    Args:
        progress: called with the number of run-steps.
    """

    def __init__(self, progress: StepCounter) -> None:
        self.progress, self.done = progress, 0

    def __call__(self, run_steps: int) -> None:
        self.done += run_steps
        self.progress(run_steps)

    def take_back(self) -> None:
        """Take back all that was counted."""
        if self.done:
            self.progress(-self.done)
