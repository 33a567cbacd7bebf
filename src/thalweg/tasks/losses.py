"""Losses and metrics: (outputs, targets) to one number, each fit for `torch.func.vmap`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional

from ..errors import UsageError, unknown
from .metric import Criterion as Criterion
from .metric import Metric


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the softmax of the scores: log Σⱼ exp(sⱼ − s_y).

    As `torch.nn.functional.cross_entropy`, at a third of its cost where the classes are few.

    Args:
        outputs: scores s of shape (N, classes); (N, …, classes) where every sample has several.
        targets: class numbers y of shape (N,), or (N, …).

    Returns:
        The mean over all targets.
    """
    outputs, targets = _rows(outputs, targets)
    return (outputs - outputs.gather(1, targets.unsqueeze(1))).logsumexp(1).mean()


def multiclass_hinge(outputs: Tensor, targets: Tensor) -> Tensor:
    """Multiclass hinge loss: the sum over the wrong classes j of max(0, sⱼ − s_y + 1).

    `torch.nn.functional.multi_margin_loss` is this divided by the number of classes, but has no
    batching rule, so that under vmap it falls back to a loop.

    Args:
        outputs: scores s of shape (N, classes).
        targets: class numbers y of shape (N,).

    Returns:
        The mean over the batch.

    Source: Weston & Watkins (1999). Support vector machines for multi-class pattern recognition.
    """
    right = targets.unsqueeze(1)
    margins = functional.relu(outputs - outputs.gather(1, right) + 1)
    return margins.scatter(1, right, 0.0).sum(1).mean()


def mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error.

    Args:
        outputs: predictions.
        targets: true values, of the same shape.

    Returns:
        The mean over all elements.

    Raises:
        UsageError: the shapes differ; broadcasting (N,) against (N, 1) would compare all pairs.
    """
    return functional.mse_loss(*_alike(outputs, targets))


def binary_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of logits.

    Args:
        outputs: logits.
        targets: 0 or 1, floating point, of the same shape.

    Returns:
        The mean over all elements.

    Raises:
        UsageError: the shapes differ.
    """
    return functional.binary_cross_entropy_with_logits(*_alike(outputs, targets))


