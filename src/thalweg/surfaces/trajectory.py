"""Rules walking down a surface together: same start, same steps, same noise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from ..rules import Rule, RuleError
from ..rules.core import place
from .arguments import CANDIDATES, finite, point_of, rules_of, settings, surface_of, whole
from .surface import Surface

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FAR = 20.0
"""A path has diverged where it leaves a box this many times as large as the view."""

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, eq=False)
class Path:
    """The path of one rule.

    Attributes:
        rule: the rule.
        hyper: the hyperparameters it ran with, learning rate included.
        points: (x, y) before the first and after every step, of shape (steps + 1, 2); NaN after
            the path has ended.
        losses: the surface's values there, of shape (steps + 1,).
        distances: to the nearest known minimum, of shape (steps + 1,); None if none is known.
        diverged_at: the step at which the path ended early, because it was no longer finite or
            had left the surface's neighbourhood; None if it took all its steps.
        searched: whether the learning rate was chosen here, not given.
        at_edge: whether that choice lies on the edge of the range that was searched.
    """

    rule: Rule
    hyper: Mapping[str, float]
    points: Array
    losses: Array
    distances: Array | None
    diverged_at: int | None
    searched: bool = False
    at_edge: bool = False

    @property
    def name(self) -> str:
        """The rule's name."""
        return self.rule.name

    @property
    def lr(self) -> float | None:
        """The learning rate; None if the rule has none."""
        return self.hyper.get("lr")

    @property
    def final_loss(self) -> float:
        """The loss at the last point with a finite one."""
        return float(self.losses[self._last])

    @property
    def distance(self) -> float | None:
        """How far that point is from the nearest known minimum; None if none is known."""
        return None if self.distances is None else float(self.distances[self._last])

    @property
    def _last(self) -> int:
        return int(np.flatnonzero(np.isfinite(self.losses))[-1])


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The paths of several rules over one surface; shown as a table.

    Attributes:
        surface: the surface.
        start: (x, y), common to all paths.
        steps: how many steps each was to take.
        noise: the standard deviation of the noise added to both parts of every gradient.
        seed: the noise's seed; step t has the same noise for every rule.
        paths: rule name -> path, in the order asked for.
    """

    surface: Surface
    start: tuple[float, float]
    steps: int
    noise: float
    seed: int
    paths: Mapping[str, Path] = field(repr=False)

    def __getitem__(self, name: str) -> Path:
        return self.paths[name]

    @property
    def header(self) -> str:
        """Surface, start, steps and noise, in one line."""
        x, y = self.start
        noise = f", gradient noise {self.noise:g} (seed {self.seed})" if self.noise else ""
        return f"{self.surface.name} from ({x:g}, {y:g}), {self.steps} steps{noise}"

    @property
    def note(self) -> str:
        """How the learning rates were chosen; empty if all were given."""
        chosen = [p for p in self.paths.values() if p.searched]
        if not chosen:
            return ""
        edge = [p.name for p in chosen if p.at_edge]
        return (
            f"learning rate{'s' if len(chosen) > 1 else ''} of {', '.join(p.name for p in chosen)}:"
            f" {CANDIDATES} tried for each, lowest final loss taken, paths inside the view first"
            + (f"; on the edge of the searched range: {', '.join(edge)}" if edge else "")
        )

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """The table: optimizer, learning rate, final loss, distance to minimum, outcome."""
        return [
            (
                path.name,
                "-" if path.lr is None else f"{path.lr:.3g}",
                f"{path.final_loss:.6g}",
                "-" if path.distance is None else f"{path.distance:.3g}",
                self.outcome(path),
            )
            for path in self.paths.values()
        ]

    def outcome(self, path: Path) -> str:
        """How a path ended, where that was before its last step; else empty."""
        if path.diverged_at is None:
            return ""
        verb = "diverged" if self.surface.bounded else "left the view"
        return f"{verb} at step {path.diverged_at}"

    def plot(self, ax: Axes | None = None) -> Axes:
        """The paths over the surface's contours, or on the surface where the Axes have depth.

        Args:
            ax: where to draw; Axes of a new figure if None. On those made with
                `projection="3d"` the surface is drawn in three dimensions.

        Returns:
            The Axes.

        Raises:
            MissingPackage: matplotlib is not installed.
        """
        from .figures import contours, relief

        return relief(self, ax) if ax is not None and ax.name == "3d" else contours(self, ax)

    def __str__(self) -> str:
        table = [_COLUMNS, *self.rows()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(f"{c:<{w}}" for c, w in zip(r, widths, strict=True)) for r in table]
        return "\n".join(line.rstrip() for line in [self.header, *lines, self.note] if line)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{c}</th>" for c in _COLUMNS)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in self.rows()
        )
        return (
            f"<table><caption>{escape(self.header)}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table><p>{escape(self.note)}</p>"
        )


_COLUMNS = ("optimizer", "learning rate", "final loss", "distance to minimum", "")


def trajectory(
    rules: str | Rule | Iterable[str | Rule],
    surface: str | Surface | Callable[[Any, Any], Any],
    start: tuple[float, float] | None = None,
    steps: int = 100,
    *,
    lr: float | Mapping[str, float] | None = None,
    noise: float = 0.0,
    seed: int = 0,
    **hyper: float,
) -> Trajectory:
    """Let rules walk down a surface from the same start with the same noise, in float64.

    Each rule is called as it stands, on its formula's own terms. A rule that is given no
    learning rate gets the one of `CANDIDATES` that has the lowest loss after the last step and
    never left the view; every rule has as many to choose from, spread over the range that
    belongs to the rule and three decades more on either side.

    Args:
        rules: names, or rules of your own; one or several.
        surface: a name, a surface, or any f(x, y) written in arithmetic and `thalweg.ops`.
        start: (x, y); the surface's first start if None.
        steps: how many steps to take, at most 100,000.
        lr: one learning rate for all, or one per rule name; rules without one are searched.
        noise: standard deviation of Gaussian noise added to both parts of every gradient.
        seed: the noise's seed.
        **hyper: other hyperparameters, given to every rule that has them.

    Returns:
        The paths. One that diverges ends there and says so; nothing is raised.

    Raises:
        UsageError: an argument that cannot work.
        RuleError: a rule of your own that cannot work.
    """
    chosen = rules_of(rules)
    terrain = surface_of(surface)
    origin = point_of(start if start is not None else terrain.starts[0])
    steps, seed = whole("steps", steps, 1, 100_000), whole("seed", seed, 0, 2**64 - 1)
    if (noise := finite("noise", noise)) < 0:
        raise UsageError(f"noise={noise!r} is a standard deviation; give 0 or more")
    candidates = settings(chosen, lr, hyper)

    lanes = [(rule, setting) for rule in chosen for setting in candidates[rule.name]]
    noises = noise * np.random.default_rng(seed).standard_normal((steps, 2))
    walked = iter(_walk(lanes, terrain, origin, noises))
    paths = {
        rule.name: _best([next(walked) for _ in candidates[rule.name]], terrain, origin)
        for rule in chosen
    }
    return Trajectory(terrain, origin, steps, noise, seed, paths)


def _walk(
    lanes: Sequence[tuple[Rule, Mapping[str, float]]],
    surface: Surface,
    start: tuple[float, float],
    noises: Array,
) -> list[Path]:
    """All lanes in step; the gradients of a step are one call."""
    points = np.full((len(lanes), len(noises) + 1, 2), np.nan)
    losses = np.full(points.shape[:2], np.nan)
    points[:, 0] = start
    slots = [_initial_slots(rule, hyper) for rule, hyper in lanes]
    ended: list[int | None] = [None] * len(lanes)
    going = np.arange(len(lanes))
    with np.errstate(all="ignore"):
        losses[:, 0], gradients = surface.value_and_gradient(*points[:, 0].T)
        if not np.isfinite(losses[0, 0]):
            raise UsageError(f"surface {surface.name!r} has no finite value at start={start!r}")
        for t, noise in enumerate(noises, start=1):
            for lane, gradient in zip(going.tolist(), gradients.T, strict=True):
                rule, hyper = lanes[lane]
                points[lane, t], slots[lane] = _step(
                    rule, hyper, points[lane, t - 1].copy(), gradient + noise, slots[lane], t
                )
            losses[going, t], gradients = surface.value_and_gradient(*points[going, t].T)
            near = _within(points[going, t], surface, start, _FAR if surface.bounded else 1.0)
            stays = near & np.isfinite(losses[going, t])
            for lane in going[~stays].tolist():
                ended[lane] = t
            going, gradients = going[stays], gradients[:, stays]
            if not len(going):
                break
    return [
        Path(rule, hyper, points[i], losses[i], _distances(points[i], surface), ended[i])
        for i, (rule, hyper) in enumerate(lanes)
    ]


def _step(
    rule: Rule, hyper: Mapping[str, float], theta: Array, g: Array, slots: list[Any], t: int
) -> tuple[Any, list[Any]]:
    """One step of the rule; an error names the rule's file and line."""
    try:
        theta, *new = rule(theta, g, *slots, t, **hyper)
    except Exception as error:
        raise RuleError(
            f"{place(rule.formula)}: rule {rule.name!r}: {error}; a rule is arithmetic and "
            "thalweg.ops on whole arrays, with ops.where to choose"
        ) from error
    if len(new) != len(slots) or np.shape(theta) != (2,):
        raise RuleError(
            f"{place(rule.formula)}: rule {rule.name!r} must return "
            f"{', '.join(('theta', *rule.slots))}, theta in the shape it came in; it returned "
            f"{len(new) + 1} values, the first of shape {np.shape(theta)}"
        )
    return theta, new


def _initial_slots(rule: Rule, hyper: Mapping[str, float]) -> list[Any]:
    return [
        first if slot in rule.scalars else np.full(2, first)
        for slot in rule.slots
        for first in [rule.initial(slot, {**rule.defaults, **hyper})]
    ]


def _within(points: Array, surface: Surface, start: tuple[float, float], views: float) -> Any:
    """Whether points lie in the box with the view's centre and this many times its size."""
    low, high = view_with(surface, start)
    return (np.abs(points - (low + high) / 2) <= views / 2 * (high - low)).all(axis=-1)


def view_with(surface: Surface, start: tuple[float, float]) -> tuple[Array, Array]:
    """The lower and upper corner of the surface's view, widened to hold the start."""
    left, right, bottom, top = surface.view
    low, high = np.minimum((left, bottom), start), np.maximum((right, top), start)
    margin = 0.05 * (high - low)
    return (
        np.where(low < (left, bottom), low - margin, low),
        np.where(high > (right, top), high + margin, high),
    )


def _distances(points: Array, surface: Surface) -> Array | None:
    if not surface.minima:
        return None
    offsets = points[:, None, :] - np.array(surface.minima, dtype=np.float64)
    return np.hypot(offsets[..., 0], offsets[..., 1]).min(axis=1)


def _best(paths: Sequence[Path], surface: Surface, start: tuple[float, float]) -> Path:
    """The path of one rule that ends lowest.

    One that left the view on the way stands behind all that did not: a jump out and back can be
    lucky, but tells nothing about the descent. One that diverged stands behind those.
    """
    if len(paths) == 1:
        return paths[0]

    def order(i: int) -> tuple[int, float]:
        path = paths[i]
        if path.diverged_at is not None:
            return 2, -path.diverged_at
        inside = _within(path.points, surface, start, views=1.0).all()
        return (0 if inside else 1), float(path.losses[-1])

    i = min(range(len(paths)), key=order)
    return replace(paths[i], searched=True, at_edge=i in (0, len(paths) - 1))
