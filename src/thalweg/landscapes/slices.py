"""`tw.landscape`: a model's loss over a plane through its weights, and training paths in it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import track
from torch import nn

from ..atomic import replacing
from ..errors import UsageError
from ..plotting import FORMATS, check_file, save
from ..surfaces.arguments import finite, whole
from ..tasks import Task
from .directions import Array, Plane, Projection, principal_plane, random_plane
from .evaluation import LossAt, Statistics
from .weights import Point, WeightPath, is_finite, read_paths

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ARRAYS = ".npz"
_MARGIN = 0.2  # of the paths' extent, shown around them


@dataclass(frozen=True, eq=False)
class PlanePath:
    """A training path, projected into the plane of a landscape.

    Attributes:
        name: of the path.
        steps: the numbers of the steps after which weights were recorded, of shape (n,).
        points: (alpha, beta) of each, of shape (n, 2).
        distances: of the recorded weights from the plane, of shape (n,), in the unit of alpha.
        losses: at the recorded weights, of shape (n,).
        plane_losses: at their projections, of shape (n,): what the map shows in their place.
        diverged_at: the step at which training diverged, or whose weights or loss are the first
            that are not finite; the path ends before it. None if there is no such step.
    """

    name: str
    steps: Array
    points: Array
    distances: Array
    losses: Array
    plane_losses: Array
    diverged_at: int | None = None


@dataclass(frozen=True, eq=False)
class Landscape:
    """A model's loss over a plane in the space of its weights.

    Attributes:
        alphas: of the grid's columns, of shape (columns,).
        betas: of its rows, of shape (rows,).
        losses: of shape (rows, columns); `losses[i, j]` is the loss at `alphas[j]`, `betas[i]`.
        plane: centre and directions.
        paths: by name, the training paths; empty where directions are random.
        explained: the shares of the paths' variance along alpha and beta; None without paths.
        batch_norm: whether BatchNorm's statistics were recomputed at every point, or kept.
    """

    alphas: Array
    betas: Array
    losses: Array
    plane: Plane = field(repr=False)
    paths: Mapping[str, PlanePath]
    explained: tuple[float, float] | None
    batch_norm: Statistics

    def plot(self, ax: Axes | None = None) -> Axes:
        """The loss over the plane as contours, with the paths.

        Args:
            ax: where to draw; Axes of a new figure if None.

        Returns:
            The Axes.

        Raises:
            MissingPackage: matplotlib is not installed.
        """
        from .figures import contours

        return contours(self, ax)

    def figure(self) -> Figure:
        """The map, and beside it the losses of the paths: at their weights and in the plane.

        Raises:
            MissingPackage: matplotlib is not installed.
        """
        from .figures import figure

        return figure(self)

    def save(self, file: str | os.PathLike[str]) -> Path:
        """Write the figure, or the arrays as a .npz; a file of that name is replaced whole.

        Args:
            file: where to; the ending (.png, .svg, .pdf, .npz) says what.

        Returns:
            The file's path.

        Raises:
            UsageError: the ending is none of these, or no file can be made there.
        """
        path = check_file(file, "file", (*FORMATS, ARRAYS))
        if path.suffix.lower() != ARRAYS:
            return save(self.figure(), path)
        with replacing(path) as draft, draft.open("xb") as stream:
            np.savez_compressed(stream, **self._arrays())
        return path

    def _arrays(self) -> dict[str, Any]:
        arrays: dict[str, Any] = {
            "alphas": self.alphas,
            "betas": self.betas,
            "losses": self.losses,
            "explained": np.array(self.explained or ()),
        }
        for name, path in self.paths.items():
            for part in ("steps", "points", "distances", "losses", "plane_losses"):
                arrays[f"{name}/{part}"] = getattr(path, part)
        return arrays

    def __str__(self) -> str:
        size = f"{len(self.alphas)} × {len(self.betas)} losses"
        known = self.losses[np.isfinite(self.losses)]
        span = f", from {known.min():.4g} to {known.max():.4g}" if known.size else ", none finite"
        if self.explained is None:
            return f"{size} along two random directions{span}"
        share = sum(self.explained)
        lines = [f"{size} in the plane of {share:.1%} of the paths' variance{span}"]
        for path in self.paths.values():
            ended = "" if path.diverged_at is None else f", diverged at step {path.diverged_at}"
            lines.append(
                f"{path.name}: ends at loss {path.losses[-1]:.4g}; "
                f"{path.plane_losses[-1]:.4g} at its place in the plane{ended}"
            )
        return "\n".join(lines)


def landscape(
    model: nn.Module,
    loss: str | Callable[..., Any] | Task,
    data: Any,
    *,
    paths: WeightPath | Mapping[str, WeightPath | Sequence[Point]] | None = None,
    size: int = 25,
    span: float = 1.0,
    seed: int = 0,
    batch_size: int = 4096,
    batch_norm: Statistics = "recomputed",
) -> Landscape:
    """A model's loss over a plane through its weights: random directions, or that of its training.

    Without `paths` the plane goes through the model's weights along two random directions, each of
    whose filters has the length of the weights' own filter; biases and parameters of normalization
    do not vary. With `paths` it is the plane of the first two principal components of all recorded
    weights, through the mean of the paths' last ones; all parameters that require gradients count.

    The model is copied: its weights, buffers and modes and all random states stay as they are. The
    copy is in evaluation mode, so dropout passes all.

    Args:
        model: whose layers, device and number format count; without paths its weights too.
        loss: a name, as in `tw.Task`, "model" for one that computes its own, a function of
            (outputs, targets) that returns the mean over a batch, or a task, whose loss is meant.
        data: (inputs, targets), arrays or tensors; or batches of such, as a DataLoader, which is
            read once. They are held on the model's device.
        paths: weights recorded in training, by the names of optimizers.
        size: points of the grid along each direction.
        span: without paths, how far the grid reaches either way, in lengths of the weights.
        seed: of the random directions.
        batch_size: samples per pass, where data is one pair.
        batch_norm: "recomputed" gives BatchNorm the statistics of the data at every point, as
            training does; "kept" leaves those that the model has, which belong to its own
            weights alone.

    Returns:
        The losses, the paths in the plane, and how much of them the plane does not show.

    Raises:
        UsageError: an argument that cannot work; paths that lie on a line.

    Source: Li, Xu, Taylor, Studer & Goldstein (2018). Visualizing the loss landscape of neural
    nets. arXiv:1712.09913.
    """
    size, seed = whole("size", size, 3, 1001), whole("seed", seed, 0, 2**64 - 1)
    if not finite("span", span) > 0:
        raise UsageError(f"span={span!r} must be above 0")
    loss_at = LossAt(model, loss, data, whole("batch_size", batch_size, 1, 2**62), batch_norm)
    recorded = read_paths(paths, loss_at.parameters)
    if not recorded:
        plane = random_plane(loss_at.model, loss_at.parameters, seed)
        axis = np.linspace(-span, span, size)
        return Landscape(axis, axis, _grid(loss_at, plane, axis, axis), plane, {}, None, batch_norm)
    alive = {name: _finite_part(loss_at, name, *path) for name, path in recorded.items()}
    projection = _project(alive, loss_at)
    drawn = _place(alive, projection, loss_at)
    alphas, betas = (_axis(values, size) for values in projection.coordinates.T)
    losses = _grid(loss_at, projection.plane, alphas, betas)
    explained = projection.explained
    return Landscape(alphas, betas, losses, projection.plane, drawn, explained, batch_norm)


@dataclass(frozen=True, eq=False)
class _Recorded:
    """The finite part of a path: its points, their steps and losses, and where it diverged."""

    points: list[Point]
    steps: list[int]
    losses: list[float]
    diverged_at: int | None


def _finite_part(
    loss_at: LossAt, name: str, points: list[Point], steps: list[int], diverged_at: int | None
) -> _Recorded:
    losses: list[float] = []
    names = list(loss_at.parameters)
    for point, step in zip(points, steps, strict=True):
        value = loss_at(point) if is_finite(point, names) else np.nan
        if not np.isfinite(value):
            if not losses:
                raise UsageError(f"paths[{name!r}] begins at weights whose loss is not finite")
            return _Recorded(points[: len(losses)], steps[: len(losses)], losses, step)
        losses.append(value)
    return _Recorded(points, steps, losses, diverged_at)


def _project(alive: Mapping[str, _Recorded], loss_at: LossAt) -> Projection:
    """All points of all paths in their common plane, through the mean of the paths' ends."""
    points = [point for path in alive.values() for point in path.points]
    ends = np.cumsum([len(path.points) for path in alive.values()]) - 1
    return principal_plane(points, ends.tolist(), loss_at.parameters)


