"""torch's optimizers by name, with torch's signatures, defaults and state keys.

Every class also takes the options of `BuiltinOptimizer`, among them `engine` and `convention`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Unpack

import torch

from ... import rules
from ...errors import UsageError
from ...rules.core import Rule
from ..builtin import (
    BuiltinOptimizer,
    Number,
    Pair,
    constructor_arguments,
    named_arguments,
    unset,
)
from ..options import BuiltinOptions
from ..stepping.plan import begin

MOMENTS = {"m": "exp_avg", "v": "exp_avg_sq", "v_max": "max_exp_avg_sq"}

_SGD, _MOMENTUM, _ASGD = unset(rules.sgd), unset(rules.momentum), unset(rules.asgd)
_RPROP, _ADAGRAD, _ADADELTA = unset(rules.rprop), unset(rules.adagrad), unset(rules.adadelta)
_RMSPROP, _ADAM, _ADAMW = unset(rules.rmsprop), unset(rules.adam), unset(rules.adamw)
_ADAMAX, _NADAM, _RADAM = unset(rules.adamax), unset(rules.nadam), unset(rules.radam)


class SGD(BuiltinOptimizer, torch.optim.SGD):
    """Gradient descent, plain, with momentum, or with Nesterov momentum: torch.optim.SGD.

    Sparse gradients work without weight decay, as in torch; the momentum is a dense tensor.

    Args:
        common: see `BuiltinOptimizer`; the others are those of torch.optim.SGD.
    """

    state_keys = {"v": "momentum_buffer"}
    signed = frozenset({"dampening"})
    counts_steps = False
    densifies = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = _SGD["lr"],
        momentum: float = 0.0,
        dampening: float = _MOMENTUM["dampening"],
        weight_decay: Number = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
        **common: Unpack[BuiltinOptions],
    ) -> None:
        super().__init__(**constructor_arguments(locals()))

    def base(self, group: Mapping[str, Any]) -> Rule:
        if group["nesterov"] and group["dampening"] != 0:
            raise UsageError("Nesterov momentum requires a momentum and zero dampening")
        if group["momentum"] == 0:
            return self.find("sgd", group)
        return self.find("nesterov" if group["nesterov"] else "momentum", group)

    def check(self, group: Mapping[str, Any]) -> None:
        if group["nesterov"] and group["momentum"] <= 0:
            raise UsageError("Nesterov momentum requires a momentum and zero dampening")
        super().check(group)


class ASGD(BuiltinOptimizer, torch.optim.ASGD):
    """Averaged stochastic gradient descent: torch.optim.ASGD.

    Args:
        common: see `BuiltinOptimizer`; the others are those of torch.optim.ASGD.
    """

    state_keys = {"average": "ax"}
    signed = frozenset({"lambd", "alpha", "t0"})

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = _ASGD["lr"],
        lambd: float = _ASGD["lambd"],
        alpha: float = _ASGD["alpha"],
        t0: float = _ASGD["t0"],
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
        **common: Unpack[BuiltinOptions],
    ) -> None:
        super().__init__(**constructor_arguments(locals()))

    def base(self, group: Mapping[str, Any]) -> Rule:
        return self.find("asgd", group)


class Rprop(BuiltinOptimizer, torch.optim.Rprop):
    """Resilient backpropagation: torch.optim.Rprop.

    Args:
        common: see `BuiltinOptimizer`; the others are those of torch.optim.Rprop.
    """

    state_keys = {"previous": "prev", "size": "step_size", "step": "update"}
    pairs = {"etas": ("eta_minus", "eta_plus"), "step_sizes": ("size_min", "size_max")}
    signed = frozenset({"size_min", "size_max"})

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = _RPROP["lr"],
        etas: Pair = (_RPROP["eta_minus"], _RPROP["eta_plus"]),
        step_sizes: Pair = (_RPROP["size_min"], _RPROP["size_max"]),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        **common: Unpack[BuiltinOptions],
    ) -> None:
        super().__init__(**constructor_arguments(locals()))

    def base(self, group: Mapping[str, Any]) -> Rule:
        return self.find("rprop", group)

    def check(self, group: Mapping[str, Any]) -> None:
        super().check(group)
        low, high = group["etas"]
        if not 0 < low < 1 < high:
            raise UsageError(f"Invalid eta values: {low}, {high}; 0 < first < 1 < second must hold")


class Adagrad(BuiltinOptimizer, torch.optim.Adagrad):
    """AdaGrad: torch.optim.Adagrad.

    Args:
        common: see `BuiltinOptimizer`; the others are those of torch.optim.Adagrad.
    """

    state_keys = {"s": "sum"}

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = _ADAGRAD["lr"],
        lr_decay: float = _ADAGRAD["lr_decay"],
        weight_decay: float = 0.0,
        initial_accumulator_value: float = _ADAGRAD["initial_accumulator_value"],
        eps: float = _ADAGRAD["eps"],
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        **common: Unpack[BuiltinOptions],
    ) -> None:
        super().__init__(**constructor_arguments(locals()))
        for index, group in enumerate(self.param_groups):  # torch creates this state here too
            rule, hyper = self.rule(group), self.hyper(group)
            for parameter in group["params"]:
                if parameter.is_floating_point() or parameter.is_complex():
                    begin(self, parameter, index, rule, hyper)

    def share_memory(self) -> None:
        """Move the sums of squared gradients to shared memory."""
        for state in self.state.values():
            state["sum"].share_memory_()

    def base(self, group: Mapping[str, Any]) -> Rule:
        return self.find("adagrad", group)


class Adadelta(BuiltinOptimizer, torch.optim.Adadelta):
    """AdaDelta: torch.optim.Adadelta.

    Args:
        common: see `BuiltinOptimizer`; the others are those of torch.optim.Adadelta.
    """

    state_keys = {"v": "square_avg", "d": "acc_delta"}

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = _ADADELTA["lr"],
        rho: float = _ADADELTA["rho"],
        eps: float = _ADADELTA["eps"],
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
        **common: Unpack[BuiltinOptions],
    ) -> None:
        super().__init__(**constructor_arguments(locals()))

    def base(self, group: Mapping[str, Any]) -> Rule:
        return self.find("adadelta", group)

    def check(self, group: Mapping[str, Any]) -> None:
        super().check(group)
        if group["rho"] > 1:
            raise UsageError(f"Invalid rho value: {group['rho']}; it must be at most 1")


class RMSprop(BuiltinOptimizer, torch.optim.RMSprop):
    """RMSProp, plain, centered, with momentum, or both: torch.optim.RMSprop.

    Args:
        common: see `BuiltinOptimizer`; the others are those of torch.optim.RMSprop.
    """

    state_keys = {"v": "square_avg", "mean": "grad_avg", "b": "momentum_buffer"}

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = _RMSPROP["lr"],
        alpha: float = _RMSPROP["alpha"],
        eps: float = _RMSPROP["eps"],
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        **common: Unpack[BuiltinOptions],
    ) -> None:
        super().__init__(**constructor_arguments(locals()))

    def base(self, group: Mapping[str, Any]) -> Rule:
        centered = "_centered" if group["centered"] else ""
        momentum = "_momentum" if group["momentum"] != 0 else ""
        return self.find(f"rmsprop{centered}{momentum}", group)


class Adam(BuiltinOptimizer, torch.optim.Adam):
    """Adam, or AMSGrad: torch.optim.Adam.

    Args:
        common: see `BuiltinOptimizer`; the others are those of torch.optim.Adam.
    """

    state_keys = MOMENTS

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = _ADAM["lr"],
        betas: Pair = (_ADAM["beta1"], _ADAM["beta2"]),
        eps: float = _ADAM["eps"],
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
        **common: Unpack[BuiltinOptions],
    ) -> None:
        super().__init__(**constructor_arguments(locals()))

    def base(self, group: Mapping[str, Any]) -> Rule:
        own = self.find("amsgrad" if group["amsgrad"] else "adam", group)
        if group["decoupled_weight_decay"] and group["weight_decay"]:
            return _decayed(own, self.find("adamw", group))
        return own


class AdamW(Adam, torch.optim.AdamW):
    """Adam with decoupled weight decay: torch.optim.AdamW.

    Args:
        common: see `BuiltinOptimizer`; the others are those of torch.optim.AdamW.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = _ADAMW["lr"],
        betas: Pair = (_ADAMW["beta1"], _ADAMW["beta2"]),
        eps: float = _ADAMW["eps"],
        weight_decay: float = _ADAMW["weight_decay"],
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        **common: Unpack[BuiltinOptions],
    ) -> None:
        super().__init__(**named_arguments(locals()), decoupled_weight_decay=True)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:  # a checkpoint of Adam may be loaded
            group["decoupled_weight_decay"] = True


