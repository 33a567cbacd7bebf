"""Many models of one task as one: their parameters stacked, their passes shared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ..tasks import Task

_EVALUATED = 32  # lanes at a time on a whole data set: the outputs of all would leave the caches


class Population:
    """Models of one architecture, one per lane, each initialised from its own seed.

    Args:
        task: whose model, loss and metric.
        seeds: a seed per lane.

    Attributes:
        parameters: one tensor per parameter of the model, stacked over lanes: (lanes, *shape).
    """

    def __init__(self, task: Task, seeds: Sequence[int]) -> None:
        self.task, self.lanes = task, len(seeds)
        models = [build(task, seed) for seed in seeds]
        self.model = models[0]
        self.names = [n for n, p in self.model.named_parameters() if p.requires_grad]
        each = [dict(m.named_parameters()) for m in models]
        self.parameters = [
            torch.stack([p[name].detach() for p in each]).requires_grad_() for name in self.names
        ]
        # What is not trained is shared, unless the seed decided it.
        self.fixed = {}
        self.fixed_dims: dict[str, int | None] = {}
        for name, values in _not_trained(models).items():
            alike = all(torch.equal(value, values[0]) for value in values)
            self.fixed[name] = values[0] if alike else torch.stack(values)
            self.fixed_dims[name] = None if alike else 0
        self._settle()

    def _settle(self) -> None:
        """Have the model itself train on the stack's own memory where it is alone.

        So nothing is slower than in a loop written for one run.
        """
        if self.lanes == 1:
            own = dict(self.model.named_parameters())
            for name, stacked in zip(self.names, self.parameters, strict=True):
                own[name].data = stacked.detach()[0]
            self.own = [own[name] for name in self.names]

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with these lanes alone, in this order; the memory of the others is free.

        Args:
            lanes: their numbers, one or more.
        """
        chosen = torch.tensor(lanes)
        self.lanes = len(lanes)
        self.parameters = [
            p.detach().index_select(0, chosen).requires_grad_() for p in self.parameters
        ]
        for name, dim in self.fixed_dims.items():
            if dim == 0:
                own = self.fixed[name].index_select(0, chosen)
                alone = self.lanes == 1  # and reads what is shared
                self.fixed[name] = own[0] if alone else own
                self.fixed_dims[name] = None if alone else 0
        if self.lanes == 1:
            theirs = dict(self.model.named_parameters()) | dict(self.model.named_buffers())
            for name, value in self.fixed.items():
                theirs[name].data = value
        self._settle()

    def gradients(self, x: Tensor, y: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The loss of every lane on its own mini-batch, and its gradients.

        Args:
            x: inputs (lanes, batch, …).
            y: targets (lanes, batch, …).

        Returns:
            Losses (lanes,), and gradients stacked like the parameters.
        """
        self.model.train()
        if self.lanes == 1:
            loss = self.task.loss(self.model(x[0]), y[0])
            gradients = torch.autograd.grad(loss, self.own)
            return loss.detach()[None], [g[None] for g in gradients]
        with _WeightsFirst():
            losses = self._over_lanes(self.parameters, x, y, self.task.loss)
        # A lane's loss depends on its own parameters alone: the gradient of the sum is the
        # gradients of all.
        gradients = torch.autograd.grad(losses.sum(), self.parameters)
        return losses.detach(), list(gradients)

    @torch.no_grad()
    def losses(self, parameters: Sequence[Tensor], x: Tensor, y: Tensor) -> Tensor:
        """The losses (lanes,) that these stacked parameters would have on their mini-batches."""
        return self._over_lanes(parameters, x, y, self.task.loss)

    @torch.no_grad()
    def evaluate(self, data: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Loss and metric (lanes,) of every lane on the whole of one data set."""
        x, y = data
        self.model.eval()
        task = self.task

        def both(outputs: Tensor, targets: Tensor) -> Tensor:
            return torch.stack(
                [task.loss(outputs, targets), task.metric.function(outputs, targets)]
            )

        values = self._over_lanes(self.parameters, x, y, both, shared=True)
        self.model.train()
        return values[:, 0], values[:, 1]

    def _over_lanes(
        self,
        parameters: Sequence[Tensor],
        x: Tensor,
        y: Tensor,
        judge: Callable[[Tensor, Tensor], Tensor],
        shared: bool = False,
    ) -> Tensor:
        def one(
            own: Sequence[Tensor], fixed: dict[str, Tensor], inputs: Tensor, targets: Tensor
        ) -> Tensor:
            named = dict(zip(self.names, own, strict=True)) | fixed
            return judge(functional_call(self.model, named, (inputs,)), targets)

        if self.lanes == 1:
            own = [p[0] for p in parameters]
            return one(own, self.fixed, *((x, y) if shared else (x[0], y[0])))[None]
        data, together = (None, _EVALUATED) if shared else (0, None)
        lanes = vmap(
            one, (0, self.fixed_dims, data, data), randomness="different", chunk_size=together
        )
        return lanes(list(parameters), self.fixed, x, y)


def _not_trained(models: Sequence[nn.Module]) -> dict[str, list[Tensor]]:
    """The frozen parameters and the buffers of every model, by name."""
    each = [
        {n: p.detach() for n, p in m.named_parameters() if not p.requires_grad}
        | dict(m.named_buffers())
        for m in models
    ]
    return {name: [own[name] for own in each] for name in each[0]}


def build(task: Task, seed: int) -> nn.Module:
    """The task's model initialised from a seed; the caller's random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return task.model()


class _WeightsFirst(TorchFunctionMode):
    """Has linear layers multiply Wxᵀ instead of xWᵀ.

    The gradient of a left factor comes out in the factor's own layout. That of Wᵀ would come
    transposed, from a slower product when W is small, and be copied before each step.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is functional.linear:
            func = _linear
        return func(*args, **(kwargs or {}))


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if input.ndim != 2:
        return functional.linear(input, weight, bias)
    outputs = (weight @ input.mT).mT
    return outputs if bias is None else outputs + bias
