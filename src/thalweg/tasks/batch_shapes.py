"""A task tried on every size of batch that a race will give it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from ..errors import UsageError
from . import modes, pairs
from .task import Task
from .trees import count, rows
from .user_errors import describe_error


def examine_batches(
    task: Task, batch_sizes: Iterable[int], *, drop_last: bool, evaluated: int
) -> None:
    """Compute the loss once for every size of batch, so that no run fails later of one.

    Args:
        task: whose model.
        batch_sizes: that training may use.
        drop_last: whether a smaller last mini-batch of an epoch is left out.
        evaluated: samples that are evaluated at a time.

    Raises:
        UsageError: the model fails on one of them; the message names the fix.
    """
    with torch.random.fork_rng(devices=[]):
        model = task._build()
        still = modes.still(model)
        for size in batch_sizes:
            last = task.samples % size
            modes.train(model, still)
            _train(task, model, size, f"mini-batches of {size}", "take another batch_size")
            if last and not drop_last:
                what = f"the last mini-batch of an epoch, at batch_size={size}"
                _train(task, model, last, what, "leave it out with drop_last=True")
        model.eval()
        for part in ("validation", "test"):
            total = count(getattr(task, part)[0])
            for size in {min(evaluated, total), total % evaluated} - {0}:
                _evaluate(task, model, part, size)


def _train(task: Task, model: nn.Module, size: int, what: str, fix: str) -> None:
    x, y = (rows(tree, slice(size)) for tree in task.train)
    try:
        task.objective(model, x, y)
    except Exception as error:
        raise UsageError(
            f"task {task.name!r}: the model fails on {what}, inputs {pairs.shapes(x)}: "
            f"{describe_error(error, task.model)}; {fix}"
        ) from error


@torch.no_grad()
def _evaluate(task: Task, model: nn.Module, part: str, size: int) -> None:
    x, y = (rows(tree, slice(size)) for tree in getattr(task, part))
    try:
        task.objective(model, x, y)
        if task.step is not None and not task.judged_by_loss:
            task.outputs(model, x)
    except Exception as error:
        raise UsageError(
            f"task {task.name!r}: the model fails on {part} data, which is evaluated {size} "
            f"samples at a time, inputs {pairs.shapes(x)}: {describe_error(error, task.model)}; "
            "it must take any number of samples"
        ) from error
