"""The line of Python that constructs the torch optimizer of a rule, as a verdict shows it."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

from .. import rules
from ..rules.core import Rule
from ..rules.names import TORCH
from . import classes
from .builtin import BuiltinOptimizer
from .optimizer import RuleOptimizer

_HEAVY = {"momentum": rules.momentum.defaults["momentum"]}
_BALL = {"momentum": rules.rmsprop_momentum.defaults["momentum"]}

# Rules that an option of a class selects; every other built-in rule has a class by its name.
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
    for cls in vars(classes).values()
    if isinstance(cls, type) and issubclass(cls, BuiltinOptimizer)
}


def constructor(rule: Rule) -> tuple[type[RuleOptimizer], Mapping[str, Any]] | None:
    """The class of a built-in rule and the options that select it; None for any other rule."""
    convention, _, name = rule.name.rpartition(":")
    convention = convention or TORCH
    if name not in rules.registry() or rules.conventions(name).get(convention) is not rule:
        return None
    cls, options = _OPTIONS.get(name) or (_CLASSES[name], {})
    return cls, options if convention == TORCH else {**options, "convention": convention}


def code(rule: Rule, hyper: Mapping[str, float]) -> str:
    """The line of Python that constructs the optimizer of a rule.

    Args:
        rule: a built-in or a user-defined rule.
        hyper: hyperparameters that differ from the rule's defaults; a `weight_decay` that the rule
            does not have is coupled.
    """
    found = constructor(rule)
    own = _options(found[0], rule, hyper) if found else None
    if found is not None and own is not None:
        name, options = found[0].__name__, {**found[1], **own}
    else:
        written = f"thalweg.rules.{rule.name}" if found else rule.name
        if "weight_decay" in hyper and "weight_decay" not in rule.defaults:
            written = f"thalweg.rules.coupled_weight_decay({written})"
        name, options = f"from_rule({written})", dict(hyper)
    first = {key: options[key] for key in ("lr",) if key in options}
    given = ", ".join(f"{key}={value!r}" for key, value in {**first, **options}.items())
    return f"thalweg.optim.{name}(model.parameters(), {given})"


def _options(
    cls: type[RuleOptimizer], rule: Rule, hyper: Mapping[str, float]
) -> dict[str, Any] | None:
    """Hyperparameters by the names of the class's options; None if one of them is no option."""
    options: dict[str, Any] = {}
    for name, value in hyper.items():
        pair = next((p for p, names in cls.pairs.items() if name in names), None)
        if pair is None:
            options[name] = value
        else:
            options[pair] = tuple(hyper.get(n, rule.defaults[n]) for n in cls.pairs[pair])
    return options if options.keys() <= signature(cls).parameters.keys() else None