def _place(
    alive: Mapping[str, _Recorded], projection: Projection, loss_at: LossAt
) -> dict[str, PlanePath]:
    """Every path in the plane, with the loss at its projection."""
    found, first = {}, 0
    for name, path in alive.items():
        own = slice(first, first + len(path.points))
        first = own.stop
        places = projection.coordinates[own]
        seen = [loss_at(projection.plane.at(*map(float, place))) for place in places]
        found[name] = PlanePath(
            name,
            np.array(path.steps),
            places,
            projection.distances[own],
            np.array(path.losses),
            np.array(seen),
            path.diverged_at,
        )
    return found


def _axis(values: Array, size: int) -> Array:
    """Evenly spaced places that hold all values, with a margin."""
    low, high = float(values.min()), float(values.max())
    margin = _MARGIN * (high - low)
    return np.linspace(low - margin, high + margin, size)


def _grid(loss_at: LossAt, plane: Plane, alphas: Array, betas: Array) -> Array:
    """The loss at every point of a grid, of shape (rows, columns)."""
    places = _followed(list(product(betas.tolist(), alphas.tolist())))
    losses = [loss_at(plane.at(alpha, beta)) for beta, alpha in places]
    return np.array(losses).reshape(len(betas), len(alphas))


def _followed(places: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """The places, with a bar on the terminal that stderr is, if it is one."""
    console = Console(file=sys.stderr)
    quiet = not console.is_terminal
    yield from track(places, "losses", console=console, transient=True, disable=quiet)
