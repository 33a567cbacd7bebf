"""What a race tries: configurations, and the space of them that a method may be tuned in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from ..rules.core import LogRange, Rule
from ..rules.ranges import Choice, NearOne, Range
from ..schedules import KINDS, Schedule
from ..training.runs import PLAIN, Method, Recipe

ALL = "all"
_DECAY = LogRange(1e-4)  # of a weight decay that is coupled in front of a rule without one
_WARMUPS = Choice((0.0, 0.05, 0.1))
_CLIPS = Choice((None, 10.0, 1.0, 0.1))
RECIPE = ("schedule", "warmup", "clip", "batch_size")  # what is tuned beside a rule's own


@dataclass(frozen=True)
class Configuration:
    """Everything that a method was run with.

    Attributes:
        hyper: hyperparameters that are not left at the method's defaults, by name.
        recipe: schedule, clipping, batch size.
    """

    hyper: tuple[tuple[str, float], ...]
    recipe: Recipe = PLAIN

    @classmethod
    def of(cls, rate: float, recipe: Recipe = PLAIN) -> Configuration:
        """A learning rate, and all else as it is."""
        return cls((("lr", rate),), recipe)

    @property
    def rate(self) -> float:
        """The learning rate."""
        return dict(self.hyper)["lr"]

    def to_dict(self) -> dict[str, Any]:
        """As plain data: what differs from the defaults."""
        recipe = self.recipe
        found: dict[str, Any] = dict(self.hyper)
        if recipe.schedule.kind != "constant" or recipe.schedule.warmup:
            found |= {"schedule": recipe.schedule.kind, "warmup": recipe.schedule.warmup}
        if recipe.clip is not None:
            found["clip"] = recipe.clip
        if recipe.batch_size is not None:
            found["batch_size"] = recipe.batch_size
        return found


@dataclass(frozen=True)
class Fixed:
    """What the caller decided, and no search changes; None where a search may.

    Attributes:
        schedule, warmup, clip: as in a recipe.
    """

    schedule: str | None = None
    warmup: float | None = None
    clip: float | None = None

    @property
    def recipe(self) -> Recipe:
        """The recipe where nothing is searched."""
        return Recipe(Schedule(self.schedule or "constant", self.warmup or 0.0), self.clip)


FREE = Fixed()


@dataclass(frozen=True)
class Space:
    """The box that a method's configurations are drawn from: an axis for all that is tuned.

    Attributes:
        axes: the range of each, the learning rate's first.
        fixed: the rest.
    """

    axes: Mapping[str, Range | Choice]
    fixed: Fixed

    def at(self, shares: Sequence[float]) -> Configuration:
        """The configuration at a point: for every axis, how far along its range."""
        named: dict[str, Any] = {
            n: a.at(s) for (n, a), s in zip(self.axes.items(), shares, strict=True)
        }
        base = self.fixed.recipe
        recipe = Recipe(
            Schedule(named.pop("schedule", base.schedule.kind),
                     named.pop("warmup", base.schedule.warmup)),
            named.pop("clip", base.clip),
            named.pop("batch_size", None),
        )  # fmt: skip
        return Configuration(tuple(named.items()), recipe)

    @property
    def open(self) -> tuple[int, ...]:
        """The numbers of the axes that go on beyond their ends."""
        return tuple(
            k for k, axis in enumerate(self.axes.values()) if isinstance(axis, LogRange | NearOne)
        )


def space(method: Method, tune: Sequence[str], fixed: Fixed, batch_size: int | None) -> Space:
    """The space of a method.

    Args:
        method: a rule, or random search, which has a spread, a schedule and a batch size.
        tune: names of what is tuned beside the learning rate, or `all`.
        fixed: what the caller decided.
        batch_size: the usual one, around which others are tried; None if it is decided.
    """
    axes: dict[str, Range | Choice] = {"lr": method.learning_rates()}
    if isinstance(method, Rule):
        axes |= method.search
        axes["lr"] = method.learning_rates()
        axes.setdefault("weight_decay", _DECAY)
    if fixed.schedule is None:
        axes["schedule"] = Choice(KINDS)
    if fixed.warmup is None:
        axes["warmup"] = _WARMUPS
    if fixed.clip is None and isinstance(method, Rule):
        axes["clip"] = _CLIPS
    if batch_size is not None:
        sizes = dict.fromkeys((max(1, batch_size // 2), batch_size, 2 * batch_size))
        axes["batch_size"] = Choice(tuple(sizes))
    wanted = {"lr", *tune}
    chosen = {name: axis for name, axis in axes.items() if ALL in tune or name in wanted}
    return Space(chosen, fixed)


def check(tune: Sequence[str], spaces: Sequence[Space]) -> None:
    """Refuse a name of what to tune that no method has.

    Args:
        tune: the names.
        spaces: of all methods, with everything tuned.

    Raises:
        UsageError: there is one.
    """
    known = list(dict.fromkeys(name for own in spaces for name in own.axes))
    for name in tune:
        if name != ALL and name not in known:
            raise UsageError(
                f"tune names {name!r}, which none of the optimizers has, or which is decided "
                f"already; choose all, or some of {', '.join(known)}"
            )
