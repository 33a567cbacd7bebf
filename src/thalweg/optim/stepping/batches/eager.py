"""Parameters that step together: by one launch of a compiled kernel, or one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from ....engines import eager
from ....engines.formats import INT8
from ....rules.core import Rule
from ....tape import THETA, trace
from ..audit.audit import Gradients, Number
from ..layouts import real
from ..precision import Keeping, decode, keep, store
from .kernel import Item, Launched

Hyper = Mapping[str, float]


class Batch(Protocol):
    """Parameters of one rule and dtype."""

    def gather(self) -> Gradients | None:
        """The gradients, None for what rests; or None if a new plan is needed."""

    def run(self, gradients: Gradients) -> None:
        """Step all parameters."""

    def follow(self, group: int, hyper: Hyper) -> None:
        """Take over the changed hyperparameters of a group."""


class Compiled(Launched):
    """Stepped by one launch of a compiled kernel of the CPU.

    Args:
        rule: the rule of all of them.
        items: the parameters, all of one dtype.
        hypers: the hyperparameters of every parameter group.
        keeping: how the optimizer rounds.
        apart: whether any of them may rest.
    """

    def __init__(
        self,
        rule: Rule,
        items: Sequence[Item],
        hypers: Sequence[Hyper],
        keeping: Keeping,
        apart: bool = False,
    ) -> None:
        from ....engines import numba as engine

        super().__init__(rule, items, apart)
        keys = [items[0].keys[slot] for slot in self.updated]
        rows = self.divide([[float(i.state[key]) for i in items] for key in keys])
        shapes = [real(p.detach()).shape for p in self.parameters]
        self.launch = launch = engine.Launch(
            self.program, self.formats, shapes, self.row_of_item, seed=keeping.stream
        )
        launch.scalars[:, self.width :] = rows
        for group in set(self.group_of_row.tolist()):
            self.follow(group, hypers[group])
        numbers = [Number(k, i.state["step"], 0) for k, i in enumerate(items) if i.counts]
        for column, key in enumerate(keys, start=self.width):
            places = launch.scalars[:, column].ctypes.data + launch.scalars.strides[0] * (
                self.row_of_item
            )
            numbers += [Number(k, i.state[key], int(places[k])) for k, i in enumerate(items)]
        self.watch(numbers)

    def follow(self, group: int, hyper: Hyper) -> None:
        mine = self.group_of_row == group
        if mine.any():
            names = self.program.scalars[: self.width]
            numbers = (hyper[name] for name in names)
            self.launch.scalars[mine, : self.width] = [_detached(x) for x in numbers]

    def numbers_hold(self) -> bool:
        return True  # all are on the CPU, and audited

    def run(self, gradients: Gradients) -> None:
        """Step; the caller holds the gradients, so that their memory stays theirs meanwhile."""
        if all(self.resting):
            return
        self.launch(torch.get_num_threads())
        self.audit.advance()


class Eager:
    """Stepped one by one with the arithmetic of torch itself, on any device and dtype."""

    def __init__(
        self, rule: Rule, items: Sequence[Item], hypers: Sequence[Hyper], keeping: Keeping
    ) -> None:
        # A formula that no engine would take is refused here as well.
        self.measures = bool(trace(rule).middle)
        self.rule, self.items, self.keeping = rule, items, keeping
        self.needed = {*items[0].keys.values(), *["step"] * items[0].counts}
        self.taken = [item.taken for item in items]
        self.hypers = dict(enumerate(hypers))

    def follow(self, group: int, hyper: Hyper) -> None:
        self.hypers[group] = hyper

    def gather(self) -> Gradients | None:
        gradients: Gradients = [item.parameter.grad for item in self.items]
        if not all(item.state.keys() >= self.needed for item in self.items):
            return None
        known = all(g is None or self.takes(g) for g in gradients)
        return gradients if known else None

    def takes(self, g: Tensor) -> bool:
        """Whether this is a gradient to step by."""
        return g.layout == torch.strided

    @torch.no_grad()
    def run(self, gradients: Gradients) -> None:
        self._run(gradients)

    def _run(self, gradients: Gradients) -> None:
        self._count(gradients)
        for k, (item, g) in enumerate(zip(self.items, gradients, strict=True)):
            if g is not None:
                self._step(item, g, k)

    def _count(self, gradients: Gradients) -> None:
        for k, (item, g) in enumerate(zip(self.items, gradients, strict=True)):
            if g is None:
                continue
            if item.counts:
                item.state["step"] += 1
                self.taken[k] = int(item.state["step"])
            else:
                self.taken[k] += 1

    def _step(self, item: Item, g: Tensor, k: int) -> None:
        if self.measures and not item.parameter.numel():
            return  # there is nothing to measure
        theta, slots = self._next(item, g, self.taken[k])
        self._keep(item, {THETA: theta, **slots}, k)

    def _next(self, item: Item, g: Tensor, t: int) -> tuple[Tensor, dict[str, Any]]:
        """What a parameter and its state become; nothing is changed."""
        theta, g, slots, hyper = self._read(item, g)
        return eager.step(self.rule, theta, g, slots, t, hyper)

    def _read(self, item: Item, g: Tensor) -> tuple[Tensor, Tensor, dict[str, Any], dict[str, Any]]:
        """What the formula takes: the parameter, its gradient, its slots, its hyperparameters."""
        hyper = {name: self.hypers[item.group][name] for name in self.rule.defaults}
        slots: dict[str, Any] = {}
        for slot, key in item.keys.items():
            x = item.state[key]
            if slot not in self.rule.scalars:
                slots[slot] = _value(item, slot)
            else:
                slots[slot] = x.reshape(()) if x.requires_grad else float(x)
        return _value(item, THETA), _wide(real(g)), slots, hyper

    def _keep(self, item: Item, values: Mapping[str, Any], k: int) -> None:
        """Write what a step has made of the k-th parameter and its state."""
        arrays = trace(self.rule).arrays
        for name, value in values.items():
            if name in item.formats:
                number = arrays.index(name)
                bits = partial(self.keeping.noise, item.parameter, self.taken[k], k, number)
                keep(item.parts(name), item.formats[name], value, bits)
            else:
                store(item.state[item.keys[name]], value)


def _detached(x: float | Tensor) -> float:
    """A hyperparameter, which is a tensor where another parameter's step is differentiated."""
    return float(x.detach()) if isinstance(x, Tensor) else x


def _value(item: Item, array: str) -> Tensor:
    """An array of a parameter or its state, as it is computed with."""
    first, *rest = item.parts(array)
    if item.formats[array] == INT8:
        return decode(first, *rest)
    return _wide(real(first)) + _wide(rest[0]) if rest else _wide(real(first))


def _wide(x: Tensor) -> Tensor:
    """Half precision is for keeping numbers, not for computing with them."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
