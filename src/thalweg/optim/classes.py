"""The named optimizers, with torch's signatures, defaults and state keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from torch import Tensor

from .. import rules
from ..errors import UsageError
from ..rules.core import Combinator, Rule
from .adapter import RuleOptimizer
from .plan import begin

Number = float | Tensor
Pair = tuple[Number, Number]

_MOMENTS = {"m": "exp_avg", "v": "exp_avg_sq", "v_max": "max_exp_avg_sq"}


class SGD(RuleOptimizer):
    """Gradient descent, plain, with momentum, or with Nesterov momentum: torch.optim.SGD.

    Args:
        engine: as of `RuleOptimizer`; all else is torch's.
    """

    state_keys = {"v": "momentum_buffer"}
    signed = frozenset({"dampening"})
    counts_steps = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = rules.sgd.defaults["lr"],
        momentum: float = 0.0,
        dampening: float = rules.momentum.defaults["dampening"],
        weight_decay: Number = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
        engine: str = "auto",
    ) -> None:
        super().__init__(params, _options(locals()), engine)

    def rule(self, group: Mapping[str, Any]) -> Rule:
        if group["nesterov"] and group["dampening"] != 0:
            raise UsageError("Nesterov momentum requires a momentum and zero dampening")
        if group["momentum"] == 0:
            return _dressed(rules.sgd, group)
        return _dressed(rules.nesterov if group["nesterov"] else rules.momentum, group)

    def check(self, group: Mapping[str, Any]) -> None:
        if group["nesterov"] and group["momentum"] <= 0:
            raise UsageError("Nesterov momentum requires a momentum and zero dampening")
        super().check(group)


class ASGD(RuleOptimizer):
    """Averaged stochastic gradient descent: torch.optim.ASGD.

    Args:
        engine: as of `RuleOptimizer`; all else is torch's.
    """

    state_keys = {"average": "ax"}
    signed = frozenset({"lambd", "alpha", "t0"})

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = rules.asgd.defaults["lr"],
        lambd: float = rules.asgd.defaults["lambd"],
        alpha: float = rules.asgd.defaults["alpha"],
        t0: float = rules.asgd.defaults["t0"],
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
        *,
        engine: str = "auto",
    ) -> None:
        super().__init__(params, _options(locals()), engine)

    def rule(self, group: Mapping[str, Any]) -> Rule:
        return _dressed(rules.asgd, group)


class Rprop(RuleOptimizer):
    """Resilient backpropagation: torch.optim.Rprop.

    Args:
        engine: as of `RuleOptimizer`; all else is torch's.
    """

    state_keys = {"previous": "prev", "size": "step_size"}
    pairs = {"etas": ("eta_minus", "eta_plus"), "step_sizes": ("size_min", "size_max")}
    signed = frozenset({"size_min", "size_max"})

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = rules.rprop.defaults["lr"],
        etas: Pair = (rules.rprop.defaults["eta_minus"], rules.rprop.defaults["eta_plus"]),
        step_sizes: Pair = (rules.rprop.defaults["size_min"], rules.rprop.defaults["size_max"]),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        engine: str = "auto",
    ) -> None:
        super().__init__(params, _options(locals()), engine)

    def rule(self, group: Mapping[str, Any]) -> Rule:
        return _dressed(rules.rprop, group)

    def check(self, group: Mapping[str, Any]) -> None:
        super().check(group)
        low, high = group["etas"]
        if not 0 < low < 1 < high:
            raise UsageError(f"Invalid eta values: {low}, {high}; they must hold 1 between them")


class Adagrad(RuleOptimizer):
    """AdaGrad: torch.optim.Adagrad.

    Args:
        engine: as of `RuleOptimizer`; all else is torch's.
    """

    state_keys = {"s": "sum"}

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = rules.adagrad.defaults["lr"],
        lr_decay: float = rules.adagrad.defaults["lr_decay"],
        weight_decay: float = 0.0,
        initial_accumulator_value: float = rules.adagrad.defaults["initial_accumulator_value"],
        eps: float = rules.adagrad.defaults["eps"],
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        engine: str = "auto",
    ) -> None:
        super().__init__(params, _options(locals()), engine)
        for index, group in enumerate(self.param_groups):  # torch begins this state at once
            rule, hyper = self.rule(group), self.hyper(group)
            for parameter in group["params"]:
                begin(self, parameter, index, rule, hyper)

    def share_memory(self) -> None:
        """Put the sums into memory that other processes share."""
        for state in self.state.values():
            state["sum"].share_memory_()

    def rule(self, group: Mapping[str, Any]) -> Rule:
        return _dressed(rules.adagrad, group)


class Adadelta(RuleOptimizer):
    """AdaDelta: torch.optim.Adadelta.

    Args:
        engine: as of `RuleOptimizer`; all else is torch's.
    """

    state_keys = {"v": "square_avg", "d": "acc_delta"}

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = rules.adadelta.defaults["lr"],
        rho: float = rules.adadelta.defaults["rho"],
        eps: float = rules.adadelta.defaults["eps"],
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
        engine: str = "auto",
    ) -> None:
        super().__init__(params, _options(locals()), engine)

    def rule(self, group: Mapping[str, Any]) -> Rule:
        return _dressed(rules.adadelta, group)

    def check(self, group: Mapping[str, Any]) -> None:
        super().check(group)
        if group["rho"] > 1:
            raise UsageError(f"Invalid rho value: {group['rho']}; it must be at most 1")


class RMSprop(RuleOptimizer):
    """RMSProp, plain, centered, with momentum, or both: torch.optim.RMSprop.

    Args:
        engine: as of `RuleOptimizer`; all else is torch's.
    """

    state_keys = {"v": "square_avg", "mean": "grad_avg", "b": "momentum_buffer"}

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = rules.rmsprop.defaults["lr"],
        alpha: float = rules.rmsprop.defaults["alpha"],
        eps: float = rules.rmsprop.defaults["eps"],
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        *,
        engine: str = "auto",
    ) -> None:
        super().__init__(params, _options(locals()), engine)

    def rule(self, group: Mapping[str, Any]) -> Rule:
        variants = {
            (False, False): rules.rmsprop,
            (False, True): rules.rmsprop_momentum,
            (True, False): rules.rmsprop_centered,
            (True, True): rules.rmsprop_centered_momentum,
        }
        return _dressed(variants[bool(group["centered"]), group["momentum"] != 0], group)


class Adam(RuleOptimizer):
    """Adam, or AMSGrad: torch.optim.Adam.

    Args:
        engine: as of `RuleOptimizer`; all else is torch's.
    """

    state_keys = _MOMENTS

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = rules.adam.defaults["lr"],
        betas: Pair = (rules.adam.defaults["beta1"], rules.adam.defaults["beta2"]),
        eps: float = rules.adam.defaults["eps"],
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
        engine: str = "auto",
    ) -> None:
        super().__init__(params, _options(locals()), engine)

    def rule(self, group: Mapping[str, Any]) -> Rule:
        return _dressed(rules.amsgrad if group["amsgrad"] else rules.adam, group)


class AdamW(Adam):
    """Adam with decoupled weight decay: torch.optim.AdamW.

    Args:
        engine: as of `RuleOptimizer`; all else is torch's.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = rules.adamw.defaults["lr"],
        betas: Pair = (rules.adamw.defaults["beta1"], rules.adamw.defaults["beta2"]),
        eps: float = rules.adamw.defaults["eps"],
        weight_decay: float = rules.adamw.defaults["weight_decay"],
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        engine: str = "auto",
    ) -> None:
        given = _options(locals())
        super().__init__(params, **given, decoupled_weight_decay=True, engine=engine)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:  # a checkpoint of Adam continues as AdamW
            group["decoupled_weight_decay"] = True


