"""Training mode for a model some of whose layers stay in evaluation mode."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def still(model: nn.Module) -> tuple[str, ...]:
    """The modules that are in evaluation mode in a model that is in training mode itself.

    So a person says that normalization layers keep their statistics, and dropout passes all. A
    model that as a whole is in evaluation mode, as one loaded for use, has none.

    Args:
        model: as it was built, before anything changed its mode.
    """
    if not model.training:
        return ()
    return tuple(name for name, module in model.named_modules() if not module.training)


def train(model: nn.Module, still: Sequence[str]) -> nn.Module:
    """Put a model into training mode, but for these modules."""
    model.train()
    for name in still:
        model.get_submodule(name).training = False
    return model
