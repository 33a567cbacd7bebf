"""Many models of one task as one: their parameters stacked, their passes shared."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from ..tasks import Task, losses, modes
from ..tasks.pairs import Pair
from ..tasks.trees import Tree, count, joined, map_tensors, rebuilt, rows, tensors
from .device_data import select_lanes
from .devices import CPU
from .lane_forms import lane_forms, without_fused_encoders
from .lane_rng import Draws
from .memory import evaluation_size, raise_mmap_threshold
from .rng import Purpose, seeded

EVALUATED = 32  # lanes at a time on a whole data set: the outputs of all would leave the caches


class Population:
    """Models of one architecture, one per lane, each initialised from its own seed.

    Args:
        task: whose model, loss and metric.
        seeds: a seed per lane.
        device: where the models train; they are built on the processor, from the same numbers
            wherever they go.

    Attributes:
        parameters: one tensor per parameter of the model, stacked over lanes: (lanes, *shape).
    """

    def __init__(self, task: Task, seeds: Sequence[int], device: torch.device = CPU) -> None:
        raise_mmap_threshold()
        self.task, self.lanes, self.device = task, len(seeds), device
        models = [build(task, seed) for seed in seeds]
        self.model = models[0]
        self.still = modes.still(self.model)
        self.whole = _Whole(task, self.model, _changing(task, self.model))
        self.draws = Draws(seeds, device)
        self.names = [n for n, p in self.model.named_parameters() if p.requires_grad]
        each = [dict(m.named_parameters()) for m in models]
        self.parameters = [
            torch.stack([p[name].detach() for p in each]).to(device).requires_grad_()
            for name in self.names
        ]
        # What is not trained is shared, unless the seed decided it or training changes it.
        self.fixed = {}
        self.fixed_dims: dict[str, int | None] = {}
        for name, values in _not_trained(models).items():
            alike = all(torch.equal(value, values[0]) for value in values)
            alike = alike and (name not in self.whole.changing or self.lanes == 1)
            self.fixed_dims[name] = None if alike else 0
            if not alike:
                self.fixed[name] = torch.stack(values).to(device)
        if device.type != "cpu":
            self.model.to(device)
        # In the order of `fixed_dims`: vmap matches dicts by position.
        self.fixed = {
            name: self.fixed.get(name, value) for name, (value,) in _not_trained(models[:1]).items()
        }
        self._share_memory()

    def _share_memory(self) -> None:
        """Let the model use the memory of the stack where there is one lane.

        A single run is then as fast as in a loop written for one run.
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
        self.lanes = len(lanes)
        self.draws.keep(lanes)
        self.parameters = [
            select_lanes(p.detach(), lanes).requires_grad_() for p in self.parameters
        ]
        for name, dim in self.fixed_dims.items():
            if dim == 0:
                own = select_lanes(self.fixed[name], lanes)
                alone = self.lanes == 1  # and reads what is shared
                self.fixed[name] = own[0] if alone else own
                self.fixed_dims[name] = None if alone else 0
        if self.lanes == 1:
            theirs = dict(self.model.named_parameters()) | dict(self.model.named_buffers())
            for name, value in self.fixed.items():
                theirs[name].data = value
        self._share_memory()

    def gradients(self, x: Tree, y: Tree) -> tuple[Tensor, list[Tensor]]:
        """The loss of every lane on its own mini-batch, and its gradients.

        Args:
            x: inputs (lanes, batch, …), or several such.
            y: targets (lanes, batch, …), or several such.

        Returns:
            Losses (lanes,), and gradients stacked like the parameters.
        """
        modes.train(self.model, self.still)
        with self._drawing(0, self.lanes):
            if self.lanes == 1:
                loss = self.task.objective(self.model, _first(x), _first(y))
                gradients = torch.autograd.grad(loss, self.own, materialize_grads=True)
                return loss.detach()[None], [g[None] for g in gradients]
            losses, changed = self._over_lanes(self.parameters, self.fixed, x, y)
        self.fixed |= {name: value.detach() for name, value in changed.items()}
        # A lane's loss depends on its own parameters alone: the gradient of the sum is the
        # gradients of all.
        gradients = torch.autograd.grad(losses.sum(), self.parameters, materialize_grads=True)
        return losses.detach(), list(gradients)

    @torch.no_grad()
    def losses(self, parameters: Sequence[Tensor], x: Tree, y: Tree) -> Tensor:
        """The losses (lanes,) that these stacked parameters would have on their mini-batches.

        The model's running statistics stay as they are.
        """
        modes.train(self.model, self.still)
        # What the model changes in place, it changes in a copy.
        fixed = {
            name: value.clone() if name in self.whole.changing else value
            for name, value in self.fixed.items()
        }
        with self._drawing(0, self.lanes):
            if self.lanes == 1:
                own = dict(zip(self.names, (p[0] for p in parameters), strict=True)) | fixed
                return self.whole.call(own, _first(x), _first(y))[0][None]
            return self._over_lanes(parameters, fixed, x, y)[0]

    @contextmanager
    def _drawing(self, first: int, count: int) -> Iterator[None]:
        """Have these lanes draw from random states of their own."""
        training = self.model.training
        with (
            without_fused_encoders(),
            lane_forms(training=training) if self._as_lanes(training) else nullcontext(),
            self.draws.of(first, count, training=training, stacked=self.lanes > 1),
        ):
            yield

    def _as_lanes(self, training: bool) -> bool:
        """Whether the model runs by operations that have lanes.

        On a GPU a single model that draws does so too: fused attention and cuDNN's layers draw
        other numbers for dropout than plain operations.
        """
        drawing = self.draws.uses_rng.get(training, True)
        return self.lanes > 1 or (self.device.type != "cpu" and drawing)

    def _over_lanes(
        self, parameters: Sequence[Tensor], fixed: Mapping[str, Tensor], x: Tree, y: Tree
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of every lane, and the buffers that this changed."""

        def one(
            own: Sequence[Tensor], fixed: dict[str, Tensor], inputs: Tree, targets: Tree
        ) -> tuple[Tensor, dict[str, Tensor]]:
            return self.whole.call(dict(zip(self.names, own, strict=True)) | fixed, inputs, targets)

        lanes = vmap(one, (0, self.fixed_dims, 0, 0), randomness="different")
        return lanes(list(parameters), dict(fixed), x, y)

    @torch.no_grad()
    def evaluate(self, data: Pair) -> tuple[Tensor, ...]:
        """Loss and metrics (lanes,) of every lane on the whole of one data set.

        Lanes and samples are taken in parts, so that their activations fit.
        """
        self.model.eval()
        together, samples = evaluation_size(self.task, EVALUATED)
        parts = []
        for first in range(0, self.lanes, together):
            lanes = min(together, self.lanes - first)
            with self._drawing(first, lanes):
                parts.append(self._evaluate(first, lanes, data, samples))
        modes.train(self.model, self.still)
        return torch.cat(parts).unbind(1)

    def _evaluate(self, first: int, lanes: int, data: Pair, samples: int) -> Tensor:
        """Loss and metrics (lanes, 1 + metrics) of these lanes."""
        task, step, total = self.task, self.task.step, count(data[0])
        loss = torch.zeros(lanes, device=self.device)
        outputs = []
        for start in range(0, total, samples):
            x, y = (rows(tree, slice(start, start + samples)) for tree in data)
            if step is not None:
                own = self._apply(first, lanes, lambda x, y: step(self.model, (x, y)), x, y)
                loss = loss + own * (count(x) / total)
            if task.step is None or not task.judged_by_loss:
                outputs.append(
                    self._apply(first, lanes, lambda x, y: task.outputs(self.model, x), x, y)
                )

        own_loss = [metric.function is losses.own_loss for metric in task.measured]

        def judge(outputs: Tensor) -> Tensor:
            own = [] if task.step is not None else [task.judged(task.loss, outputs, data[1])]
            for metric, is_loss in zip(task.measured, own_loss, strict=True):
                if not is_loss:
                    own.append(task.judged(metric.function, outputs, data[1]))
            return torch.stack(own)

        if not outputs:
            return torch.stack([loss] * (1 + len(own_loss)), 1)
        whole = joined(outputs, dim=1)  # lanes come first
        if self.lanes > 1:
            stacked = tensors(whole)
            judged = vmap(lambda *own: judge(rebuilt(whole, iter(own))), randomness="different")(
                *stacked
            )
        else:
            judged = judge(_first(whole))[None]
        columns = iter(judged.unbind(1))
        loss = next(columns) if task.step is None else loss
        return torch.stack([loss, *(loss if own else next(columns) for own in own_loss)], 1)

    def _apply(
        self,
        first: int,
        lanes: int,
        function: Callable[[Tree, Tree], Any],
        x: Tree,
        y: Tree,
    ) -> Any:
        """What a function of the model gives for these lanes, stacked."""
        if self.lanes == 1:
            return map_tensors(lambda value: value[None], function(x, y))
        part = slice(first, first + lanes)
        forms = []

        def one(own: Sequence[Tensor], fixed: dict[str, Tensor]) -> list[Tensor]:
            named = dict(zip(self.names, own, strict=True)) | fixed
            found = functional_call(_Calling(self.model, function), _inner(named), (x, y))
            forms.append(found)  # vmap gives tensors back, and not what is around them
            return tensors(found)

        fixed = {n: v if self.fixed_dims[n] is None else v[part] for n, v in self.fixed.items()}
        stacked = vmap(one, (0, self.fixed_dims), randomness="different")
        found = stacked([p[part] for p in self.parameters], fixed)
        return rebuilt(forms[0], iter(found))


class _Calling(nn.Module):
    """A module whose forward pass is a function that uses another."""

    def __init__(self, model: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.model, self.function = model, function
        self.training = model.training

    def forward(self, x: Tree, y: Tree) -> Any:
        return self.function(x, y)


class _Whole(nn.Module):
    """A model with its loss, which also shows the buffers that a training pass changed.

    Args:
        task: whose loss.
        model: the model.
        changing: the names of these buffers.
    """

    def __init__(self, task: Task, model: nn.Module, changing: frozenset[str]) -> None:
        super().__init__()
        self.task, self.model, self.changing = task, model, changing

    def forward(self, x: Tree, y: Tree) -> tuple[Tensor, dict[str, Tensor]]:
        loss = self.task.objective(self.model, x, y)
        return loss, {name: self.model.get_buffer(name) for name in self.changing}

    def call(
        self, named: Mapping[str, Tensor], x: Tree, y: Tree
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The same with other parameters and buffers."""
        found: tuple[Tensor, dict[str, Tensor]] = functional_call(self, _inner(named), (x, y))
        return found


def _inner(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of a model's tensors as those of one inside another."""
    return {f"model.{name}": value for name, value in named.items()}


def _changing(task: Task, model: nn.Module) -> frozenset[str]:
    """The buffers that a training pass changes, as running statistics are."""
    if not any(True for _ in model.buffers()):
        return frozenset()
    trial = modes.train(copy.deepcopy(model), modes.still(model))
    before = {name: value.clone() for name, value in trial.named_buffers()}
    x, y = (rows(tree, slice(task.batch_size)) for tree in task.train)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        task.objective(trial, x, y)
    after = dict(trial.named_buffers())
    return frozenset(n for n, v in before.items() if not torch.equal(v, after[n]))


def _first(outputs: Tree) -> Tree:
    """What the first of the lanes has of inputs, targets or outputs."""
    return map_tensors(lambda value: value[0], outputs)


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
    with seeded(Purpose.WEIGHTS, seed):
        return task.model()
