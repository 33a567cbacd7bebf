"""The torch optimizer class of any rule."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from inspect import Parameter, Signature
from re import findall
from typing import Any

from ..errors import UsageError
from ..rules import maximize
from ..rules.core import Rule
from .optimizer import SWITCHES, RuleOptimizer
from .options import DEFAULTS


def from_rule(rule: Rule, **defaults: float) -> type[RuleOptimizer]:
    """The torch optimizer class of a rule, built-in or user-defined.

    Args:
        rule: the rule; its hyperparameters become the class's arguments.
        **defaults: defaults that replace the rule's.

    Returns:
        A class `(params, lr=…, …, *, maximize=False, …)` with the options of `RuleOptimizer`; the
        same class for the same arguments. The state keys are the names of the slots; a slot named
        "step" has the key "step_", since torch uses "step" for the number of steps.

    Raises:
        UsageError: a default is not a hyperparameter of the rule, or a hyperparameter has a name
            that every class uses for another option.
    """
    for key in defaults:
        if key not in rule.defaults:
            raise UsageError(
                f"{rule.name} has no hyperparameter {key!r}; it has {', '.join(rule.defaults)}"
            )
    for key in ("params", "maximize", *SWITCHES, *DEFAULTS):
        if key in rule.defaults:
            raise UsageError(f"{rule.name}: {key!r} cannot be a hyperparameter of an optimizer")
    return _class_of(rule, tuple(defaults.items()))


@cache
def _class_of(rule: Rule, changed: tuple[tuple[str, float], ...]) -> type[RuleOptimizer]:
    options = {**rule.defaults, **dict(changed)}
    switches = {"maximize": False, **SWITCHES}
    positional = Parameter.POSITIONAL_OR_KEYWORD
    signature = Signature(
        [
            Parameter("params", positional),
            *(Parameter(k, positional, default=v) for k, v in options.items()),
            *(
                Parameter(k, Parameter.KEYWORD_ONLY, default=v)
                for k, v in {**switches, **DEFAULTS}.items()
            ),
        ]
    )
    uphill = maximize(rule)

    class FromRule(RuleOptimizer):
        __signature__ = signature
        state_keys = {"step": "step_"}

        def __init__(self, *args: Any, **given: Any) -> None:
            try:
                bound = signature.bind(*args, **given)
            except TypeError as error:
                raise UsageError(f"{rule.name}{signature}: {error}") from None
            bound.apply_defaults()
            defaults = dict(bound.arguments)
            own = {key: defaults.pop(key) for key in DEFAULTS}
            super().__init__(defaults.pop("params"), defaults, **own)

        def rule(self, group: Mapping[str, Any]) -> Rule:
            return uphill if group["maximize"] else rule

        def __reduce__(self) -> Any:
            return _blank, (rule, changed), self.__getstate__()

    words = findall(r"[A-Za-z0-9]+", rule.name)
    FromRule.__name__ = FromRule.__qualname__ = "".join(w[:1].upper() + w[1:] for w in words)
    FromRule.__doc__ = rule.title
    return FromRule


def _blank(rule: Rule, changed: tuple[tuple[str, float], ...]) -> RuleOptimizer:
    """An empty optimizer, for unpickling."""
    cls = _class_of(rule, changed)
    return cls.__new__(cls)
