"""Steps of rules that measure all gradients at once, such as clipping by their norm."""

from __future__ import annotations

from typing import Any

import torch

from ....engines.eager import Bundle
from ....errors import UsageError
from ....rules.core import Rule
from ....tape import THETA, trace
from ..audit.subjects import Gradients
from .base import Item
from .eager import Eager


class Together(Eager):
    """Parameters of any dtype and layout, stepped as one model with the arithmetic of torch."""

    def _run(self, gradients: Gradients) -> None:
        self._count(gradients)
        # What is empty adds nothing to any measure, and has none of its own.
        each = enumerate(zip(self.items, gradients, self.taken, strict=True))
        members = [
            (k, t, *self._read(item, g))
            for k, (item, g, t) in each
            if g is not None and item.parameter.numel()
        ]
        if not members:
            return
        numbers, taken, thetas, gs, slots, hypers = map(list, zip(*members, strict=True))
        fresh, *values = self.rule(
            Bundle(thetas),
            Bundle(gs),
            *(Bundle([own[s] for own in slots]) for s in self.rule.slots),
            Bundle(taken),
            **{name: Bundle([own[name] for own in hypers]) for name in self.rule.defaults},
        )
        made = dict(zip((THETA, *self.rule.slots), (fresh, *values), strict=True))
        for member, k in enumerate(numbers):
            own = {name: _member(value, member) for name, value in made.items()}
            self._keep(self.items[k], own, k)


def _member(value: Any, k: int) -> Any:
    return value.members[k] if isinstance(value, Bundle) else value


def measures_all(rule: Rule) -> bool:
    """Whether a step of one parameter depends on the gradients of all others."""
    return trace(rule).sums("all_sum")


Found = dict[tuple[Rule, torch.dtype, type[Eager] | None], list[Item]]


def gathered(found: Found, engine: str) -> Found:
    """The items of every rule, dtype and way; all in one where they are measured together.

    Raises:
        UsageError: they have to be measured together and cannot be.
    """
    names = [rule.name for rule, *_ in found if measures_all(rule)]
    if not names:
        return found
    items = [item for alike in found.values() for item in alike]
    whole = f"{names[0]} measures the gradients of all parameters of the optimizer together"
    if len({rule for rule, *_ in found}) > 1:
        raise UsageError(f"{whole}, so all groups must step by one rule: give them one maximize")
    if any(way is not None for *_, way in found):
        raise UsageError(f"{whole}, which differentiable=True does not support: leave it out")
    devices = {str(item.parameter.device) for item in items}
    if len(devices) > 1:
        raise UsageError(
            f"{whole}, and they are on {' and '.join(sorted(devices))}: give each device an "
            "optimizer of its own, and clip by torch.nn.utils.clip_grad_norm_ before the step"
        )
    if len(found) == 1:
        return found
    if engine not in ("auto", "eager"):
        raise UsageError(
            f'{whole}, and engine={engine!r} steps those of one dtype: use engine="auto"'
        )
    rule, dtype, _ = next(iter(found))
    return {(rule, dtype, Together): items}
