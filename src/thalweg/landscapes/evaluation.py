"""The loss of a model at other weights, over all data."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import UsageError, known_name
from ..tasks import Task
from ..tasks.calling import ModelLoss, call, scores
from ..tasks.losses import LOSSES, MODEL
from ..tasks.trees import Tree, count, map_leaves, map_tensors, rows
from ..training.rng import Purpose, seeded
from .weights import check_initialized

Statistics = Literal["recomputed", "kept"]
Objective = Callable[[nn.Module, tuple[Tree, Tree]], Tensor]


class LossAt:
    """Evaluates a copy of a model, in evaluation mode, at any weights.

    The model itself is never written to. Draws of the model, if it makes any in evaluation mode,
    are the same at every point, and the caller's random state stays as it was.

    Args:
        model: is copied.
        loss: a name, "model", a function of (outputs, targets), or a task.
        data: (inputs, targets), or batches of such.
        batch_size: samples per pass, where the data are one pair.
        batch_norm: whether BatchNorm's statistics are recomputed at every point or kept.

    Raises:
        UsageError: an argument that cannot work.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: str | Callable[..., Any] | Task,
        data: Any,
        batch_size: int,
        batch_norm: Statistics,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise UsageError(f"model={model!r} is no torch.nn.Module")
        if batch_norm not in ("recomputed", "kept"):
            raise UsageError(f'batch_norm={batch_norm!r} must be "recomputed" or "kept"')
        check_initialized(model)
        try:
            self.model = copy.deepcopy(model).eval()
        except (RuntimeError, TypeError, NotImplementedError) as error:
            raise UsageError(
                f"the model cannot be copied: {error}; copy.deepcopy(model) must work"
            ) from error
        self.parameters = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise UsageError(
                "no parameter of the model requires gradients; model.requires_grad_(True) lets all "
                "weights vary"
            )
        self.objective = _objective(loss)
        self.batches = _batches(data, batch_size, next(iter(self.parameters.values())))
        self.norms = [
            module
            for module in self.model.modules()
            if batch_norm == "recomputed"
            and isinstance(module, _BatchNorm)
            and module.running_mean is not None
        ]

    def __call__(self, weights: Mapping[str, Tensor]) -> float:
        """The loss at these weights: the mean over all samples.

        Args:
            weights: for every parameter that requires gradients; of any device and dtype.
        """
        with torch.no_grad(), seeded(Purpose.MODEL, 0):
            for name, parameter in self.parameters.items():
                parameter.copy_(weights[name])
            if self.norms:
                self._recompute_statistics()
            total = samples = 0.0
            for batch in self.batches:
                size = count(batch[0])
                total += size * self._number(self.objective(self.model, batch))
                samples += size
        return total / samples

    def _recompute_statistics(self) -> None:
        """Give BatchNorm the mean and variance over all data, as `swa_utils.update_bn` does."""
        for module in self.norms:
            module.reset_running_stats()
            module.momentum = None  # a plain average over batches
            module.train()
        for inputs, _ in self.batches:
            call(self.model, inputs)
        for module in self.norms:
            module.eval()

    @staticmethod
    def _number(value: Any) -> float:
        if not isinstance(value, Tensor) or value.numel() != 1 or value.is_complex():
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise UsageError(f"the loss of a batch is {shape}; it must be one number, the mean")
        return float(value)


def _objective(loss: str | Callable[..., Any] | Task) -> Objective:
    """A loss as a function of the model and a batch."""
    if isinstance(loss, Task):
        return lambda model, batch: loss.objective(model, *batch)
    if isinstance(loss, str):
        name = known_name("loss", loss, [*LOSSES, MODEL])
        if name == MODEL:
            return ModelLoss()
        function = LOSSES[name][0]
        return lambda model, batch: function(scores(call(model, batch[0])), batch[1])
    if not callable(loss):
        raise UsageError(
            f"loss={loss!r} must be a name, as cross_entropy, a function of (outputs, targets) or "
            "a task"
        )
    return lambda model, batch: loss(call(model, batch[0]), batch[1])


def _batches(data: Any, batch_size: int, like: Tensor) -> list[tuple[Tree, Tree]]:
    """The data in batches on the model's device; read once, so that every point sees the same."""
    if _is_pair(data):
        inputs, targets = (map_leaves(lambda v: _tensor(v, like), part) for part in data)
        if not (size := count(inputs)) or size != count(targets):
            raise UsageError(
                f"data has {size} inputs and {count(targets)} targets; give as many of both, at "
                "least one"
            )
        parts = [slice(k, k + batch_size) for k in range(0, size, batch_size)]
        return [(rows(inputs, part), rows(targets, part)) for part in parts]
    if not isinstance(data, Iterable):
        raise UsageError(f"data={data!r} must be (inputs, targets) or batches of such")
    found = []
    for batch in data:
        if not _is_pair(batch):
            raise UsageError(f"data has a batch of {type(batch).__name__}, not (inputs, targets)")
        inputs, targets = (map_leaves(lambda v: _tensor(v, like), part) for part in batch)
        found.append((inputs, targets))
    if not found:
        raise UsageError("data has no batch")
    return found


def _is_pair(data: Any) -> bool:
    """Whether this is (inputs, targets), not a list of two batches."""
    return (
        isinstance(data, tuple | list)
        and len(data) == 2
        and isinstance(data[1], Tensor | np.ndarray | Mapping)
    )


def _tensor(value: Any, like: Tensor) -> Any:
    """Values on the device of the weights; arrays of NumPy's in their floating-point type too."""
    if isinstance(value, np.ndarray):
        made = torch.as_tensor(value)
        return made.to(like.device, like.dtype if made.is_floating_point() else made.dtype)
    return map_tensors(lambda tensor: tensor.to(like.device), value)
