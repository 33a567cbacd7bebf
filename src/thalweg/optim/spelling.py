"""The line of code that makes the torch optimizer of a rule: what a verdict tells one to copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import rules
from ..rules.core import Rule
from ..rules.names import TORCH
from . import beyond, classes
from .adapter import RuleOptimizer
from .named import Named

_HEAVY = {"momentum": rules.momentum.defaults["momentum"]}
_BALL = {"momentum": rules.rmsprop_momentum.defaults["momentum"]}

# The rules that are an option of a class; every other built-in one is a class of its own.
_OPTIONS: Mapping[str, tuple[type[RuleOptimizer], Mapping[str, Any]]] = {
    "momentum": (classes.SGD, _HEAVY),
    "nesterov": (classes.SGD, {**_HEAVY, "nesterov": True}),
    "amsgrad": (classes.Adam, {"amsgrad": True}),
    "rmsprop_centered": (classes.RMSprop, {"centered": True}),
    "rmsprop_momentum": (classes.RMSprop, _BALL),
    "rmsprop_centered_momentum": (classes.RMSprop, {**_BALL, "centered": True}),
}
_CLASSES = {
    cls.__name__.lower(): cls
    for cls in (*vars(classes).values(), *vars(beyond).values())
    if isinstance(cls, type) and issubclass(cls, Named)
}


def constructor(rule: Rule) -> tuple[type[RuleOptimizer], Mapping[str, Any]] | None:
    """The named class of a built-in rule and the options that select it; None for others."""
    convention, _, name = rule.name.rpartition(":")
    convention = convention or TORCH
    if name not in rules.registry() or rules.conventions(name).get(convention) is not rule:
        return None
    cls, options = _OPTIONS.get(name) or (_CLASSES[name], {})
    return cls, options if convention == TORCH else {**options, "convention": convention}


def code(rule: Rule, lr: float) -> str:
    """The line that makes this rule's optimizer with this learning rate.

    Args:
        rule: a built-in rule, or one's own.
        lr: the learning rate.
    """
    found = constructor(rule)
    name = f"from_rule({rule.name})" if found is None else found[0].__name__
    given = {"lr": lr, **(found[1] if found else {})}
    options = ", ".join(f"{key}={value!r}" for key, value in given.items())
    return f"thalweg.optim.{name}(model.parameters(), {options})"