class Adamax(RuleOptimizer):
    """Adam with the infinity norm: torch.optim.Adamax.

    Args:
        engine: as of `RuleOptimizer`; all else is torch's.
    """

    state_keys = {"m": "exp_avg", "u": "exp_inf"}

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = rules.adamax.defaults["lr"],
        betas: Pair = (rules.adamax.defaults["beta1"], rules.adamax.defaults["beta2"]),
        eps: float = rules.adamax.defaults["eps"],
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
        engine: str = "auto",
    ) -> None:
        super().__init__(params, _options(locals()), engine)

    def rule(self, group: Mapping[str, Any]) -> Rule:
        return _dressed(rules.adamax, group)


class NAdam(RuleOptimizer):
    """Adam with Nesterov momentum: torch.optim.NAdam.

    Args:
        engine: as of `RuleOptimizer`; all else is torch's.
    """

    state_keys = _MOMENTS

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = rules.nadam.defaults["lr"],
        betas: Pair = (rules.nadam.defaults["beta1"], rules.nadam.defaults["beta2"]),
        eps: float = rules.nadam.defaults["eps"],
        weight_decay: float = 0.0,
        momentum_decay: float = rules.nadam.defaults["momentum_decay"],
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        engine: str = "auto",
    ) -> None:
        super().__init__(params, _options(locals()), engine)

    def rule(self, group: Mapping[str, Any]) -> Rule:
        return _dressed(rules.nadam, group)


class RAdam(RuleOptimizer):
    """Rectified Adam: torch.optim.RAdam.

    Args:
        engine: as of `RuleOptimizer`; all else is torch's.
    """

    state_keys = _MOMENTS

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = rules.radam.defaults["lr"],
        betas: Pair = (rules.radam.defaults["beta1"], rules.radam.defaults["beta2"]),
        eps: float = rules.radam.defaults["eps"],
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        engine: str = "auto",
    ) -> None:
        super().__init__(params, _options(locals()), engine)

    def rule(self, group: Mapping[str, Any]) -> Rule:
        return _dressed(rules.radam, group)


class Lion(RuleOptimizer):
    """Lion, evolved sign momentum; torch has no class of it, the defaults are the paper's.

    Its weight decay is decoupled, as in the paper.

    Args:
        engine: as of `RuleOptimizer`; all else has the names of torch's Adam.
    """

    state_keys = {"m": "exp_avg"}

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = rules.lion.defaults["lr"],
        betas: Pair = (rules.lion.defaults["beta1"], rules.lion.defaults["beta2"]),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        engine: str = "auto",
    ) -> None:
        given = {**_options(locals()), "decoupled_weight_decay": True}
        super().__init__(params, given, engine)

    def rule(self, group: Mapping[str, Any]) -> Rule:
        return _dressed(rules.lion, group)


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameter-group options among a constructor's `locals()`."""
    return {k: v for k, v in given.items() if k not in ("self", "params", "engine", "__class__")}


def _dressed(rule: Rule, group: Mapping[str, Any]) -> Rule:
    """The rule with the combinators that a group's options ask for."""
    decay = None
    if group.get("weight_decay"):
        decoupled = group.get("decoupled_weight_decay")
        decay = rules.decoupled_weight_decay if decoupled else rules.coupled_weight_decay
    return _combine(rule, decay, bool(group["maximize"]))


@cache
def _combine(rule: Rule, decay: Combinator | None, ascent: bool) -> Rule:
    if decay is not None:
        rule = decay(rule)
    return rules.maximize(rule) if ascent else rule
