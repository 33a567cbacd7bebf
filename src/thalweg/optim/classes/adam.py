"""torch's Adam and its relatives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Unpack

import torch

from ... import rules
from ...rules.core import Rule
from ..builtin import (
    BuiltinOptimizer,
    Number,
    Pair,
    unset,
)
from ..options import BuiltinOptions

MOMENTS = {"m": "exp_avg", "v": "exp_avg_sq", "v_max": "max_exp_avg_sq"}

_ADAM, _ADAMW = unset(rules.adam), unset(rules.adamw)
_ADAMAX, _NADAM, _RADAM = unset(rules.adamax), unset(rules.nadam), unset(rules.radam)


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
        options = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "foreach": foreach,
            "maximize": maximize,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, options, **common)

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
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
            foreach=foreach,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
            **common,
        )

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
        options = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, options, **common)

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
        options = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, options, **common)

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
        options = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, options, **common)

    def base(self, group: Mapping[str, Any]) -> Rule:
        return self.find("radam", group)


@cache
def _decayed(rule: Rule, adamw: Rule) -> Rule:
    """The rule with the weight decay of AdamW in the same convention."""
    (decay,) = adamw.transforms
    return decay(rule, weight_decay=adamw.defaults["weight_decay"])
