"""The base class of the built-in optimizers: conventions and their defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Unpack

from torch import Tensor

from .. import rules
from ..errors import UsageError
from ..rules.core import Rule
from ..rules.names import TORCH
from .optimizer import RuleOptimizer
from .options import BUILTIN_DEFAULTS, BuiltinOptions

Number = float | Tensor
Pair = tuple[Number, Number]

_DECOUPLED = "keras"  # the convention whose weight decay is decoupled in every optimizer


class Unset(float):
    """A default in a signature that shows torch's number and marks an argument as not given.

    Under another convention that convention's default replaces it. A number that the caller wrote
    is used, even where it equals torch's default.
    """


def unset(rule: Rule) -> Mapping[str, float]:
    """A rule's defaults, marked, for the signature of a class."""
    return {name: Unset(value) for name, value in rule.defaults.items()}


class BuiltinOptimizer(RuleOptimizer):
    """An optimizer of a built-in rule, in the form that a convention gives the rule.

    A convention is a library's or a paper's form of a rule: "torch", "keras", "optax", "paper" or
    "authors". A parameter group under another convention than torch's has it under "convention",
    which checkpoints keep and torch's classes ignore; each group may have a different one. Options
    that are given neither to the constructor nor to the group have the convention's defaults;
    hyperparameters that are no option of the class have the rule's. Weight decay is coupled (added
    to the gradient) unless the class or an option says otherwise; under "keras" it is always
    decoupled. Under "paper" the decay of AdamW is multiplied by lr / initial_lr if a scheduler has
    set `initial_lr`.

    Args:
        params: parameters, named parameters, or dicts of a group each, as torch takes them.
        options: the options of groups that do not give their own.
        convention: the convention of groups that do not give their own.
        engine, skip_nonfinite, state_dtype, rounding, seed: as in `RuleOptimizer`.

    Raises:
        UsageError: the convention does not have the rule, an option is out of its range or is not
            used under the convention, or the engine cannot step a parameter.
    """

    common_options = BUILTIN_DEFAULTS

    def __init__(
        self, params: Iterable[Any], options: Mapping[str, Any], **common: Unpack[BuiltinOptions]
    ) -> None:
        own: dict[str, Any] = {**common}
        convention = own.pop("convention", TORCH)
        self._unset = {k: _plain(v) for k, v in options.items() if _is_unset(v)}
        defaults = {**options, **self._unset}
        if convention != TORCH:
            defaults["convention"] = convention
            defaults.update(self._defaults_of(defaults))
        super().__init__(params, defaults, **own)

    def base(self, group: Mapping[str, Any]) -> Rule:
        """The rule that a group's options select, without `maximize` and weight decay."""
        raise NotImplementedError

    def find(self, name: str, group: Mapping[str, Any]) -> Rule:
        """A built-in rule in the form that the group's convention gives it.

        Raises:
            UsageError: the convention does not have this rule.
        """
        convention = group.get("convention", TORCH)
        forms = _forms(name)
        if convention not in list(forms):
            raise UsageError(
                f"{type(self).__name__}: convention={convention!r} does not have {name}; choose "
                f"one of {', '.join(forms)}"
            )
        return forms[convention]

    def rule(self, group: Mapping[str, Any]) -> Rule:
        rule = self.base(group)
        coupled = decoupled = False
        if group.get("weight_decay") and "weight_decay" not in rule.defaults:
            by_convention = group.get("convention") == _DECOUPLED
            decoupled = bool(group.get("decoupled_weight_decay")) or by_convention
            coupled = not decoupled
        return _dressed(rule, coupled, decoupled, bool(group["maximize"]))

    def hyper(self, group: Mapping[str, Any]) -> dict[str, float]:
        hyper = super().hyper(group)
        if group.get("convention", TORCH) == TORCH:
            return hyper
        hyper = {**self.rule(group).defaults, **hyper}
        if "schedule" in hyper and (initial := float(group.get("initial_lr", 0.0))):
            hyper["schedule"] = hyper["lr"] / initial
        return hyper

    def check(self, group: Mapping[str, Any]) -> None:
        super().check(group)
        convention = group.get("convention", TORCH)
        if convention == TORCH:
            return
        hyper, known = self.hyper(group), self.rule(group).defaults
        for name, default in self.rule({**group, "convention": TORCH}).defaults.items():
            if name not in known and hyper[name] != default:
                raise UsageError(
                    f"{name}={hyper[name]} is not used under convention={convention!r}; "
                    "leave it out"
                )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group, with its options and its convention.

        Args:
            param_group: the parameters under "params", and options.

        Raises:
            UsageError: an option is out of its range, this class does not have the convention, or
                a parameter cannot be stepped.
        """
        if isinstance(param_group, dict) and (
            "convention" in param_group or "convention" in self.defaults
        ):
            whole = {**self.defaults, **param_group}
            for option, value in self._defaults_of(whole).items():
                param_group.setdefault(option, value)
            self._tell_conventions()
        super().add_param_group(param_group)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if any("convention" in group for group in self.param_groups):
            self._tell_conventions()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_unset": self._unset}

    def _tell_conventions(self) -> None:
        """Give every group the key "convention" if one has it, so that a change is noticed."""
        self.defaults.setdefault("convention", TORCH)
        for group in self.param_groups:
            group.setdefault("convention", TORCH)

    def _defaults_of(self, group: Mapping[str, Any]) -> dict[str, Any]:
        """The convention's defaults of the options that the constructor was not given."""
        defaults: Mapping[str, float] = {}
        if group.get("convention", TORCH) != TORCH:
            defaults = self.rule(group).defaults
        found: dict[str, Any] = {}
        for option, value in self._unset.items():
            if option in self.pairs:
                names = self.pairs[option]
                found[option] = tuple(defaults.get(n, x) for n, x in zip(names, value, strict=True))
            else:
                found[option] = defaults.get(option, value)
        return found


def _is_unset(value: Any) -> bool:
    return type(value) is Unset or (type(value) is tuple and Unset in map(type, value))


def _plain(value: Any) -> Any:
    return tuple(map(float, value)) if isinstance(value, tuple) else float(value)


@cache
def _forms(name: str) -> Mapping[str, Rule]:
    return rules.conventions(name)


@cache
def _dressed(rule: Rule, coupled: bool, decoupled: bool, ascent: bool) -> Rule:
    """The rule with combinators in front of it."""
    if coupled:
        rule = rules.coupled_weight_decay(rule)
    if decoupled:
        rule = rules.decoupled_weight_decay(rule)
    return rules.maximize(rule) if ascent else rule
