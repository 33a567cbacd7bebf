"""What a race is asked for: a task, the name of one, or a model and its data; and options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from ..errors import UsageError
from ..tasks import Task, examine, examine_batches, find
from ..training.memory import evaluation_size
from ..training.population import EVALUATED
from ..training.runs import Method, Regime
from ..training.torch_method import TorchMethod
from ..training.trial import tried
from .entrants import entrants
from .options import OPTIONS
from .space import ALL, Fixed, ranges_of
from .spec import Spec, rates_of

_OF_THE_TASK = ("epochs", "batch_size", "drop_last")  # options that a task has a say in
# Options that a task decides and a model leaves open.
_OF_A_MODEL = ("loss", "metrics", "target", "validation", "test")


def task_of(
    given: Task | str | nn.Module | Callable[[], nn.Module], inputs: Any, targets: Any, **more: Any
) -> Task:
    """The task that is meant.

    Args:
        given: a task, the name of a built-in one, or a model: a function that builds it, its
            class, or an example of it, of which every run gets a copy.
        inputs, targets: what a model is trained on.
        **more: other arguments of `Task`.

    Raises:
        UsageError: it is none of these, or data is given with a task that has its own.
    """
    if isinstance(given, Task | str):
        _check_alone(given, {"X": inputs, "y": targets, **more})
        return given if isinstance(given, Task) else find(given)
    if not callable(given):
        raise UsageError(
            f"task={given!r} must be a Task, the name of a built-in one (`thalweg race --list`) or "
            "a model: an nn.Module, its class, or a function that builds one"
        )
    if inputs is None:
        raise UsageError(
            "a model needs data to be trained on: race(model, X, y), or race(model, frame, "
            "target='column')"
        )
    name = type(given).__name__ if isinstance(given, nn.Module) else _called(given)
    train = inputs if targets is None else (inputs, targets)
    chosen = {key: value for key, value in more.items() if value is not None}
    return Task(name=name, model=given, train=train, **chosen)


def _check_alone(task: Task | str, more: Mapping[str, Any]) -> None:
    """Refuse what goes with a model only.

    Raises:
        UsageError: something of it was given.
    """
    given = [name for name, value in more.items() if value is not None]
    if given:
        name = task if isinstance(task, str) else task.name
        raise UsageError(
            f"{', '.join(given)} is for a model, as in race(model, X, y); the task {name!r} has "
            "data and loss of its own, which a Task with other arguments changes"
        )


def spec_of(
    given: Task | str | nn.Module | Callable[[], nn.Module],
    inputs: Any,
    targets: Any,
    options: Mapping[str, Any],
) -> Spec:
    """The race that is meant, tried on every size of batch.

    Args:
        given, inputs, targets: as for `task_of`.
        options: all of a race, from `completed`.

    Raises:
        UsageError: the task or an option cannot work.
    """
    own = {name: options[name] for name in _OF_A_MODEL}
    if inputs is not None:
        own |= {name: options[name] for name in ("batch_size", "epochs", "init")}
    task = task_of(given, inputs, targets, **own)
    changes = {name: options[name] for name in ("name", "order", "init")}
    task = replace(task, **{key: value for key, value in changes.items() if value is not None})
    examine(task)
    usual: dict[str, Any] = {name: getattr(task, name) for name in _OF_THE_TASK}
    regime = Regime(**{k: v if options[k] is None else options[k] for k, v in usual.items()})
    methods = _tried(entrants(options["optimizers"]), task)
    rates = rates_of(options["learning_rates"], methods)
    ranges = ranges_of(options["search"], methods)
    spec = Spec(
        task,
        methods,
        regime,
        budget=_budget(options["budget"], rates),
        seeds=options["seeds"],
        tune=_tuned(options["tune"], ranges),
        sampler=options["sampler"],
        rates=rates,
        ranges=ranges,
        fixed=Fixed(options["schedule"], options["warmup"], options["clip"]),
        prune=options["prune"],
        sizes=options["batch_size"] is None,
        seed=options["seed"],
    )
    examine_batches(
        task,
        spec.batch_sizes,
        drop_last=regime.drop_last,
        evaluated=evaluation_size(task, EVALUATED)[1],
    )
    return spec


def _tuned(
    tune: str | Sequence[str], ranges: Mapping[str, Mapping[str, object]]
) -> tuple[str, ...]:
    """The names of what is tuned: those that are given, and those that have a range."""
    named = (tune,) if isinstance(tune, str) else tuple(tune)
    ranged = dict.fromkeys(hyper for own in ranges.values() for hyper in own)
    return named if ALL in named else (*named, *(h for h in ranged if h not in ("lr", *named)))


def _tried(methods: Sequence[Method], task: Task) -> tuple[Method, ...]:
    """The methods, every optimizer class after a step on the task."""
    return tuple(tried(m, task) if isinstance(m, TorchMethod) else m for m in methods)


def _budget(budget: int, rates: Mapping[str, Sequence[float]]) -> int:
    """How many configurations each tries: the learning rates that are named, where they are."""
    if not rates:
        return budget
    count = len(next(iter(rates.values())))
    if budget not in (OPTIONS["budget"].default, count):
        raise UsageError(
            f"budget={budget}, but learning_rates names {count} of them; give one of the two"
        )
    return count


def _called(function: Any) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    return "model" if name == "<lambda>" else name
