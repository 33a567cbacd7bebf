"""The arguments of a trajectory, checked: rules, surface, start, and the settings to try."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from .. import rules as rules_
from ..errors import UsageError
from ..rules import Rule
from .surface import Surface, find

CANDIDATES = 41
"""The number of learning rates that are tried for every rule without a given one."""

_MARGIN = 3.0
"""Decades searched on either side of the range that belongs to the rule."""


def settings(
    rules: Sequence[Rule], lr: float | Mapping[str, float] | None, hyper: Mapping[str, float]
) -> dict[str, list[dict[str, float]]]:
    """For each rule the settings to try: one with a given learning rate, else a grid of them."""
    names = [rule.name for rule in rules]
    for key, value in hyper.items():
        if not any(key in rule.defaults for rule in rules):
            known = sorted({k for rule in rules for k in rule.defaults})
            raise UsageError(
                f"none of {', '.join(names)} has a hyperparameter {key!r}; they have "
                f"{', '.join(known)}"
            )
        if finite(key, value) < 0 and all(rule.defaults.get(key, 0) >= 0 for rule in rules):
            raise UsageError(f"{key}={value!r} is below 0; give 0 or more")
    rates = dict(lr) if isinstance(lr, Mapping) else {}
    for name in rates:
        if name not in names:
            raise UsageError(f"lr names {name!r}, which is not among the rules {', '.join(names)}")
    found = {}
    for rule in rules:
        own = {k: float(v) for k, v in hyper.items() if k in rule.defaults}
        given = rates.get(rule.name) if isinstance(lr, Mapping) else lr
        if "lr" not in rule.defaults:
            if rule.name in rates:
                raise UsageError(f"lr names {rule.name!r}, which has no learning rate")
            found[rule.name] = [own]
        elif given is not None:
            if not finite(f"lr of {rule.name}", given) > 0:
                raise UsageError(f"lr of {rule.name}={given!r} must be above 0")
            found[rule.name] = [{**own, "lr": float(given)}]
        else:
            found[rule.name] = [{**own, "lr": rate} for rate in candidate_rates(rule)]
    return found


def candidate_rates(rule: Rule) -> list[float]:
    """The learning rates that are tried for a rule, in ascending order."""
    area = rule.learning_rates()
    half = area.decades / 2 + _MARGIN
    return [
        float(f"{area.centre * 10**exponent:.3g}")
        for exponent in (half * (2 * i / (CANDIDATES - 1) - 1) for i in range(CANDIDATES))
    ]


def rules_of(given: str | Rule | Iterable[str | Rule]) -> list[Rule]:
    """The rules meant by names, rules, or several of either; all must differ in name."""
    several = [given] if isinstance(given, str) or not isinstance(given, Iterable) else given
    found = [_rule(r) for r in several]
    if not found:
        raise UsageError(f"rules={given!r} names none; known: {', '.join(rules_.registry())}")
    names = [r.name for r in found]
    if twice := {n for n in names if names.count(n) > 1}:
        raise UsageError(
            f"rules named twice: {', '.join(sorted(twice))}; give a second setting its own name "
            "with dataclasses.replace(rule, name=…, defaults=…)"
        )
    return found


def _rule(given: object) -> Rule:
    if isinstance(given, str):
        return rules_.find(given)
    if isinstance(given, Rule):
        return given
    raise UsageError(f"{given!r} is neither a rule nor the name of one; @thalweg.rule makes rules")


def surface_of(given: str | Surface | Callable[[Any, Any], Any]) -> Surface:
    """The surface meant by a name, a surface or a function."""
    if isinstance(given, str):
        return find(given)
    if isinstance(given, Surface):
        return given
    if callable(given):
        return Surface.of(given)
    raise UsageError(f"surface={given!r} is neither a name, a surface nor a function f(x, y)")


def point_of(given: Any) -> tuple[float, float]:
    """The start as two finite floats."""
    try:
        x, y = (float(c) for c in given)
    except (TypeError, ValueError):
        x = y = math.nan
    if not (math.isfinite(x) and math.isfinite(y)):
        raise UsageError(f"start={given!r} is not two finite numbers (x, y)")
    return x, y


def finite(name: str, value: Any) -> float:
    """The value as a float, if it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise UsageError(f"{name}={value!r} must be a finite number")
    return float(value)


def whole(name: str, value: Any, least: int, most: int) -> int:
    """The value as an int, if it is a whole number from `least` to `most`."""
    number = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None
    if number is None or not least <= number <= most:
        raise UsageError(f"{name}={value!r} must be a whole number from {least} to {most}")
    return number