class Adamax(BuiltinOptimizer, torch.optim.Adamax):
    """Adam with the infinity norm: torch.optim.Adamax.

    Args:
        common: see `BuiltinOptimizer`; the others are those of torch.optim.Adamax.
    """

    state_keys = {"m": "exp_avg", "u": "exp_inf"}

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = _ADAMAX["lr"],
        betas: Pair = (_ADAMAX["beta1"], _ADAMAX["beta2"]),
        eps: float = _ADAMAX["eps"],
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
        **common: Unpack[BuiltinOptions],
    ) -> None:
        super().__init__(**constructor_arguments(locals()))

    def base(self, group: Mapping[str, Any]) -> Rule:
        return self.find("adamax", group)


class NAdam(BuiltinOptimizer, torch.optim.NAdam):
    """Adam with Nesterov momentum: torch.optim.NAdam.

    Args:
        common: see `BuiltinOptimizer`; the others are those of torch.optim.NAdam.
    """

    state_keys = MOMENTS

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = _NADAM["lr"],
        betas: Pair = (_NADAM["beta1"], _NADAM["beta2"]),
        eps: float = _NADAM["eps"],
        weight_decay: float = 0.0,
        momentum_decay: float = _NADAM["momentum_decay"],
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        **common: Unpack[BuiltinOptions],
    ) -> None:
        super().__init__(**constructor_arguments(locals()))

    def base(self, group: Mapping[str, Any]) -> Rule:
        return self.find("nadam", group)


class RAdam(BuiltinOptimizer, torch.optim.RAdam):
    """Rectified Adam: torch.optim.RAdam.

    Args:
        common: see `BuiltinOptimizer`; the others are those of torch.optim.RAdam.
    """

    state_keys = MOMENTS

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = _RADAM["lr"],
        betas: Pair = (_RADAM["beta1"], _RADAM["beta2"]),
        eps: float = _RADAM["eps"],
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        **common: Unpack[BuiltinOptions],
    ) -> None:
        super().__init__(**constructor_arguments(locals()))

    def base(self, group: Mapping[str, Any]) -> Rule:
        return self.find("radam", group)


@cache
def _decayed(rule: Rule, adamw: Rule) -> Rule:
    """The rule with the weight decay of AdamW in the same convention."""
    (decay,) = adamw.transforms
    return decay(rule, weight_decay=adamw.defaults["weight_decay"])
