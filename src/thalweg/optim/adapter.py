"""One torch.optim.Optimizer for all rules."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..errors import UsageError
from ..rules import maximize
from ..rules.core import Rule
from .plan import ENGINES, Plan

# Options that torch's classes take to choose an implementation; here the engine is chosen by
# what the tensors are, so they are accepted and kept.
SWITCHES = {"foreach": None, "capturable": False, "differentiable": False, "fused": None}


class RuleOptimizer(torch.optim.Optimizer):
    """What every optimizer of this package is: a torch optimizer whose update is a rule.

    A subclass says which rule its options mean; everything else is here.

    Attributes:
        state_keys: what torch calls a slot in its state, where it differs from the slot's name.
        pairs: options that hold two hyperparameters, and these.
        counts_steps: whether the state holds the number of steps under "step".
    """

    state_keys: ClassVar[Mapping[str, str]] = {}
    pairs: ClassVar[Mapping[str, tuple[str, str]]] = {"betas": ("beta1", "beta2")}
    counts_steps: ClassVar[bool] = True

    def __init__(
        self, params: Iterable[Any], defaults: dict[str, Any], engine: str = "auto"
    ) -> None:
        if engine not in ENGINES:
            raise UsageError(f"engine={engine!r} is unknown; choose one of {', '.join(ENGINES)}")
        self.engine = engine
        self._plan: Plan | None = None
        super().__init__(params, defaults)

    def rule(self, group: Mapping[str, Any]) -> Rule:
        """The rule that a parameter group's options mean."""
        raise NotImplementedError

    def hyper(self, group: Mapping[str, Any]) -> dict[str, float]:
        """A group's options under the names that the rule uses, all plain numbers."""
        hyper = {k: float(v) for k, v in group.items() if isinstance(v, int | float | Tensor)}
        for option, names in self.pairs.items():
            hyper.update(zip(names, map(float, group.get(option, ())), strict=False))
        return hyper

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step.

        Args:
            closure: evaluates the model again and returns the loss.

        Returns:
            What the closure returned, or None.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self._plan is None or not self._plan.run():
            self._plan = Plan(self)
            self._plan.run()
        return loss

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters to be stepped, with options of their own.

        Raises:
            UsageError: an option is out of its range, or a parameter is not of a floating type.
        """
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            self.check(group)
            for index, p in enumerate(group["params"]):
                if not (p.is_floating_point() or p.is_complex()):
                    raise UsageError(
                        f"parameter {index} of the group has dtype {p.dtype}: only floating-point "
                        "and complex parameters have gradients to step along; leave it out"
                    )
        except Exception:
            self.param_groups.pop()
            raise
        self._plan = None

    def check(self, group: Mapping[str, Any]) -> None:
        """Refuse options no rule can work with.

        Raises:
            UsageError: a hyperparameter is negative, not finite, or a beta not below 1.
        """
        hyper = self.hyper(group)
        for name in self.rule(group).defaults:
            value = hyper.get(name, 0.0)
            if not (math.isfinite(value) and value >= 0):
                label = "learning rate" if name == "lr" else f"{name} value"
                raise UsageError(f"Invalid {label}: {value}; it must be finite and at least 0")
            if name.startswith("beta") and value >= 1:
                index = int(name[4:] or 1) - 1
                raise UsageError(
                    f"Invalid beta parameter at index {index}: {value}; it must be below 1"
                )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._plan = None
        for group in self.param_groups:
            for option, value in self.defaults.items():
                group.setdefault(option, value)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "engine": self.engine}


def from_rule(rule: Rule, **defaults: float) -> type[RuleOptimizer]:
    """The torch optimizer class of any rule, one's own included.

    Args:
        rule: the rule; its hyperparameters become the class's arguments.
        **defaults: other defaults for them.

    Returns:
        A class `(params, lr=…, …, *, maximize=False, engine="auto")`; the state keys are the
        slots' names.

    Raises:
        UsageError: a default names no hyperparameter of the rule.
    """
    for key in defaults:
        if key not in rule.defaults:
            raise UsageError(
                f"{rule.name} has no hyperparameter {key!r}; it has {', '.join(rule.defaults)}"
            )
    options = {**rule.defaults, **defaults}
    uphill = maximize(rule)

    class FromRule(RuleOptimizer):
        def __init__(self, params: Iterable[Any], *args: Any, **given: Any) -> None:
            engine = given.pop("engine", "auto")
            known = {**options, "maximize": False, **SWITCHES}
            wrong = [k for k in given if k not in known]
            if wrong or len(args) > len(options):
                raise UsageError(
                    f"{rule.name} takes no {wrong[0] if wrong else args[-1]!r}; "
                    f"it takes {', '.join(known)} and engine"
                )
            named = dict(zip(options, args, strict=False))
            super().__init__(params, {**known, **named, **given}, engine)

        def rule(self, group: Mapping[str, Any]) -> Rule:
            return uphill if group["maximize"] else rule

    words = re.findall(r"[A-Za-z0-9]+", rule.name)
    FromRule.__name__ = FromRule.__qualname__ = "".join(w[:1].upper() + w[1:] for w in words)
    FromRule.__doc__ = rule.title
    return FromRule
