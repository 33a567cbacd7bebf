"""torch's optimizers that descend along the gradient, its average or its sign."""

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
    Pair,
    unset,
)
from ..options import BuiltinOptions

_SGD, _MOMENTUM = unset(rules.sgd), unset(rules.momentum)
_ASGD, _RPROP = unset(rules.asgd), unset(rules.rprop)


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
        options = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, options, **common)

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
        options = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, options, **common)

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
        options = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, options, **common)

    def base(self, group: Mapping[str, Any]) -> Rule:
        return self.find("rprop", group)

    def check(self, group: Mapping[str, Any]) -> None:
        super().check(group)
        low, high = group["etas"]
        if not 0 < low < 1 < high:
            raise UsageError(f"Invalid eta values: {low}, {high}; 0 < first < 1 < second must hold")
