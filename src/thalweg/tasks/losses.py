"""Losses and metrics: (outputs, targets) to one number, each fit for `torch.func.vmap`."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from ..errors import UsageError
from .task import Metric


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the softmax of the scores: log Σⱼ exp(sⱼ − s_y).

    As `torch.nn.functional.cross_entropy`, at a third of its cost where the classes are few.

    Args:
        outputs: scores s of shape (N, classes).
        targets: class numbers y of shape (N,).

    Returns:
        The mean over the batch.
    """
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
        outputs: scores of shape (N, classes).
        targets: class numbers of shape (N,).
    """
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


ACCURACY = Metric("accuracy", True, accuracy, margin=0.005)
BINARY_ACCURACY = Metric("accuracy", True, binary_accuracy, margin=0.01)
R_SQUARED = Metric("R²", True, r_squared, margin=0.01)
LOSS = Metric("loss", False, mean_output, margin=1e-6)


def _alike(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    if outputs.shape != targets.shape:
        raise UsageError(
            f"outputs of shape {tuple(outputs.shape)} and targets of shape "
            f"{tuple(targets.shape)} must have the same shape; reshape the targets"
        )
    return outputs, targets
