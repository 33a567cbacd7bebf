"""Parameters that step one by one, with the arithmetic of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ....engines import eager
from ....engines.formats import INT8
from ....rules.core import Rule
from ....tape import THETA, trace
from ..audit.subjects import Gradients
from ..layouts import real
from ..precision import StoragePrecision, decode, store, write_rounded
from .base import Hyper, Item


class Eager:
    """Stepped one by one with the arithmetic of torch itself, on any device and dtype."""

    def __init__(
        self,
        rule: Rule,
        items: Sequence[Item],
        hypers: Sequence[Hyper],
        precision: StoragePrecision,
    ) -> None:
        # A formula that no engine would take is refused here as well.
        self.measures = bool(trace(rule).middle)
        self.rule, self.items, self.precision = rule, items, precision
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
                bits = partial(self.precision.noise, item.parameter, self.taken[k], k, number)
                write_rounded(item.parts(name), item.formats[name], value, bits)
            else:
                store(item.state[item.keys[name]], value)


def _value(item: Item, array: str) -> Tensor:
    """An array of a parameter or its state, as it is computed with."""
    first, *rest = item.parts(array)
    if item.formats[array] == INT8:
        return decode(first, *rest)
    return _wide(real(first)) + _wide(rest[0]) if rest else _wide(real(first))


def _wide(x: Tensor) -> Tensor:
    """Half precision is for keeping numbers, not for computing with them."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