def mae(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean absolute error: of predictions and true values of one shape, over all elements."""
    return functional.l1_loss(*_alike(outputs, targets))


def huber(outputs: Tensor, targets: Tensor) -> Tensor:
    """Huber's loss: half the squared error, linear beyond 1.

    Args:
        outputs: predictions.
        targets: true values, of the same shape.

    Returns:
        The mean over all elements.

    Source: Huber (1964). Robust estimation of a location parameter.
    """
    return functional.huber_loss(*_alike(outputs, targets))


def mean_output(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean of the outputs, for a model that computes its own loss per sample.

    Args:
        outputs: losses of shape (N,).
        targets: not used.
    """
    return outputs.mean()


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of samples whose highest score is at the right class.

    Args:
        outputs: scores of shape (N, classes); (N, …, classes) where every sample has several.
        targets: class numbers of shape (N,), or (N, …).
    """
    outputs, targets = _rows(outputs, targets)
    return (outputs.argmax(1) == targets).to(outputs.dtype).mean()


def binary_accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of samples on the right side of a logit of 0.

    Args:
        outputs: logits.
        targets: 0 or 1, of the same shape.

    Raises:
        UsageError: the shapes differ.
    """
    outputs, targets = _alike(outputs, targets)
    return ((outputs > 0) == (targets > 0.5)).to(outputs.dtype).mean()


def r_squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """Coefficient of determination: 1 − (residual sum of squares)/(total sum of squares).

    1 is perfect, 0 as good as the mean of the targets, and there is no lowest value.

    Args:
        outputs: predictions.
        targets: true values, of the same shape, not all equal.

    Raises:
        UsageError: the shapes differ.
    """
    outputs, targets = _alike(outputs, targets)
    return 1 - (targets - outputs).square().sum() / (targets - targets.mean()).square().sum()


# A loss has no scale of its own: 0.001 is nothing beside 2.3 and everything beside 1e-4. That a
# hundredth of it is too little to change an optimizer for is a choice, as the margins below are.
_OF_A_LOSS = 0.01

ACCURACY = Metric("accuracy", True, accuracy, margin=0.005)
BINARY_ACCURACY = Metric("accuracy", True, binary_accuracy, margin=0.01)
R_SQUARED = Metric("R²", True, r_squared, margin=0.01)
LOSS = Metric("loss", False, mean_output, margin=1e-6, relative_margin=_OF_A_LOSS)


def own_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Stands for the task's loss where a run is judged by that; it is never called."""
    raise TypeError("a metric that is the loss is taken from the loss")


OWN_LOSS = Metric("loss", False, own_loss, margin=0.0, relative_margin=_OF_A_LOSS)

LOSSES: dict[str, tuple[Criterion, str]] = {
    "cross_entropy": (cross_entropy, "classes"),
    "multiclass_hinge": (multiclass_hinge, "classes"),
    "binary_cross_entropy": (binary_cross_entropy, "binary"),
    "mse": (mse, "numbers"),
    "mae": (mae, "numbers"),
    "huber": (huber, "numbers"),
}
"""Losses by name, and what each wants targets to be."""

MODEL = "model"
"""Stands for the loss that a model computes itself."""

METRICS = {
    "accuracy": ACCURACY,
    "binary_accuracy": BINARY_ACCURACY,
    "r2": R_SQUARED,
    "mse": Metric("mean squared error", False, mse, margin=0.0, relative_margin=_OF_A_LOSS),
    "mae": Metric("mean absolute error", False, mae, margin=0.0, relative_margin=_OF_A_LOSS),
    "loss": OWN_LOSS,
}
"""Metrics by name."""

_USUAL = {"classes": ACCURACY, "binary": BINARY_ACCURACY, "numbers": R_SQUARED, None: OWN_LOSS}


_NAMED = [function for function, _ in LOSSES.values()] + [m.function for m in METRICS.values()]
_NUMBERS = frozenset(map(id, [*_NAMED, mean_output]))  # a person's own may have no hash


def is_named(function: Criterion) -> bool:
    """Whether this is a loss or metric known by name, which compares one tensor with another."""
    return id(function) in _NUMBERS


def loss(task: str, given: str | Criterion) -> tuple[Criterion, str | None]:
    """The loss that a name or function means, and what it wants targets to be, where known.

    Raises:
        UsageError: no loss has this name, or what is given is no function.
    """
    if isinstance(given, str):
        if given not in LOSSES:
            raise unknown(f"loss (of task {task!r})", given, [*LOSSES, MODEL])
        return LOSSES[given]
    if not callable(given):
        raise UsageError(
            f"task {task!r}: loss={given!r} is no function; give one that takes "
            "(outputs, targets) and returns the mean over the batch"
        )
    return given, next((kind for function, kind in LOSSES.values() if function is given), None)


def metric(
    task: str, given: str | Metric | Callable[..., Any] | None, kind: str | None
) -> tuple[Metric, str]:
    """The metric that is meant, and a note where something had to be assumed.

    Args:
        task: names the task in messages.
        given: a name, a metric, a function, or None for the usual one.
        kind: what the loss wants targets to be, if that is known.

    Raises:
        UsageError: no metric has this name, or what is given is none.
    """
    if given is None:
        return _USUAL[kind], ""
    if isinstance(given, Metric):
        return given, ""
    if isinstance(given, str):
        if given not in METRICS:
            raise unknown(f"metric (of task {task!r})", given, METRICS)
        two = given == "accuracy" and kind == "binary"
        return (BINARY_ACCURACY if two else METRICS[given]), ""
    if not callable(given):
        raise UsageError(
            f"task {task!r}: metric={given!r} is no Metric; "
            "write Metric(name, higher_is_better, function, margin)"
        )
    name = getattr(given, "__name__", type(given).__name__)
    note = (
        f"metric {name}: higher is taken to be better, and every difference to matter; "
        "write Metric(name, higher_is_better, function, margin) to say otherwise"
    )
    return Metric(name, True, given, margin=0.0), note


def metrics(
    task: str, one: Any, several: Any, kind: str | None
) -> tuple[tuple[Metric, ...], list[str]]:
    """The metrics that are meant, that which a run is judged by first, and notes on them.

    Args:
        task: names the task in messages.
        one: the metric, as for `metric`; None where `several` says it.
        several: a list of them, or one, or None.
        kind: as for `metric`.

    Raises:
        UsageError: one of them is none, two have one name, or both arguments are given.
    """
    alone = isinstance(several, str) or not isinstance(several, Sequence)
    given = [one] if several is None else [several] if alone else list(several)
    if not given:
        raise UsageError(f"task {task!r}: metrics=[] must name one at least, or be left out")
    # A task that is copied gives both, alike.
    if one is not None and given[0] is not one:
        raise UsageError(
            f"task {task!r}: metric and metrics are both given; give metrics=[…] alone, with the "
            "one that a run is judged by first"
        )
    found, notes = zip(*(metric(task, each, kind) for each in given), strict=True)
    names = [each.name for each in found]
    for position, each in enumerate(found):
        if each.name in names[:position]:
            raise UsageError(
                f"task {task!r}: metrics has two of the name {each.name!r}; give one of them "
                "another, as Metric(name, higher_is_better, function, margin)"
            )
        # Columns and curves are named validation_… and test_…: these two are taken.
        if position and (_taken(each)):
            raise UsageError(
                f"task {task!r}: metrics has one of the name {each.name!r}, which is taken; give "
                "it another, as Metric(name, higher_is_better, function, margin)"
            )
    return found, [note for note in notes if note]


def _taken(given: Metric) -> bool:
    return given.name == "metric" or (given.name == "loss" and given.function is not own_loss)


def _rows(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """A row of scores for every target, where a sample has several."""
    if outputs.ndim > 2 and outputs.shape[:-1] == targets.shape:
        return outputs.flatten(0, -2), targets.flatten()
    return outputs, targets


def _alike(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    if outputs.ndim == targets.ndim + 1 and outputs.shape == (*targets.shape, 1):
        return outputs, targets.unsqueeze(-1)
    if targets.ndim == outputs.ndim + 1 and targets.shape == (*outputs.shape, 1):
        return outputs.unsqueeze(-1), targets
    if outputs.shape != targets.shape:
        raise UsageError(
            f"outputs of shape {tuple(outputs.shape)} and targets of shape "
            f"{tuple(targets.shape)} must have the same shape; reshape the targets"
        )
    return outputs, targets
