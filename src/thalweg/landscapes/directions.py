"""The plane of a slice: two directions in the space of a model's weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from ..errors import UsageError
from .weights import Point

Array = np.ndarray[Any, np.dtype[np.float64]]

_TINY = 1e-10  # added to norms that are divided by, as in the authors' code
_FLAT = 1e-12  # of the variance: less than this is rounding
_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@dataclass(frozen=True, eq=False)
class Plane:
    """A point and two directions.

    Attributes:
        centre: parameter name -> weights at (0, 0).
        directions: two of such, of one step along alpha and along beta.
    """

    centre: Mapping[str, Tensor]
    directions: tuple[Mapping[str, Tensor], Mapping[str, Tensor]]

    def at(self, alpha: float, beta: float) -> dict[str, Tensor]:
        """The weights at a point of the plane."""
        first, second = self.directions
        return {
            name: torch.add(value, first[name], alpha=alpha).add_(second[name], alpha=beta)
            for name, value in self.centre.items()
        }


def random_plane(model: nn.Module, parameters: Mapping[str, Tensor], seed: int) -> Plane:
    """Two random directions through a model's weights, normalized by filter.

    Every filter of a direction, a row of its first dimension, has the length of the weights' own
    filter. Biases, the parameters of normalization and all others of fewer than two dimensions do
    not vary.

    Args:
        model: whose layers tell normalization from the rest.
        parameters: those that may vary, by name.
        seed: of the draws, which are the same on every device.

    Raises:
        UsageError: no parameter varies.

    Source: Li, Xu, Taylor, Studer & Goldstein (2018). Visualizing the loss landscape of neural
    nets. arXiv:1712.09913, section 4.
    """
    fixed = {
        id(p) for layer in model.modules() if isinstance(layer, _NORMS) for p in layer.parameters()
    }
    generator = np.random.default_rng(seed)

    def direction() -> dict[str, Tensor]:
        found = {}
        for name, parameter in parameters.items():
            weights = parameter.detach()
            drawn = torch.from_numpy(generator.standard_normal(tuple(weights.shape)))
            if weights.ndim < 2 or id(parameter) in fixed:
                drawn.zero_()
            else:
                own = weights.double().cpu().flatten(1).norm(dim=1)
                scale = own / (drawn.flatten(1).norm(dim=1) + _TINY)
                drawn *= scale.view(-1, *[1] * (weights.ndim - 1))
            found[name] = drawn.to(weights.device, _working(weights))
        return found

    centre = {n: p.detach().to(_working(p), copy=True) for n, p in parameters.items()}
    plane = Plane(centre, (direction(), direction()))
    if not any(bool(value.any()) for value in plane.directions[0].values()):
        raise UsageError(
            "no weight of the model can vary: all are 0, have fewer than two dimensions or belong "
            "to normalization; give paths=… for the plane of a training path"
        )
    return plane


@dataclass(frozen=True, eq=False)
class Projection:
    """Points in the plane that holds most of their variance.

    Attributes:
        plane: the plane.
        coordinates: of every point in it, of shape (points, 2).
        distances: of every point from it, of shape (points,).
        explained: the share of the points' variance along alpha and along beta.
    """

    plane: Plane
    coordinates: Array
    distances: Array
    explained: tuple[float, float]


def principal_plane(
    points: Sequence[Point], ends: Sequence[int], parameters: Mapping[str, Tensor]
) -> Projection:
    """The plane of the first two principal components of points, through the mean of some of them.

    Both directions have length 1, and the first point lies at alpha ≤ 0 and beta ≤ 0. The
    components are computed from the inner products of the points, one parameter at a time.

    Args:
        points: weights by parameter name.
        ends: the numbers of the points whose mean is (0, 0).
        parameters: those that count, by name.

    Raises:
        UsageError: the points lie on a line.
    """
    products = np.zeros((len(points), len(points)))
    for name in parameters:
        offsets = _offsets(points, name)
        products += (offsets @ offsets.T).numpy()
    middle = np.zeros(len(points))
    middle[list(ends)] = 1 / len(ends)
    centring = np.eye(len(points)) - 1 / len(points)
    variances, vectors = np.linalg.eigh(centring @ products @ centring)
    variances, vectors = variances[::-1], vectors[:, ::-1]
    if len(points) < 3 or not variances[1] > _FLAT * variances[0]:
        raise UsageError(
            "the weights of paths lie on a line, which no plane is spanned by; record more steps, "
            "or leave paths out for random directions"
        )
    mixes = (centring @ vectors[:, :2]) / np.sqrt(variances[:2])
    coordinates = products @ mixes - middle @ products @ mixes
    signs = np.where(coordinates[0] > 0, -1.0, 1.0)
    mixes, coordinates = mixes * signs, coordinates * signs
    squares = np.diag(products) - 2 * products @ middle + middle @ products @ middle
    distances = np.sqrt(np.maximum(squares - (coordinates**2).sum(axis=1), 0.0))
    plane = _mixed(points, middle, mixes, parameters)
    shares = variances[:2] / np.trace(centring @ products @ centring)
    return Projection(plane, coordinates, distances, (float(shares[0]), float(shares[1])))


def _mixed(
    points: Sequence[Point], middle: Array, mixes: Array, parameters: Mapping[str, Tensor]
) -> Plane:
    """The plane whose centre and directions are these combinations of the points."""
    centre: dict[str, Tensor] = {}
    first: dict[str, Tensor] = {}
    second: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        offsets = _offsets(points, name)
        start = points[0][name].double().cpu().flatten()
        made = [start + torch.from_numpy(middle) @ offsets]
        made += [torch.from_numpy(np.ascontiguousarray(mix)) @ offsets for mix in mixes.T]
        for place, value in zip((centre, first, second), made, strict=True):
            shaped = value.view(parameter.shape)
            place[name] = shaped.to(parameter.device, _working(parameter))
    return Plane(centre, (first, second))


def _offsets(points: Sequence[Point], name: str) -> Tensor:
    """One parameter of all points less that of the first, in float64, of shape (points, size)."""
    stacked = torch.stack([point[name].double().cpu().flatten() for point in points])
    return stacked - stacked[0].clone()


def _working(parameter: Tensor) -> torch.dtype:
    """The type to compute weights in: float32 where the model's own has fewer digits."""
    return torch.promote_types(parameter.dtype, torch.float32)
