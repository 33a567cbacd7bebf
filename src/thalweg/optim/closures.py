"""Optimizers whose step evaluates the loss itself, by a closure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from .. import rules
from ..errors import UsageError
from ..rules.core import Rule
from ..rules.ranges import SPREAD
from .optimizer import RuleOptimizer
from .wrappers import assign

Closure = Callable[[], Any]

# Around the gradient of the look-ahead point, Nesterov's step is that of the heavy ball.
_BALL = rules.find("keras:momentum")
_UPHILL = rules.maximize(_BALL)


class LookaheadNesterov(RuleOptimizer):
    """Nesterov momentum with its gradient at the look-ahead point (Sutskever et al. 2013, eq. 3-4).

    Each step evaluates the closure at θ + μ·v and then steps from θ: v ← μ·v − η·g, θ ← θ + v.
    `SGD(nesterov=True)` is the same method written in terms of the look-ahead points, and needs no
    closure.

    Args:
        params: parameters or groups of them.
        lr: learning rate η.
        momentum: μ.
        maximize: maximize the loss instead of minimizing it.
        engine: see `RuleOptimizer`.

    Raises:
        UsageError: an option is out of its range.
    """

    state_keys = {"v": "momentum_buffer"}
    counts_steps = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = rules.nesterov.defaults["lr"],
        momentum: float = rules.nesterov.defaults["momentum"],
        *,
        maximize: bool = False,
        engine: str = "auto",
    ) -> None:
        super().__init__(
            params, {"lr": lr, "momentum": momentum, "maximize": maximize}, engine=engine
        )

    def rule(self, group: Mapping[str, Any]) -> Rule:
        return _UPHILL if group["maximize"] else _BALL

    def step(self, closure: Closure | None = None) -> Any:
        """Take one step.

        Args:
            closure: clears the gradients, evaluates the model, runs backward, and returns the loss.

        Returns:
            The loss at the look-ahead point.

        Raises:
            UsageError: there is no closure.
        """
        evaluate = _needed(self, closure, "the gradient at the look-ahead point")
        start = self._look_ahead()
        try:
            with torch.enable_grad():
                loss = evaluate()
        finally:
            assign(start)
        super().step()
        return loss

    @torch.no_grad()
    def _look_ahead(self) -> dict[Tensor, Tensor]:
        """Move the parameters to the look-ahead point; return where they were."""
        start = {}
        for group in self.param_groups:
            for p in group["params"]:
                velocity = self.state[p].get("momentum_buffer") if p in self.state else None
                if velocity is not None:
                    start[p] = p.detach().clone()
                    p.add_(velocity, alpha=float(group["momentum"]))
        return start


class RandomSearch(Optimizer):
    """Random search: draw parameters at random and keep the best (Rastrigin 1963).

    Draws are normal around 0, with the spread as standard deviation. A draw replaces the
    parameters if the closure returns a lower loss for it. Gradients are not used.

    Args:
        params: parameters or groups of them.
        spread: standard deviation of the draws.
        seed: seed of the draws.
        generator: a generator to use instead of one with this seed.

    Raises:
        UsageError: the spread is not positive and finite.
    """

    def __init__(
        self,
        params: Iterable[Any],
        spread: float = SPREAD.centre,
        *,
        seed: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        self.generator = generator or torch.Generator().manual_seed(seed)
        super().__init__(params, {"spread": spread})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group, with its own spread if it gives one."""
        spread = param_group.get("spread", self.defaults["spread"])
        if not 0 < spread < math.inf:
            raise UsageError(f"spread={spread!r} must be above 0 and finite")
        super().add_param_group(param_group)

    def step(self, closure: Closure | None = None) -> Any:
        """Try one draw.

        Args:
            closure: evaluates the model, on the same batch each time, and returns the loss; it
                need not run backward.

        Returns:
            The loss before the step.

        Raises:
            UsageError: there is no closure.
        """
        evaluate = _needed(self, closure, "the losses to compare")
        before = evaluate()
        best = {p: p.detach().clone() for group in self.param_groups for p in group["params"]}
        better = False
        try:
            self._draw()
            better = _number(evaluate()) < _number(before)
        finally:
            if not better:
                assign(best)
        return before

    @torch.no_grad()
    def _draw(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                device = self.generator.device
                drawn = torch.randn(p.shape, generator=self.generator, device=device)
                p.copy_(drawn * group["spread"])

    def state_dict(self) -> dict[str, Any]:
        """Options and the generator's state, from which a search continues as if never stopped."""
        return {**super().state_dict(), "generator": self.generator.get_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict()` returned."""
        super().load_state_dict(state_dict)
        if "generator" in state_dict:
            self.generator.set_state(state_dict["generator"].cpu())

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "generator": self.generator}


def _needed(optimizer: Optimizer, closure: Closure | None, purpose: str) -> Closure:
    if closure is None:
        raise UsageError(
            f"{type(optimizer).__name__}.step needs a closure, for {purpose}: write "
            "optimizer.step(closure), where closure() evaluates the model and returns the loss"
        )
    return closure


def _number(loss: Any) -> float:
    return float(loss.detach() if isinstance(loss, Tensor) else loss)
