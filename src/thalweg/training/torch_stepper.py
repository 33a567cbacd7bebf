"""Runs that an optimizer class of its own steps, one model at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..errors import UsageError
from ..schedules import CONSTANT
from .population import Population
from .runs import Run
from .steppers import DIAGNOSTICS, diagnostics
from .torch_method import TorchMethod


class TorchDescent:
    """One run of an optimizer class.

    Every gradient counts as a step of the run. Where a step of the optimizer computes further
    gradients by a closure, the mini-batches of as many steps are passed over, and the new
    parameters are there only after these: so a measurement after n steps is of no more than n
    gradients, and a step that the run has no gradients left for is not counted.

    Args:
        population: of one model.
        runs: the run.
        steps: how many it takes in all, for its schedule.

    Attributes:
        optimizer: steps the parameters of the model.
        gradients: how many have been computed.
    """

    def __init__(self, population: Population, runs: Sequence[Run], steps: int) -> None:
        if len(runs) != 1 or not isinstance(runs[0].method, TorchMethod):
            raise ValueError("an optimizer class trains one run at a time")
        self.population, self.run, self.method = population, runs[0], runs[0].method
        self.steps, self.taken, self.gradients = steps, 0, 0
        self.parameters = population.own
        self.optimizer: Optimizer = self.method.build(self.parameters, self.run.hyper)
        self.groups = self.optimizer.param_groups
        self.rates = self._rates()
        decayed = "weight_decay" not in self.method.defaults
        self.decay = self.run.hyper.get("weight_decay", 0.0) if decayed else 0.0
        self.watching, self.moving = False, True
        unknown = torch.full((1,), torch.nan, device=population.device)
        self.seen = dict.fromkeys(DIAGNOSTICS, unknown)
        self.loss = unknown
        self.owed = 0  # steps that the gradients of the last step of the optimizer still take
        self.held: list[Tensor] = []  # the parameters after it, until then
        self._switch("train")

    def _rates(self) -> list[Any]:
        """The learning rate of every group before any schedule; none where it never changes."""
        schedule = self.run.recipe.schedule
        if schedule == CONSTANT:
            return []
        if not all("lr" in group for group in self.groups):
            raise UsageError(
                f"{self.method.name} has no 'lr' in its param_groups, so that no schedule can "
                "change it; leave schedule and warmup out"
            )
        return [float(group["lr"]) for group in self.groups]

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        self.taken += 1
        if self.owed:
            self.owed -= 1
        else:
            self._step(x, y)
        if self.held and not self.owed:
            _write(self.held, self.parameters)
            self.held = []
        return self.loss

    def _step(self, x: Tensor, y: Tensor) -> None:
        """Take a step of the optimizer."""
        schedule = self.run.recipe.schedule
        for group, rate in zip(self.groups, self.rates, strict=False):
            _set_rate(group, rate * schedule(self.taken, self.steps))
        self.loss, gradients = self._differentiate(x, y)
        if not self.moving:
            return
        keep = self.watching or self.method.closure
        before = [p.detach().clone() for p in self.parameters] if keep else []
        # The clipped gradients that the optimizer has are others than the measured ones.
        measured = [g.clone() for g in gradients] if self.watching else []
        self._prepare(gradients)
        counted = self.gradients
        if self.method.closure:
            self.optimizer.step(self._closure(x, y, before, gradients))
        else:
            self.optimizer.step()
        self.owed = self.gradients - counted
        if self.watching:
            after = [p.detach()[None] for p in self.parameters]
            # It subtracts in place, and what was before may be needed again.
            start = [b.clone()[None] for b in before]
            self.seen = diagnostics(start, after, [g[None] for g in measured])
        if self.owed:
            self.held = [p.detach().clone() for p in self.parameters]
            _write(before, self.parameters)
        for p in self.parameters:
            p.grad = None

    def _differentiate(self, x: Tensor, y: Tensor) -> tuple[Tensor, list[Tensor]]:
        self.gradients += 1
        with torch.enable_grad():
            loss, gradients = self.population.gradients(x, y)
        return loss, [g[0] for g in gradients]

    def _prepare(self, gradients: Sequence[Tensor]) -> None:
        """Hand the optimizer gradients: clipped, then with the decay that it has not itself."""
        for p, g in zip(self.parameters, gradients, strict=True):
            p.grad = g.contiguous()
        if self.run.recipe.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.run.recipe.clip)
        if self.decay:
            for p in self.parameters:
                assert p.grad is not None
                p.grad.add_(p.detach(), alpha=self.decay)

    def _closure(
        self, x: Tensor, y: Tensor, before: Sequence[Tensor], gradients: Sequence[Tensor]
    ) -> Callable[[], Any]:
        """What computes loss and gradient again, at the parameters that are there then.

        Some classes begin with a call of it and others with the gradient that is there. So the
        first one is computed for both, and not again by a call before the parameters change.
        """
        first, loss = [g.clone() for g in gradients], self.loss

        def closure() -> Tensor:
            if all(map(torch.equal, self.parameters, before)):
                self._prepare([g.clone() for g in first])
                return loss[0]
            again, gradients = self._differentiate(x, y)
            self._prepare(gradients)
            return again[0]

        return closure

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Measure the parameters that the optimizer has for that, where they are others."""
        self._switch("eval")
        try:
            yield
        finally:
            self._switch("train")

    def _switch(self, mode: str) -> None:
        switches = [getattr(self.optimizer, name, None) for name in ("train", "eval")]
        if all(map(callable, switches)):
            getattr(self.optimizer, mode)()

    def freeze(self, lanes: Sequence[int]) -> None:
        if lanes:
            self.moving, self.owed = False, 0
            self.held = []

    def keep(self, lanes: Sequence[int]) -> None:
        """There is one lane, and it stays."""


@torch.no_grad()
def _write(values: Sequence[Tensor], parameters: Sequence[Tensor]) -> None:
    for p, value in zip(parameters, values, strict=True):
        p.copy_(value)


def _set_rate(group: dict[str, Any], rate: float) -> None:
    if isinstance(group["lr"], Tensor):  # a tensor may be read by compiled code
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate
