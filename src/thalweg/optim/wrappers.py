"""Optimizers that wrap another one: Lookahead, and a moving average of the parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..errors import UsageError
from ..rules.averages import average, corrected_average
from ..rules.core import Rule
from .optimizer import RuleOptimizer


class Wrapper(Optimizer):
    """An optimizer that wraps another one and keeps a copy of each of its parameters.

    Parameter groups, state and defaults are the wrapped optimizer's, so that a scheduler or a
    gradient scaler may be given either. A checkpoint is the wrapped optimizer's, with the copy in
    the state of each parameter; it loads into the wrapped optimizer alone too. A checkpoint of the
    wrapped optimizer loads here, and the copies then begin anew. Copies of float16 and bfloat16
    parameters are kept in float32.

    Attributes:
        optimizer: the wrapped optimizer.
        key: the key of a copy in a checkpoint.
        options: the attributes that a subclass adds.
    """

    key: ClassVar[str]
    options: ClassVar[tuple[str, ...]]
    optimizer: Optimizer

    def __init__(self, optimizer: Optimizer, **options: Any) -> None:
        # It has no groups of its own, so torch initializes it as it does an unpickled optimizer.
        self.__setstate__({"optimizer": optimizer, **options})

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The wrapped optimizer's parameter groups."""
        return self.optimizer.param_groups

    @property
    def state(self) -> Any:  # type: ignore[override]
        """The wrapped optimizer's state."""
        return self.optimizer.state

    @property
    def defaults(self) -> dict[str, Any]:  # type: ignore[override]
        """The wrapped optimizer's defaults."""
        return self.optimizer.defaults

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Step the wrapped optimizer, then update the copies.

        Args:
            closure: evaluates the model, computes gradients and returns the loss.

        Returns:
            What the wrapped optimizer's step returned.

        Raises:
            UsageError: the parameters are swapped with the copies.
        """
        self._refuse_swapped()
        self._begin()
        loss = self.optimizer.step(closure) if closure is not None else self.optimizer.step()
        self._taken += 1
        self._follow()
        return loss

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Swap the parameters for their copies in this context, to evaluate or save these.

        Raises:
            UsageError: the parameters are swapped already.
        """
        self._refuse_swapped()
        self._begin()
        own = {p: p.detach().clone() for p in self._copies}
        self._swapped = True
        try:
            assign(self._copies)
            yield
        finally:
            assign(own)
            self._swapped = False

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of all parameters.

        Args:
            set_to_none: set them to None instead of zeros.
        """
        self.optimizer.zero_grad(set_to_none)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters to the wrapped optimizer; their copies begin with the next step."""
        self.optimizer.add_param_group(param_group)

    def state_dict(self) -> dict[str, Any]:
        """The wrapped optimizer's checkpoint, with a copy in the state of each parameter."""
        for before in self._optimizer_state_dict_pre_hooks.values():
            before(self)
        saved = self.optimizer.state_dict()
        state, count = saved["state"], torch.tensor(float(self._taken))
        own = {
            index: {**state.get(index, {}), self.key: self._copies[p], f"{self.key}_step": count}
            for index, p in enumerate(self._parameters())
            # One that never moved begins anew without loss; torch's classes would take its state
            # for one of their own.
            if p in self._copies
            and (index in state or not state or not torch.equal(self._copies[p].to(p), p))
        }
        saved = {**saved, "state": {**state, **own}}
        for after in self._optimizer_state_dict_post_hooks.values():
            saved = after(self, saved) or saved
        return saved

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a checkpoint of this class or of the wrapped optimizer's class.

        Args:
            state_dict: what `state_dict()` returned. k, alpha and decay are not loaded.
        """
        for before in self._optimizer_load_state_dict_pre_hooks.values():
            state_dict = before(self, state_dict) or state_dict
        count, rest, copies = f"{self.key}_step", {}, {}
        for index, entries in state_dict["state"].items():
            inner = {k: v for k, v in entries.items() if k not in (self.key, count)}
            if inner or not entries:
                rest[index] = inner
            if self.key in entries:
                copies[index] = entries
        self.optimizer.load_state_dict({**state_dict, "state": rest})
        order = (index for group in state_dict["param_groups"] for index in group["params"])
        named = dict(zip(order, self._parameters(), strict=True))
        self._copies = {named[i]: _copy(e[self.key], named[i]) for i, e in copies.items()}
        self._taken = max((int(e[count]) for e in copies.values()), default=0)
        self._mover = None
        for after in self._optimizer_load_state_dict_post_hooks.values():
            after(self)

    def __getstate__(self) -> dict[str, Any]:
        kept = ("optimizer", "_copies", "_taken", *self.options)
        return {name: self.__dict__[name] for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        fresh = {"_copies": {}, "_taken": 0, "_swapped": False, "_mover": None}
        super().__setstate__({**fresh, **state})

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.options)
        return f"{type(self).__name__}({options}) around {self.optimizer!r}"

    _copies: dict[Tensor, Tensor]  # of each parameter
    _taken: int  # steps
    _swapped: bool
    _mover: RuleOptimizer | None  # steps the copies

    def _follow(self) -> None:
        """Move the copies after a step of the wrapped optimizer."""
        raise NotImplementedError

    def _motion(self) -> tuple[Rule, dict[str, float]]:
        """The rule by which copies move, and its current hyperparameters."""
        raise NotImplementedError

    def _refuse_swapped(self) -> None:
        if self._swapped:
            raise UsageError("the parameters are swapped: leave `with ….swapped():` first")

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def _begin(self) -> None:
        """Copy every parameter that has no copy yet."""
        for p in self._parameters():
            if p not in self._copies:
                self._copies[p] = _copy(p, p)
                self._mover = None

    def _move(self) -> None:
        """Step all copies at once by the rule, with the parameter in place of the gradient."""
        copies = self._copies.values()
        rule, hyper = self._motion()
        if self._mover is None:
            self._mover = _Mover(copies, rule, hyper)
            for copy in copies:
                self._mover.state[copy]["step"] = torch.tensor(self._taken - 1.0)
        self._mover.param_groups[0].update(hyper)
        for p, copy in self._copies.items():
            copy.grad = p.detach().to(copy)
        self._mover.step()
        for copy in copies:
            copy.grad = None


class Lookahead(Wrapper):
    """Lookahead: k steps forward, one step back (Zhang et al. 2019).

    After every k steps of the wrapped optimizer the slow weights move the fraction alpha of the way
    to the parameters, and the parameters are set to them. The wrapped optimizer keeps its state.
    In `with lookahead.swapped():` the parameters are the slow weights.

    Args:
        optimizer: the optimizer to wrap, any of torch's kind.
        k: steps between two moves of the slow weights, at least 1.
        alpha: fraction of the way, from 0 to 1.

    Raises:
        UsageError: an argument is out of its range.
    """

    key = "slow"
    options = ("k", "alpha")
    k: int
    alpha: float

    def __init__(self, optimizer: Optimizer, k: int = 5, alpha: float = 0.5) -> None:
        if not isinstance(optimizer, Optimizer):
            raise UsageError(
                f"optimizer={optimizer!r} is not a torch.optim.Optimizer; write "
                "Lookahead(thalweg.optim.Adam(model.parameters()))"
            )
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise UsageError(f"k={k!r} must be a whole number of steps, at least 1")
        if not 0 <= alpha <= 1:
            raise UsageError(f"alpha={alpha!r} must be from 0 to 1")
        super().__init__(optimizer, k=k, alpha=alpha)

    def _follow(self) -> None:
        if self._taken % self.k == 0:
            self._move()
            assign(self._copies)

    def _motion(self) -> tuple[Rule, dict[str, float]]:
        return average, {"weight": self.alpha}


class EMA(Wrapper):
    """The exponential moving average of the parameters (Polyak & Juditsky 1992).

    `EMA(optimizer)` steps the optimizer and then updates the average, which starts from the
    parameters before the first step. `EMA(model.parameters())` steps nothing: the average starts at
    once, and `update()` adds the current parameters to it. In `with ema.swapped():` the parameters
    are the average.

    Args:
        source: an optimizer, or parameters.
        decay: weight of the previous average at every step, at least 0 and below 1.
        bias_correction: leave the initial parameters out of the average, as Adam corrects its
            moments.

    Raises:
        UsageError: an argument is out of its range.
    """

    key = "ema"
    options = ("decay", "bias_correction")
    decay: float
    bias_correction: bool

    def __init__(
        self,
        source: Optimizer | Iterable[Any],
        decay: float = 0.999,
        *,
        bias_correction: bool = False,
    ) -> None:
        if not 0 <= decay < 1:
            raise UsageError(f"decay={decay!r} must be from 0 to below 1")
        optimizer = source if isinstance(source, Optimizer) else _Still(source, {})
        super().__init__(optimizer, decay=decay, bias_correction=bias_correction)
        if optimizer is not source:
            self._begin()

    @property
    def averages(self) -> list[Tensor]:
        """The average of each parameter, in their order."""
        self._begin()
        return [self._copies[p] for p in self._parameters()]

    def update(self) -> None:
        """Add the current parameters to the average, without a step.

        Raises:
            UsageError: the parameters are swapped with the copies.
        """
        self._refuse_swapped()
        self._begin()
        self._taken += 1
        self._follow()

    def _follow(self) -> None:
        self._move()

    def _motion(self) -> tuple[Rule, dict[str, float]]:
        if self.bias_correction:
            return corrected_average, {"decay": self.decay}
        return average, {"weight": 1 - self.decay}


class _Mover(RuleOptimizer):
    """The optimizer that steps the copies, by a rule."""

    def __init__(self, copies: Iterable[Tensor], rule: Rule, hyper: Mapping[str, float]) -> None:
        self._rule = rule
        super().__init__(copies, dict(hyper))

    def rule(self, group: Mapping[str, Any]) -> Rule:
        return self._rule


class _Still(Optimizer):
    """An optimizer that does not change its parameters."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        return None if closure is None else closure()


def _copy(value: Tensor, like: Tensor) -> Tensor:
    """A copy on the parameter's device, in its number type but no less than float32."""
    narrow = like.dtype in (torch.float16, torch.bfloat16)
    dtype = torch.float32 if narrow else like.dtype
    return value.detach().to(device=like.device, dtype=dtype, copy=True)


@torch.no_grad()
def assign(values: Mapping[Tensor, Tensor]) -> None:
    """Give parameters these values."""
    for p, value in values.items():
        p.copy_(value)
