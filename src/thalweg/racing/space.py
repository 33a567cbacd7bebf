"""What a race tries: configurations, and the space of them that a method may be tuned in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError, known_name, unknown
from ..rules.core import LogRange, Rule
from ..rules.ranges import Choice, LinearRange, NearOne, Range
from ..schedules import KINDS, Schedule
from ..training.runs import PLAIN, Method, RandomSearch, Recipe
from ..training.torch_method import TorchMethod

ALL = "all"
_DECAY = LogRange(1e-4)  # of a weight decay that is coupled in front of a rule without one
_WARMUPS = Choice((0.0, 0.05, 0.1))
_CLIPS = Choice((None, 10.0, 1.0, 0.1))
_CHOICES = 100  # whole numbers that are searched one by one; of more, a range is rounded
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
            Schedule(
                named.pop("schedule", base.schedule.kind), named.pop("warmup", base.schedule.warmup)
            ),
            named.pop("clip", base.clip),
            named.pop("batch_size", None),
        )
        return Configuration(tuple(named.items()), recipe)

    @property
    def open(self) -> tuple[int, ...]:
        """The numbers of the axes that go on beyond their ends."""
        return tuple(
            k for k, axis in enumerate(self.axes.values()) if isinstance(axis, LogRange | NearOne)
        )


def space(
    method: Method,
    tune: Sequence[str],
    fixed: Fixed,
    batch_size: int | None,
    ranges: Mapping[str, Range | Choice] | None = None,
) -> Space:
    """The space of a method.

    Args:
        method: a rule, an optimizer class, or random search, which has a spread, a schedule and a
            batch size.
        tune: names of what is tuned beside the learning rate, or `all`.
        fixed: what the caller decided.
        batch_size: the usual one, around which others are tried; None if it is decided.
        ranges: by hyperparameter, in place of those that the method declares.
    """
    axes: dict[str, Range | Choice] = {"lr": method.learning_rates()}
    if not isinstance(method, RandomSearch):
        axes |= method.search
        axes["lr"] = method.learning_rates()
        axes.setdefault("weight_decay", _DECAY)
    axes |= ranges or {}
    if fixed.schedule is None:
        axes["schedule"] = Choice(KINDS)
    if fixed.warmup is None:
        axes["warmup"] = _WARMUPS
    if fixed.clip is None and not isinstance(method, RandomSearch):
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


def ranges_of(
    given: Mapping[str, Mapping[str, Any]] | None, methods: Sequence[Method]
) -> dict[str, dict[str, Range | Choice]]:
    """The ranges of a caller, by method and hyperparameter.

    Args:
        given: for the names of some methods, for the names of some of their hyperparameters, a
            range, its two ends, or a choice of values.
        methods: that take part.

    Raises:
        UsageError: no such method or hyperparameter, or no such range or value.
    """
    by_name = {m.name: m for m in methods}
    found: dict[str, dict[str, Range | Choice]] = {}
    for named, own in (given or {}).items():
        name = known_name("optimizer in search", named, by_name)
        declared = space(by_name[name], (ALL,), FREE, None).axes
        for hyper, wanted in own.items():
            what = f"search of {name}.{hyper}"
            axis = declared.get(hyper)
            if axis is None and hyper in by_name[name].defaults:
                axis = LinearRange(0.0, 1.0)
            if axis is None or isinstance(axis, Choice):
                known = [n for n, a in declared.items() if not isinstance(a, Choice)]
                raise unknown(f"hyperparameter of {name} with a range", hyper, known)
            if hyper == "lr" and not isinstance(wanted, LogRange | tuple | list):
                raise UsageError(
                    f"{what}={_shown(wanted)}: learning rates are searched in a LogRange; "
                    "learning_rates (--lr) names single ones"
                )
            if isinstance(wanted, Choice):
                _check_choice(what, wanted, by_name[name], hyper)
                found.setdefault(name, {})[hyper] = wanted
            else:
                found.setdefault(name, {})[hyper] = _whole(
                    by_name[name], hyper, _range(what, wanted, axis)
                )
    return found


def _whole(method: Method, hyper: str, axis: Range) -> Range | Choice:
    """The whole numbers of a range, if an optimizer class takes one, and they are not too many."""
    if not isinstance(method, TorchMethod) or hyper not in method.whole:
        return axis
    low, high = (round(end) for end in axis.ends)
    return Choice(tuple(map(float, range(low, high + 1)))) if high - low < _CHOICES else axis


def _check_choice(what: str, wanted: Choice, method: Method, hyper: str) -> None:
    """Refuse a choice of a hyperparameter with a value that the method cannot work with.

    Raises:
        UsageError: there is one, or no value or one twice.
    """
    values = wanted.options
    if not values or len(set(values)) < len(values):
        raise UsageError(f"{what}={_shown(wanted)} must have one or more values, each once")
    for value in values:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        trouble = "" if number and 0 <= float(value or 0.0) < math.inf else "it must be at least 0"
        if number and isinstance(method, Rule) and hyper in method.defaults:
            trouble = method.trouble_with(hyper, float(value or 0.0))
        if trouble:
            raise UsageError(f"{what} has the value {value!r}: {trouble}")


def _shown(wanted: object) -> str:
    return ",".join(map(str, wanted.options)) if isinstance(wanted, Choice) else repr(wanted)


def _range(what: str, wanted: Any, axis: Range) -> Range:
    """A range, where two ends are given one of the same kind as the declared one."""
    if isinstance(wanted, LogRange | NearOne | LinearRange):
        return wanted
    try:
        low, high = (float(end) for end in wanted)
    except (TypeError, ValueError):
        raise UsageError(f"{what}={wanted!r} must be a range or two numbers, (low, high)") from None
    top = 1.0 if isinstance(axis, NearOne) else math.inf
    bottom = 0.0 if isinstance(axis, LogRange) else -math.inf
    if not bottom < low < high < top:
        within = {0.0: " above 0", -math.inf: ""}[bottom] + (" below 1" if top == 1.0 else "")
        raise UsageError(f"{what}={wanted!r} must be two finite numbers{within}, the smaller first")
    if isinstance(axis, LogRange):
        return LogRange(math.sqrt(low * high), math.log10(high / low))
    return type(axis)(low, high)
