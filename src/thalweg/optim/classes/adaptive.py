"""torch's optimizers that divide the gradient by the root of its squares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

import torch

from ... import rules
from ...errors import UsageError
from ...rules.core import Rule
from ..builtin import (
    BuiltinOptimizer,
    Number,
    unset,
)
from ..options import BuiltinOptions
from ..stepping.plan import begin

_ADAGRAD, _ADADELTA = unset(rules.adagrad), unset(rules.adadelta)
_RMSPROP = unset(rules.rmsprop)


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
        options = {
            "lr": lr,
            "lr_decay": lr_decay,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "eps": eps,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, options, **common)
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
        options = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "capturable": capturable,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, options, **common)

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
        options = {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "centered": centered,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, options, **common)

    def base(self, group: Mapping[str, Any]) -> Rule:
        centered = "_centered" if group["centered"] else ""
        momentum = "_momentum" if group["momentum"] != 0 else ""
        return self.find(f"rmsprop{centered}{momentum}", group)
