"""The weights that a model had along its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..errors import UsageError
from ..surfaces.arguments import whole

Point = Mapping[str, Tensor]


class WeightPath:
    """Records the weights of a model as it trains; the first ones when this is made.

    Every record is a copy of all parameters in the memory of the processor: of large models record
    a few dozen steps. Buffers, as BatchNorm's statistics, are not recorded.

    Args:
        model: as it is before the first step.

    Attributes:
        points: parameter name -> weights, one such dict per record.
        steps: the number of the step after which each was recorded, from 0.
        diverged_at: the step at which training diverged; None until the caller sets it.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.points: list[Point] = []
        self.steps: list[int] = []
        self.diverged_at: int | None = None
        self.record(0)

    def record(self, step: int | None = None) -> None:
        """Record the weights that the model has now.

        Args:
            step: how many steps were taken; one more than at the last record if None.

        Raises:
            UsageError: the step is no whole number above that of the last record.
        """
        check_initialized(self.model)
        least = self.steps[-1] + 1 if self.steps else 0
        step = least if step is None else whole("step", step, least, 2**63)
        self.points.append(
            {name: p.detach().to("cpu", copy=True) for name, p in self.model.named_parameters()}
        )
        self.steps.append(step)


def check_initialized(model: nn.Module) -> None:
    """Refuse a model whose lazy layers have no weights yet.

    Raises:
        UsageError: it has such layers.
    """
    if any(is_lazy(parameter) for parameter in model.parameters()):
        raise UsageError("the model has lazy layers without weights; call it on a batch first")


def read_paths(
    given: WeightPath | Mapping[str, WeightPath | Sequence[Point]] | None,
    wanted: Mapping[str, Tensor],
) -> dict[str, tuple[list[Point], list[int], int | None]]:
    """The points and step numbers of every path and where it diverged, checked against a model.

    Args:
        given: a recorded path, or several by name; a list of state dicts counts as a path too.
        wanted: the parameters that every point must have.

    Raises:
        UsageError: a path is none, is empty, or is of another model.
    """
    if given is None:
        return {}
    several = {"path": given} if isinstance(given, WeightPath) else given
    if not isinstance(several, Mapping) or not several:
        raise UsageError(
            f"paths={given!r} must be a tw.WeightPath, or a dict of name to path or to a list of "
            "state dicts"
        )
    found = {}
    for name, path in several.items():
        points = path.points if isinstance(path, WeightPath) else path
        if not isinstance(points, Sequence) or not all(isinstance(p, Mapping) for p in points):
            raise UsageError(
                f"paths[{name!r}]={path!r} is neither a tw.WeightPath nor a list of state dicts"
            )
        if not points:
            raise UsageError(f"paths[{name!r}] is empty; record weights as the model trains")
        for k, point in enumerate(points):
            _check(f"paths[{name!r}][{k}]", point, wanted)
        if isinstance(path, WeightPath):
            found[str(name)] = (list(points), path.steps, path.diverged_at)
        else:
            found[str(name)] = (list(points), list(range(len(points))), None)
    return found


def _check(what: str, point: Point, wanted: Mapping[str, Tensor]) -> None:
    for name, parameter in wanted.items():
        value = point.get(name)
        if not isinstance(value, Tensor):
            raise UsageError(f"{what} has no parameter {name!r}, which the model trains")
        if value.shape != parameter.shape:
            raise UsageError(
                f"{what}: {name!r} has shape {tuple(value.shape)}, but {tuple(parameter.shape)} in "
                "the model; give the model that the path was recorded of"
            )


def is_finite(point: Point, names: Sequence[str]) -> bool:
    """Whether all weights of a point are finite."""
    return all(bool(torch.isfinite(point[name]).all()) for name in names)
