"""A surface: one formula f(x, y), its known minima and saddle points, and its starts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..errors import UsageError, known_name
from ..formula.derivatives import differentiate
from ..rules import RuleError

if TYPE_CHECKING:
    from ..program import Program

Formula = Callable[[Any, Any], Any]
Point = tuple[float, float]
View = tuple[float, float, float, float]


@dataclass(frozen=True)
class Surface:
    """A function of two variables to descend on.

    Made by the decorator `surface`, or by `Surface.of` from any function of your own.

    Attributes:
        name: lower case, with hyphens.
        formula: f(x, y) in arithmetic and `thalweg.ops`, so that it works on Python floats,
            NumPy arrays and torch tensors alike, element by element.
        view: the part to draw: (x_low, x_high, y_low, y_high).
        minima: known points (x, y) of the lowest value; empty if there is none.
        starts: points to start from; the first is the default.
        saddles: known saddle points; not always all of them.
        bounded: whether the value has a lower bound. Without one, a descent ends where it leaves
            the view.
        title: one line.
    """

    name: str
    formula: Formula
    view: View
    minima: tuple[Point, ...] = ()
    starts: tuple[Point, ...] = ()
    saddles: tuple[Point, ...] = ()
    bounded: bool = True
    title: str = ""

    def __post_init__(self) -> None:
        low_x, high_x, low_y, high_y = _numbers("view", self.view, 4)
        if not (low_x < high_x and low_y < high_y):
            raise UsageError(
                f"view={self.view!r} is empty; give (x_low, x_high, y_low, y_high) with low < high"
            )
        for argument in ("minima", "starts", "saddles"):
            for point in getattr(self, argument):
                _numbers(argument, point, 2)
        if not self.starts:
            raise UsageError(f"surface {self.name!r} needs a start (x, y)")

    @classmethod
    def of(
        cls,
        formula: Formula,
        *,
        name: str | None = None,
        view: View = (-5.0, 5.0, -5.0, 5.0),
        start: Point | None = None,
        minima: Iterable[Point] = (),
        bounded: bool = True,
    ) -> Surface:
        """A surface from any function f(x, y) written in arithmetic and `thalweg.ops`.

        Args:
            formula: the function.
            name: its own name if None.
            view: (x_low, x_high, y_low, y_high).
            start: where to start from; a point near the view's upper left corner if None.
            minima: the places of the lowest value, where known.
            bounded: False if it falls without end.

        Raises:
            UsageError: the view is empty or a number is not finite.
        """
        left, right, bottom, top = _numbers("view", view, 4)
        if start is None:
            start = (left + 0.15 * (right - left), top - 0.2 * (top - bottom))
        return cls(
            name=name or getattr(formula, "__name__", "surface").strip("<>"),
            formula=formula,
            view=(left, right, bottom, top),
            minima=tuple((float(x), float(y)) for x, y in minima),
            starts=(start,),
            bounded=bounded,
            title=(formula.__doc__ or "").strip().partition("\n")[0],
        )

    def __call__(self, x: Any, y: Any) -> Any:
        """The value at (x, y): floats, NumPy arrays or torch tensors, element by element."""
        return self.formula(x, y)

    @property
    def minimum(self) -> float | None:
        """The lowest value; None if no place of it is known."""
        return float(self.formula(*self.minima[0])) if self.minima else None

    def value_and_gradient(self, x: Any, y: Any) -> tuple[Any, Any]:
        """The value and the gradient in float64.

        They are computed by the program of the formula and its derivatives, as
        `formula.derivatives` records it. A formula that uses torch's own functions is
        differentiated by torch.

        Args:
            x, y: numbers or arrays that broadcast against each other to a shape S.

        Returns:
            The values, a float64 array of shape S, and the gradients, of shape (2, *S).

        Raises:
            UsageError: the formula cannot be differentiated; the message says what it may use.
        """
        import numpy as np

        program = self._program(1)
        if program is not None:
            from .derivatives import evaluate

            value, *slopes = evaluate(program, x, y)
            return value, np.stack(slopes)
        import torch

        point = self._leaves(x, y)
        value = self._differentiable(point)
        gradient = torch.autograd.grad(value.sum(), point, materialize_grads=True)
        return value.detach().numpy(), torch.stack(gradient).numpy()

    def gradient(self, x: Any, y: Any) -> Any:
        """(∂f/∂x, ∂f/∂y) in float64, of shape (2, *S); see `value_and_gradient`."""
        return self.value_and_gradient(x, y)[1]

    def hessian(self, x: Any, y: Any) -> Any:
        """The second derivatives in float64, of shape (2, 2, *S); see `value_and_gradient`."""
        import numpy as np

        program = self._program(2)
        if program is not None:
            from .derivatives import evaluate

            xx, xy, yy = evaluate(program, x, y)[3:]
            return np.array([[xx, xy], [xy, yy]])
        import torch

        point = self._leaves(x, y)
        gradient = torch.autograd.grad(
            self._differentiable(point).sum(), point, create_graph=True, materialize_grads=True
        )
        rows = [
            torch.stack(
                torch.autograd.grad(g.sum(), point, retain_graph=True, materialize_grads=True)
                if g.requires_grad
                else [torch.zeros_like(p) for p in point]
            )
            for g in gradient
        ]
        return torch.stack(rows).detach().numpy()

    def _program(self, order: int) -> Program | None:
        """The program of the formula and its derivatives; None if only torch can follow it."""
        try:
            return _differentiated(self.formula, order, name=self.name)
        except (RuleError, TypeError):  # TypeError: an object with __call__ that cannot be hashed
            return None

    def _leaves(self, x: Any, y: Any) -> list[Any]:
        """x and y as float64 tensors of one shape that gradients are wanted of."""
        import numpy as np
        import torch

        pair = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        return [torch.from_numpy(c.copy()).requires_grad_() for c in pair]

    def _differentiable(self, point: list[Any]) -> Any:
        import torch

        try:
            value = self.formula(*point)
            if not (isinstance(value, torch.Tensor) and value.requires_grad):
                raise TypeError("the value does not depend on x or y in a way torch can follow")
            if value.shape != point[0].shape:
                raise TypeError(f"it gave shape {tuple(value.shape)} for {tuple(point[0].shape)}")
        except (TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise UsageError(
                f"surface {self.name!r} cannot be differentiated: {error}; write it with "
                "arithmetic and thalweg.ops (ops.sin, ops.where, …), element by element"
            ) from error
        return value


def surface(
    *,
    view: View,
    starts: Iterable[Point],
    minima: Iterable[Point] = (),
    saddles: Iterable[Point] = (),
    bounded: bool = True,
) -> Callable[[Formula], Surface]:
    """Make a built-in surface of a formula f(x, y): its name and docstring become the surface's.

    Args:
        view, starts, minima, saddles, bounded: what is known of it; see `Surface`.
    """

    def make(formula: Formula) -> Surface:
        made = Surface(
            name=formula.__name__.replace("_", "-"),
            formula=formula,
            view=view,
            minima=tuple(minima),
            starts=tuple(starts),
            saddles=tuple(saddles),
            bounded=bounded,
            title=(formula.__doc__ or "").partition("\n")[0],
        )
        _REGISTRY[made.name] = made
        return made

    return make


def find(name: str) -> Surface:
    """The built-in surface of this name; case, spaces and underscores do not matter.

    Raises:
        UsageError: there is none; the message names the nearest ones.
    """
    return _REGISTRY[known_name("surface", name, _REGISTRY)]


def registry() -> Mapping[str, Surface]:
    """All built-in surfaces by name, from the plain bowl to the deceptive ones."""
    return dict(_REGISTRY)


_REGISTRY: dict[str, Surface] = {}

_differentiated = lru_cache(maxsize=256)(differentiate)


def _numbers(argument: str, values: Iterable[float], count: int) -> list[float]:
    """The values as floats, if there are `count` of them and all are finite."""
    try:
        numbers = [float(v) for v in values]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise UsageError(f"{argument}={values!r} is not {count} finite numbers")
    return numbers
