"""Models for the tests of steps within the backward pass, and their loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def mlp() -> nn.Module:
    """A perceptron with a normalization, and a parameter that has no gradient."""
    model = nn.Sequential(nn.Linear(6, 9), nn.LayerNorm(9), nn.Tanh(), nn.Linear(9, 6))
    model.register_parameter("unused", nn.Parameter(torch.ones(3)))
    return model


class Tied(nn.Module):
    """Weights that are used twice, one of them transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 9), nn.Linear(6, 9)
        self.last.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(x)) @ self.first.weight)[:, :6]


class Sequences(nn.Module):
    """A transformer over a batch taken as one sequence."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(6, 2, 12, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.layers(x[None])[0]
        return output


class Checkpointed(nn.Module):
    """A perceptron whose middle is computed again in the backward pass."""

    def __init__(self, reentrant: bool = False, times: int = 1) -> None:
        super().__init__()
        self.inner, self.last = nn.Sequential(nn.Linear(6, 6), nn.Tanh()), nn.Linear(6, 6)
        self.reentrant, self.times = reentrant, times

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.times):
            x = checkpoint(self.inner, x, use_reentrant=self.reentrant)
        y: Tensor = self.last(x)
        return y


def plain_loss(model: nn.Module, x: Tensor) -> Tensor:
    loss: Tensor = (model(x) - x).square().mean()
    return loss
