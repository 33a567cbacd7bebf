"""The named optimizers that torch lacks, in its manner; the arguments are their authors'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

from .. import rules
from ..rules.core import Rule
from .classes import MOMENTS
from .named import Named, Number, Pair, Unset, arguments, unset
from .own import NamedOwn

_LION, _LARS, _LAMB, _ADAMP = map(unset, (rules.lion, rules.lars, rules.lamb, rules.adamp))
_NO_DECAY = Unset(0.0)  # optax has some


class Lion(Named):
    """Lion, evolved sign momentum (Chen et al. 2023).

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        betas: of the step and of the momentum.
        weight_decay: decoupled, as in the paper.
        maximize: step uphill.
        foreach, capturable, differentiable: as of torch's classes.
        own: `engine` and the other options of `Named`.
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
        **own: Unpack[NamedOwn],
    ) -> None:
        whole = arguments(locals())
        whole["options"]["decoupled_weight_decay"] = True
        super().__init__(**whole)

    def base(self, group: Mapping[str, Any]) -> Rule:
        return self.find("lion", group)


class LARS(Named):
    """LARS: momentum with a learning rate for every parameter (You, Gitman & Ginsburg 2017).

    Args:
        params: parameters or groups of them; the rate is that of a parameter's norm to its
            gradient's, so biases are often given a group of their own with SGD.
        lr: learning rate, of which every parameter gets its own part.
        momentum: of the velocity, which holds the learning rate of its time.
        weight_decay: coupled, and part of the measured length.
        trust: the trust coefficient η.
        eps: added to the length of the gradient.
        maximize: step uphill.
        foreach, capturable, differentiable: as of torch's classes.
        own: `engine` and the other options of `Named`.
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
        **own: Unpack[NamedOwn],
    ) -> None:
        super().__init__(**arguments(locals()))

    def base(self, group: Mapping[str, Any]) -> Rule:
        return self.find("lars", group)


class LAMB(Named):
    """LAMB: Adam's direction, as long as the parameter is (You et al. 2020).

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        betas: of the first and the second moment.
        eps: added to the root of the second moment.
        weight_decay: added to Adam's direction before its length is measured.
        maximize: step uphill.
        foreach, capturable, differentiable: as of torch's classes.
        own: `engine` and the other options of `Named`.
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
        **own: Unpack[NamedOwn],
    ) -> None:
        super().__init__(**arguments(locals()))

    def base(self, group: Mapping[str, Any]) -> Rule:
        return self.find("lamb", group)


class AdamP(Named):
    """AdamP: Adam less what only lengthens weights whose scale means nothing (Heo et al. 2021).

    A parameter of two and more dimensions is projected channel by channel, or as a whole, where
    its gradient stands upright on it.

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        betas: of the first and the second moment.
        eps: added to the root of the second moment, and to lengths.
        weight_decay: decoupled.
        delta: how upright, as a cosine times the root of the number of elements.
        wd_ratio: the part of the weight decay that remains where a step was projected.
        maximize: step uphill.
        foreach, capturable, differentiable: as of torch's classes.
        own: `engine` and the other options of `Named`.
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
        **own: Unpack[NamedOwn],
    ) -> None:
        super().__init__(**arguments(locals()))

    def base(self, group: Mapping[str, Any]) -> Rule:
        return self.find("adamp", group)
