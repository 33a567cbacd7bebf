"""How the lanes of a population move: along gradients by their rules, or by random search."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..engines.numba import Launch
from ..rules.core import Rule
from ..tape import trace
from .population import Population
from .runs import Run


class Stepper(Protocol):
    """Moves every lane of a population by one step."""

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """Step on mini-batches (lanes, batch, …); the losses (lanes,) before the step."""

    def freeze(self, lanes: Sequence[int]) -> None:
        """Move these lanes no more."""


class Descent:
    """Rules, each stepping its own contiguous slice of the lanes in one launch.

    Args:
        population: the models.
        runs: what each lane runs, lanes of one rule side by side.
    """

    def __init__(self, population: Population, runs: Sequence[Run]) -> None:
        self.population = population
        self.slices = []
        first = 0
        for rule, members in groupby(runs, key=lambda run: run.method):
            own = list(members)
            assert isinstance(rule, Rule)
            self.slices.append(_Slice(population, rule, own, first))
            first += len(own)

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        losses, gradients = self.population.gradients(x, y)
        gradients = [g.contiguous() for g in gradients]
        addresses = [g.data_ptr() for g in gradients]
        threads = torch.get_num_threads()
        for part in self.slices:
            part.step(addresses, threads)
        return losses

    def freeze(self, lanes: Sequence[int]) -> None:
        for part in self.slices:
            part.freeze(lanes)


class _Slice:
    """The lanes of one rule: a row of scalars for each, and each lane's tensors by themselves."""

    def __init__(self, population: Population, rule: Rule, runs: Sequence[Run], first: int) -> None:
        program = trace(rule)
        tensors = [p.detach()[first : first + len(runs)] for p in population.parameters]
        hypers = [{**rule.defaults, **run.hyper} for run in runs]
        self.first, self.lanes = first, np.arange(len(runs))
        # Lane by lane, so that a row's scalars are worked out once for all its tensors.
        self.lane_of = np.repeat(self.lanes, len(tensors))
        shapes = [tuple(t.shape[1:]) for _ in runs for t in tensors]
        self.bytes = np.array([t[0].nbytes for t in tensors], np.int64)
        self.slots = [
            [_initial(tensor, rule, slot, hypers) for slot in rule.array_slots]
            for tensor in tensors
        ]
        dtype = str(tensors[0].dtype).removeprefix("torch.")
        self.launch = Launch(program, dtype, shapes, self.lane_of, models=self.lane_of)
        self.frozen: set[int] = set()
        for row, hyper in enumerate(hypers):
            start = {slot: rule.initial(slot, hyper) for slot in rule.scalars}
            known: dict[str, Any] = {**hyper, **start, "t": 0}
            self.launch.scalars[row] = [known[name] for name in program.scalars]
        self._point(0, [t.data_ptr() for t in tensors], 0)
        for k in range(len(rule.array_slots)):
            self._point(2 + k, [own[k].data_ptr() for own in self.slots], 0)

    def _point(self, column: int, stacked: Sequence[int], first: int) -> None:
        """Fill a column of the pointers from the addresses of stacked tensors."""
        lanes = self.lanes[:, None] + first
        self.launch.pointers[:, column] = (np.array(stacked) + lanes * self.bytes).ravel()

    def step(self, gradients: Sequence[int], threads: int) -> None:
        self._point(1, gradients, self.first)
        self.launch(threads)

    def freeze(self, lanes: Sequence[int]) -> None:
        self.frozen.update(k - self.first for k in lanes)
        self.launch.only(np.flatnonzero(~np.isin(self.lane_of, [*self.frozen])))


def _initial(tensor: Tensor, rule: Rule, slot: str, hypers: Sequence[dict[str, float]]) -> Tensor:
    """A slot's first values, which may differ from lane to lane."""
    values = torch.tensor([rule.initial(slot, hyper) for hyper in hypers], dtype=tensor.dtype)
    return values.view(-1, *[1] * (tensor.ndim - 1)).expand(tensor.shape).contiguous()


class Search:
    """Random search: every step draws parameters and keeps those of the lower loss.

    Args:
        population: the models; their initial parameters are the first to beat.
        runs: what each lane runs.
    """

    def __init__(self, population: Population, runs: Sequence[Run]) -> None:
        self.population = population
        self.moving = torch.ones(len(runs), dtype=torch.bool)
        hypers = [{**run.method.defaults, **run.hyper} for run in runs]
        self.spread = torch.tensor([hyper["lr"] for hyper in hypers])
        self.generators = [torch.Generator().manual_seed(run.seed) for run in runs]

    @torch.no_grad()
    def step(self, x: Tensor, y: Tensor) -> Tensor:
        best = self.population.parameters
        drawn = [
            torch.stack([torch.randn(p.shape[1:], generator=g) for g in self.generators])
            * _column(self.spread, p)
            for p in best
        ]
        before = self.population.losses(best, x, y)
        better = self.moving & (self.population.losses(drawn, x, y) < before)
        for p, draw in zip(best, drawn, strict=True):
            p.copy_(torch.where(_column(better, p), draw.to(p.dtype), p))
        return before

    def freeze(self, lanes: Sequence[int]) -> None:
        self.moving[list(lanes)] = False


def _column(per_lane: Tensor, like: Tensor) -> Tensor:
    return per_lane.view(-1, *[1] * (like.ndim - 1))
