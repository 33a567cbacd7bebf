"""How the lanes of a population move: along gradients by their rules, or by random search."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import groupby
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..engines import registry
from ..rules.core import Rule
from ..tape import GRADIENT, THETA, trace
from ..tasks.trees import Tree
from .device_data import select_lanes
from .population import Population
from .rng import Purpose, torch_generator
from .runs import Run

DIAGNOSTICS = ("gradient_norm", "update_ratio", "effective_lr")


class Stepper(Protocol):
    """Moves every lane of a population by one step.

    Attributes:
        watching: whether the diagnostics of the next step are computed.
        seen: the diagnostics (lanes,) of the last step for which they were, by name.
    """

    watching: bool
    seen: dict[str, Tensor]

    def step(self, x: Tree, y: Tree) -> Tensor:
        """Step on mini-batches (lanes, batch, …); the losses (lanes,) before the step."""

    def evaluating(self) -> AbstractContextManager[None]:
        """Inside, the parameters are those that are measured."""

    def freeze(self, lanes: Sequence[int]) -> None:
        """Leave the parameters of these lanes as they are from now on."""

    def keep(self, lanes: Sequence[int]) -> None:
        """Drop all other lanes, in the population as well."""


class Descent:
    """Rules, each stepping its own contiguous slice of the lanes in one launch.

    Args:
        population: the models.
        runs: what each lane runs, lanes of one rule side by side.
        steps: how many each takes in all, for its schedule.
        engine: the name of what steps; None for the engine of the population's device.
    """

    def __init__(
        self, population: Population, runs: Sequence[Run], steps: int, engine: str | None = None
    ) -> None:
        self.population = population
        self.watching = False
        self.seen: dict[str, Tensor] = {}
        self.slices = []
        first = 0
        for rule, members in groupby(runs, key=lambda run: run.rule):
            own = list(members)
            self.slices.append(_Slice(population, rule, own, first, steps, engine))
            first += len(own)

    def step(self, x: Tree, y: Tree) -> Tensor:
        losses, gradients = self.population.gradients(x, y)
        gradients = [g.contiguous() for g in gradients]
        addresses = [g.data_ptr() for g in gradients]
        threads = torch.get_num_threads()
        before = [p.detach().clone() for p in self.population.parameters] if self.watching else []
        for part in self.slices:
            part.step(addresses, threads)
        if self.watching:
            after = [p.detach() for p in self.population.parameters]
            self.seen = diagnostics(before, after, gradients)
        return losses

    def evaluating(self) -> AbstractContextManager[None]:
        return nullcontext()

    def freeze(self, lanes: Sequence[int]) -> None:
        for part in self.slices:
            part.freeze(lanes)

    def keep(self, lanes: Sequence[int]) -> None:
        self.population.keep(lanes)
        first, kept = 0, []
        for part in self.slices:
            own = [k - part.first for k in lanes if 0 <= k - part.first < len(part.runs)]
            if own:
                part.keep(own, self.population, first)
                kept.append(part)
            first += len(own)
        self.slices = kept


class _Slice:
    """The lanes of one rule: a row of scalars for each, and each lane's tensors by themselves."""

    def __init__(
        self,
        population: Population,
        rule: Rule,
        runs: Sequence[Run],
        first: int,
        steps: int,
        engine: str | None,
    ) -> None:
        self.rule, self.program, self.steps = rule, trace(rule), steps
        self.engine, self.taken = engine, 0
        tensors = [p.detach()[first : first + len(runs)] for p in population.parameters]
        hypers = [run.scalars for run in runs]
        # A slot that begins at the learning rate begins at that of the first step.
        starts = [
            {**hyper, "lr": hyper["lr"] * run.recipe.schedule(1, steps)} if "lr" in hyper else hyper
            for hyper, run in zip(hypers, runs, strict=True)
        ]
        slots = [
            [_initial(tensor, rule, slot, starts) for slot in rule.array_slots]
            for tensor in tensors
        ]
        self._lay_out(population, runs, slots, first)
        rows = []
        for hyper, start in zip(hypers, starts, strict=True):
            begun = {slot: rule.initial(slot, start) for slot in rule.scalars}
            known: dict[str, Any] = {**hyper, **begun, "t": 0}
            rows.append([known[name] for name in self.program.scalars])
        self.launch.write(self.program.scalars[0], np.array(rows, np.float64))

    def _lay_out(
        self,
        population: Population,
        runs: Sequence[Run],
        slots: Sequence[Sequence[Tensor]],
        first: int,
    ) -> None:
        """Make the tables of these lanes, all but their scalars."""
        tensors = [p.detach()[first : first + len(runs)] for p in population.parameters]
        self.runs, self.slots, self.first = list(runs), slots, first
        self.lanes = np.arange(len(runs))
        # Lane by lane, so that a row's scalars are worked out once for all its tensors.
        self.lane_of = np.repeat(self.lanes, len(tensors))
        shapes = [tuple(t.shape[1:]) for _ in runs for t in tensors]
        self.bytes = np.array([t[0].nbytes for t in tensors], np.int64)
        dtype = str(tensors[0].dtype).removeprefix("torch.")
        device = population.device
        tables = (self.program, dtype, shapes, self.lane_of, self.lane_of)
        self.launch = (
            registry.named(self.engine).launch(*tables, device=device)
            if self.engine
            else registry.launch_for(device, *tables)
        )
        self.frozen: set[int] = set()
        self._point(THETA, [t.data_ptr() for t in tensors], 0)
        for k, slot in enumerate(self.rule.array_slots):
            self._point(slot, [own[k].data_ptr() for own in slots], 0)
        self.rates = np.array([run.scalars.get("lr", 0.0) for run in runs])
        changing = {run.recipe.schedule.kind for run in runs} != {"constant"} or any(
            run.recipe.schedule.warmup for run in runs
        )
        # A formula may use its learning rate for its first state alone, as Rprop's does.
        self.changes_rate = changing and "lr" in self.program.scalars

    def _point(self, array: str, stacked: Sequence[int], first: int) -> None:
        """Write where an array of every tensor is, from the addresses of stacked tensors."""
        lanes = self.lanes[:, None] + first
        self.launch.pointers[:, self.launch.column[array]] = (
            np.array(stacked) + lanes * self.bytes
        ).ravel()

    def step(self, gradients: Sequence[int], threads: int) -> None:
        self.taken += 1
        if self.changes_rate:
            factors = _factors(self.runs, self.taken, self.steps)
            self.launch.write("lr", (self.rates * factors)[:, None])
        self._point(GRADIENT, gradients, self.first)
        self.launch(threads)

    def freeze(self, lanes: Sequence[int]) -> None:
        self.frozen.update(k - self.first for k in lanes)
        self.launch.only(np.flatnonzero(~np.isin(self.lane_of, [*self.frozen])))

    def keep(self, lanes: Sequence[int], population: Population, first: int) -> None:
        """Drop all other lanes; these stand in the population from `first` on."""
        slots = [[select_lanes(slot, lanes) for slot in own] for own in self.slots]
        scalars, frozen = self.launch.scalars[list(lanes)], self.frozen
        self._lay_out(population, [self.runs[k] for k in lanes], slots, first)
        self.launch.scalars[:] = scalars
        if still := [k + first for k, lane in enumerate(lanes) if lane in frozen]:
            self.freeze(still)


