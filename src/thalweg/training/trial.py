"""An optimizer class tried on a task before anything is spent on it."""

from __future__ import annotations

from dataclasses import replace
from inspect import Parameter

from ..errors import UsageError
from ..tasks import Task
from .population import Population
from .runs import Regime, Run
from .torch_method import TorchMethod, describe, step_argument
from .train import Session


def tried(method: TorchMethod, task: Task) -> TorchMethod:
    """The method after one step of training, which shows whether it needs a closure.

    It does if `step` cannot be called without one, or if it raises without one and not with one.

    Args:
        method: an optimizer class.
        task: a model of it is trained.

    Raises:
        UsageError: it cannot be built or take a step; the message has its own error.
    """
    try:
        argument = step_argument(method.build(Population(task, [0]).own, _usual(method)))
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"{method.name} cannot be built: {describe(method, error)}") from error
    if argument is not None and argument.default is Parameter.empty:
        method = replace(method, closure=True)
    failure = _failure(method, task)
    if failure is not None and argument is not None and not method.closure:
        method = replace(method, closure=True)
        if _failure(method, task) is None:
            return method
    if failure is not None:
        why = describe(method, failure)
        raise UsageError(f"{method.name} fails on its first step: {why}") from failure
    return method


def _failure(method: TorchMethod, task: Task) -> Exception | None:
    """What one step raises, if it does."""
    regime = Regime(1, task.batch_size, evaluations=1)
    try:
        Session(task, [Run(method, _usual(method), 0)], regime).advance(1)
    except UsageError:
        raise
    except Exception as error:
        return error
    return None


def _usual(method: TorchMethod) -> dict[str, float]:
    """The learning rate, which a class may have no default of."""
    return {"lr": method.defaults["lr"]}
