"""The models of the built-in tasks, initialised from torch's global generator."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

ROTATION_SEED = 0


def mlp(*sizes: int) -> nn.Sequential:
    """Linear layers of these sizes, inputs first, with ReLU between; two sizes: linear model."""
    layers: list[nn.Module] = []
    for width, height in itertools.pairwise(sizes):
        layers += [nn.Linear(width, height), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def small_cnn() -> nn.Sequential:
    """Two 3×3 convolutions of 8 and 16 channels, each pooled by 2, and a linear layer.

    Takes (N, 1, 8, 8), gives the scores (N, 10) of ten classes.
    """
    return nn.Sequential(
        nn.Conv2d(1, 8, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 2 * 2, 10),
    )


class Quadratic(nn.Module):
    """f(x; ε) = ½ dᵀHd + ε·d with d = x − 1, so that a batch has the gradient Hd + mean(ε).

    The minimum lies at 1 in every coordinate: at 0 it would help whatever shrinks parameters, and
    draws around 0. The parameter x starts from a standard normal. The eigenvalues of H are spaced
    evenly in logarithm from 1/condition to 1.

    Args:
        dim: length of x.
        condition: the condition number of H.
        rotated: H = Q diag(eigenvalues) Qᵀ with a fixed random rotation Q; else H is diagonal.
    """

    eigenvalues: Tensor
    rotation: Tensor | None

    def __init__(self, dim: int, condition: float, rotated: bool = False) -> None:
        super().__init__()
        self.dim, self.condition, self.rotated = dim, condition, rotated
        self.x = nn.Parameter(torch.randn(dim))
        spectrum = torch.logspace(-math.log10(condition), 0, dim, dtype=torch.float64)
        self.register_buffer("eigenvalues", spectrum.to(self.x.dtype))
        self.register_buffer("rotation", _rotation(dim).to(self.x.dtype) if rotated else None)

    def extra_repr(self) -> str:
        """What the model's repr shows, and its task's fingerprint covers."""
        return f"dim={self.dim}, condition={self.condition:g}, rotated={self.rotated}"

    def forward(self, noise: Tensor) -> Tensor:
        """The losses (N,) of the noise vectors ε, shape (N, dim)."""
        away = self.x - 1
        y = away if self.rotation is None else away @ self.rotation
        return 0.5 * (self.eigenvalues * y.square()).sum() + noise @ away


def _rotation(dim: int) -> Tensor:
    generator = torch.Generator().manual_seed(ROTATION_SEED)
    return torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64, generator=generator)).Q
