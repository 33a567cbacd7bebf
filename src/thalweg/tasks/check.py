"""A task tried once before anything is spent on it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from . import modes, pairs
from .losses import own_loss
from .task import Task
from .trees import Tree, count, rows
from .user_errors import describe_error


def examine(task: Task) -> None:
    """Take one gradient and one measurement, so that what cannot work is said at once.

    Raises:
        UsageError: the model cannot be built, has nothing to train, fails on its data, changes
            the shape of what it returns, or has a loss or metric that is no finite number; the
            message has the file and line of a person's own code.
    """
    task.parameters()
    with torch.random.fork_rng(devices=[]):
        model = task._build()
        _train(task, model)
        _measure(task, model)


def _train(task: Task, model: nn.Module) -> None:
    x, y = (rows(tree, slice(task.batch_size)) for tree in task.train)
    what = f"task {task.name!r}: the model fails on its first mini-batch"
    modes.train(model, modes.still(model))
    returned: list[Any] = []
    watching = model.register_forward_hook(lambda *args: returned.append(args[-1]))
    try:
        loss = task.objective(model, x, y)
    except Exception as error:
        if returned and returned[-1] is None:
            what = f"task {task.name!r}: the model's forward() must return its outputs, not None"
        raise UsageError(
            f"{what}, inputs {pairs.shapes(x)}: {describe_error(error, task.model)}"
            f"{_hint(task, model)}"
        ) from error
    finally:
        watching.remove()
    _scalar(task, "loss", loss)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise UsageError(
            f"task {task.name!r}: the loss of the untrained model is {value} on its first "
            "mini-batch; look at the model's initial values and at the loss"
        )
    if not loss.requires_grad:
        raise UsageError(
            f"task {task.name!r}: the loss does not depend on the model's parameters; look for "
            "detach(), no_grad() or numpy() in its forward pass"
        )
    try:
        torch.autograd.grad(
            loss, [p for p in model.parameters() if p.requires_grad], allow_unused=True
        )
    except Exception as error:
        raise UsageError(
            f"task {task.name!r}: no gradient: {describe_error(error, task.model)}"
        ) from error


@torch.no_grad()
def _measure(task: Task, model: nn.Module) -> None:
    model.eval()
    for part in ("validation", "test"):
        x, y = (rows(tree, slice(task.batch_size)) for tree in getattr(task, part))
        try:
            outputs: Any = (
                None if task.step is not None and task.judged_by_loss else task.outputs(model, x)
            )
            loss = task.objective(model, x, y)
            metrics = {
                m.name: loss if m.function is own_loss else task.judged(m.function, outputs, y)
                for m in task.measured
            }
        except Exception as error:
            raise UsageError(
                f"task {task.name!r}: the model fails on {part} data, inputs {pairs.shapes(x)}: "
                f"{describe_error(error, task.model)}"
            ) from error
        _scalar(task, f"{part} loss", loss)
        for name, value in metrics.items():
            _scalar(task, f"{part} metric {name}", value)
        if isinstance(outputs, Tensor) and count(x) > 1 and task.step is None:
            _same_shape(task, model, x, outputs)


def _same_shape(task: Task, model: nn.Module, x: Tree, outputs: Tensor) -> None:
    again = task.outputs(model, rows(x, slice(1)))
    if (again.ndim, again.shape[1:]) != (outputs.ndim, outputs.shape[1:]):
        raise UsageError(
            f"task {task.name!r}: the model returns {pairs.shapes(outputs)} for {count(x)} "
            f"samples, but {pairs.shapes(again)} for one; the shape of a sample's output must not "
            "change (a squeeze() without a dimension does this)"
        )


def _scalar(task: Task, what: str, value: object) -> None:
    if not isinstance(value, Tensor) or value.dim() != 0 or not value.is_floating_point():
        got = pairs.shapes(value) if isinstance(value, Tensor) else type(value).__name__
        raise UsageError(
            f"task {task.name!r}: the {what} must be a scalar tensor of floating point, got {got}"
        )


def _hint(task: Task, model: nn.Module) -> str:
    x, y = task.train
    if isinstance(y, Tensor) and y.dtype == torch.int64 and y.dim() == 1 and int(y.min()) >= 1:
        return f"; targets run from {int(y.min())} to {int(y.max())}, and classes count from 0"
    first = next(iter(model.parameters()))
    if isinstance(x, Tensor) and x.is_floating_point() and x.dtype != first.dtype:
        return f"; inputs are {x.dtype}, parameters {first.dtype}"
    return ""