def diagnostics(
    before: Sequence[Tensor], after: Sequence[Tensor], gradients: Sequence[Tensor]
) -> dict[str, Tensor]:
    """How a step looked in every lane; not a number where there is none to divide by."""
    gradient, weight = _norm(gradients), _norm(before)
    update = _norm([b.sub_(a) for a, b in zip(after, before, strict=True)])
    return dict(zip(DIAGNOSTICS, (gradient, update / weight, update / gradient), strict=True))


def _norm(stacked: Sequence[Tensor]) -> Tensor:
    """The norm (lanes,) of all tensors of a lane together."""
    norms = [torch.linalg.vector_norm(t.flatten(1), dim=1, dtype=torch.float64) for t in stacked]
    return torch.linalg.vector_norm(torch.stack(norms), dim=0)


def _factors(runs: Sequence[Run], step: int, steps: int) -> list[float]:
    """The factor of the learning rate of each run at a step."""
    known = {s: s(step, steps) for s in {run.recipe.schedule for run in runs}}
    return [known[run.recipe.schedule] for run in runs]


def _initial(tensor: Tensor, rule: Rule, slot: str, hypers: Sequence[dict[str, float]]) -> Tensor:
    """A slot's first values, which may differ from lane to lane."""
    begun = [rule.initial(slot, hyper) for hyper in hypers]
    values = torch.tensor(begun, dtype=tensor.dtype).to(tensor.device)
    return values.view(-1, *[1] * (tensor.ndim - 1)).expand(tensor.shape).contiguous()


class Search:
    """Random search: every step draws parameters and keeps those of the lower loss.

    Args:
        population: the models; their initial parameters are the first to beat.
        runs: what each lane runs.
        steps: how many each takes in all, for its schedule.
    """

    def __init__(self, population: Population, runs: Sequence[Run], steps: int) -> None:
        self.population, self.runs, self.steps, self.taken = population, list(runs), steps, 0
        # Random search computes no gradient, so it has no diagnostics.
        self.watching = False
        device = population.device
        self.seen = dict.fromkeys(DIAGNOSTICS, torch.full((len(runs),), torch.nan, device=device))
        self.moving = torch.ones(len(runs), dtype=torch.bool, device=device)
        # Drawn on the processor, so that the draws are the same wherever the models are.
        self.spread = torch.tensor([run.scalars["lr"] for run in runs])
        self.generators = [torch_generator(Purpose.RANDOM_SEARCH, run.seed) for run in runs]

    @torch.no_grad()
    def step(self, x: Tree, y: Tree) -> Tensor:
        best = self.population.parameters
        self.taken += 1
        spread = self.spread * torch.tensor(_factors(self.runs, self.taken, self.steps))
        drawn = [
            (
                torch.stack([torch.randn(p.shape[1:], generator=g) for g in self.generators])
                * _column(spread, p)
            ).to(p.device, p.dtype)
            for p in best
        ]
        before = self.population.losses(best, x, y)
        better = self.moving & (self.population.losses(drawn, x, y) < before)
        for p, draw in zip(best, drawn, strict=True):
            p.copy_(torch.where(_column(better, p), draw, p))
        return before

    def evaluating(self) -> AbstractContextManager[None]:
        return nullcontext()

    def freeze(self, lanes: Sequence[int]) -> None:
        self.moving.index_fill_(0, torch.tensor(lanes).to(self.moving.device), False)

    def keep(self, lanes: Sequence[int]) -> None:
        self.population.keep(lanes)
        self.runs = [self.runs[k] for k in lanes]
        self.moving, self.spread = (
            select_lanes(self.moving, lanes),
            select_lanes(self.spread, lanes),
        )
        self.seen = {name: values[: len(lanes)] for name, values in self.seen.items()}
        self.generators = [self.generators[k] for k in lanes]


def _column(per_lane: Tensor, like: Tensor) -> Tensor:
    return per_lane.view(-1, *[1] * (like.ndim - 1))
