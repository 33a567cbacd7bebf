"""The eager engine: the rule run as it stands, on arrays of any framework. The reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..rules.core import Rule
from ..tape import trace


def step(
    rule: Rule, theta: Any, g: Any, slots: Mapping[str, Any], t: int, hyper: Mapping[str, float]
) -> tuple[Any, dict[str, Any]]:
    """One step of a rule; nothing is changed in place.

    Args:
        rule: the rule.
        theta: the parameter, an array or a number.
        g: its gradient, of the same shape.
        slots: the state by slot name.
        t: the number of this step, from 1.
        hyper: hyperparameters that differ from the rule's defaults.

    Returns:
        The new parameter and the new state.

    Raises:
        RuleError: the formula is one that the compiled engines would refuse.
    """
    trace(rule)
    theta, *values = rule(theta, g, *(slots[s] for s in rule.slots), t, **hyper)
    return theta, dict(zip(rule.slots, values, strict=True))
