"""Optimizers that torch does not have, in the form of torch's; arguments as in the papers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

from ... import rules
from ...rules.core import Rule
from ..builtin import BuiltinOptimizer, Number, Pair, Unset, unset
from ..options import BuiltinOptions
from .adam import MOMENTS

_LION, _LARS, _LAMB, _ADAMP = map(unset, (rules.lion, rules.lars, rules.lamb, rules.adamp))
_NO_DECAY = Unset(0.0)  # optax has some


class Lion(BuiltinOptimizer):
    """Lion, evolved sign momentum (Chen et al. 2023).

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        betas: decay rates of the interpolation that gives the step, and of the momentum.
        weight_decay: decoupled, as in the paper.
        maximize: maximize the objective instead of minimizing it.
        foreach, capturable, differentiable: as in torch's classes.
        common: `engine`, `convention` and the other options of `BuiltinOptimizer`.
    """

    state_keys = {"m": "exp_avg"}

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = _LION["lr"],
        betas: Pair = (_LION["beta1"], _LION["beta2"]),
        weight_decay: float = _NO_DECAY,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        **common: Unpack[BuiltinOptions],
    ) -> None:
        options = {
            "lr": lr,
            "betas": betas,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "decoupled_weight_decay": True,
        }
        super().__init__(params, options, **common)

    def base(self, group: Mapping[str, Any]) -> Rule:
        return self.find("lion", group)


class LARS(BuiltinOptimizer):
    """LARS: momentum with a learning rate for every parameter (You, Gitman & Ginsburg 2017).

    Args:
        params: parameters or groups of them. The rate depends on the ratio of a parameter's norm
            to its gradient's, so biases are often left to a separate SGD.
        lr: learning rate, multiplied by a factor for each parameter.
        momentum: decay of the velocity, into which each step enters with its learning rate.
        weight_decay: coupled (added to the gradient), and part of the norm in the ratio.
        trust: the trust coefficient η.
        eps: added to the norm of the gradient.
        maximize: maximize the objective instead of minimizing it.
        foreach, capturable, differentiable: as in torch's classes.
        common: `engine`, `convention` and the other options of `BuiltinOptimizer`.
    """

    state_keys = {"v": "momentum_buffer"}
    counts_steps = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = _LARS["lr"],
        momentum: float = _LARS["momentum"],
        weight_decay: float = _LARS["weight_decay"],
        trust: float = _LARS["trust"],
        eps: float = _LARS["eps"],
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        **common: Unpack[BuiltinOptions],
    ) -> None:
        options = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust": trust,
            "eps": eps,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, options, **common)

    def base(self, group: Mapping[str, Any]) -> Rule:
        return self.find("lars", group)


class LAMB(BuiltinOptimizer):
    """LAMB: Adam's direction, scaled to the norm of the parameter (You et al. 2020).

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        betas: decay rates of the first and the second moment.
        eps: added to the root of the second moment.
        weight_decay: added to Adam's direction before its norm is taken.
        maximize: maximize the objective instead of minimizing it.
        foreach, capturable, differentiable: as in torch's classes.
        common: `engine`, `convention` and the other options of `BuiltinOptimizer`.
    """

    state_keys = MOMENTS

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = _LAMB["lr"],
        betas: Pair = (_LAMB["beta1"], _LAMB["beta2"]),
        eps: float = _LAMB["eps"],
        weight_decay: float = _LAMB["weight_decay"],
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        **common: Unpack[BuiltinOptions],
    ) -> None:
        options = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, options, **common)

    def base(self, group: Mapping[str, Any]) -> Rule:
        return self.find("lamb", group)


class AdamP(BuiltinOptimizer):
    """AdamP: Adam without the part of a step that only scales a scale-invariant weight (Heo 2021).

    The step of a parameter of two or more dimensions is projected, by channel or as a whole, where
    the gradient is nearly orthogonal to the parameter.

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        betas: decay rates of the first and the second moment.
        eps: added to the root of the second moment, and to norms.
        weight_decay: decoupled.
        delta: the largest cosine between gradient and parameter at which a step is projected, times
            the root of the number of elements.
        wd_ratio: factor on the weight decay of a projected step.
        maximize: maximize the objective instead of minimizing it.
        foreach, capturable, differentiable: as in torch's classes.
        common: `engine`, `convention` and the other options of `BuiltinOptimizer`.
    """

    state_keys = MOMENTS

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = _ADAMP["lr"],
        betas: Pair = (_ADAMP["beta1"], _ADAMP["beta2"]),
        eps: float = _ADAMP["eps"],
        weight_decay: float = _ADAMP["weight_decay"],
        delta: float = _ADAMP["delta"],
        wd_ratio: float = _ADAMP["wd_ratio"],
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        **common: Unpack[BuiltinOptions],
    ) -> None:
        options = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "delta": delta,
            "wd_ratio": wd_ratio,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, options, **common)

    def base(self, group: Mapping[str, Any]) -> Rule:
        return self.find("adamp", group)
