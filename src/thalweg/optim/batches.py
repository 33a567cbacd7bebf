"""Parameters that step together: by one launch of a compiled kernel, or one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from operator import attrgetter, is_
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from ..engines import eager
from ..engines.formats import FORMATS, INT8, spread
from ..rules.core import Rule
from ..tape import GRADIENT, THETA, trace
from .keeping import COMPENSATION, SCALE, Keeping, decode, keep, store
from .layouts import order, real

Hyper = Mapping[str, float]

# Asked of every tensor at every step, so each is a C function to be mapped.
gradient_of = attrgetter("grad")
_pointer, _contiguous, _strides = Tensor.data_ptr, Tensor.is_contiguous, Tensor.stride
_negated, _conjugated = Tensor.is_neg, Tensor.is_conj
_nbytes = attrgetter("nbytes")

_END = object()  # so that a list that became shorter differs too


class Item(NamedTuple):
    """A parameter that steps, and all that its step needs to know."""

    parameter: Tensor
    group: int
    state: dict[str, Any]
    keys: Mapping[str, str]  # slot -> its key in the state
    taken: int  # steps so far
    counts: bool  # whether the state holds this number under "step"
    formats: Mapping[str, str]  # of the parameter, its gradient and every array of its state

    @property
    def plain(self) -> bool:
        """Whether a number in memory is what is computed with, but for its precision."""
        return all(
            name == FORMATS[name].parts[0] and name != INT8 for name in self.formats.values()
        )

    def parts(self, array: str) -> list[Tensor]:
        """The tensors in which an array of the parameter or its state lies."""
        first = self.parameter if array == THETA else self.state[self.keys[array]]
        form = FORMATS[self.formats[array]]
        if form.compensated:
            return [first, self.state[COMPENSATION]]
        return [first, self.state[self.keys[array] + SCALE]] if form.blockwise else [first]


class Batch(Protocol):
    """Parameters of one rule and dtype."""

    def gather(self) -> list[Tensor] | None:
        """The gradients, or None if a new plan is needed."""

    def run(self, gradients: list[Tensor]) -> None:
        """Step all parameters."""

    def follow(self, group: int, hyper: Hyper) -> None:
        """Take over the changed hyperparameters of a group."""


class Compiled:
    """Stepped by one launch of a compiled kernel.

    A kernel trusts its addresses, so every step first makes sure that they hold: parameters and
    gradients are asked where they lie, the state is compared with what it held. The aliases in
    `kept` see to it that no other tensor can come to lie at an address in the table.

    Args:
        rule: the rule of all of them.
        items: the parameters, all of one dtype.
        hypers: the hyperparameters of every parameter group.
        keeping: how the optimizer rounds.
    """

    def __init__(
        self, rule: Rule, items: Sequence[Item], hypers: Sequence[Hyper], keeping: Keeping
    ) -> None:
        from ..engines import numba as engine

        program = trace(rule)
        keys, updated = items[0].keys, [slot for slot, _ in program.updates]
        formats = [items[0].formats[array] for array in program.arrays]
        kept = spread(formats, len(program.arrays))
        column = engine.columns(program, kept)[0]
        self.parameters = [item.parameter for item in items]
        self.addresses = list(map(_pointer, self.parameters))
        self.sizes = [p.nbytes for p in self.parameters]
        self.orders = [None if p.is_contiguous() else order(p) for p in self.parameters]
        self.strides = list(map(_strides, self.parameters)) if any(self.orders) else None
        kinds = enumerate(self.parameters)
        self.lazy = [k for k, p in kinds if p.numel() == 1 or p.is_complex()]

        self.steps = [_share(items, "step")] if items[0].counts else []
        self.slots = [_share(items, keys[slot]) for slot in updated]
        self.seen = [numbers.tobytes() for numbers in (*self.steps, *self.slots)]

        # Parameters that agree in group, scalar slots and step share a row of scalars.
        known = ([i.group for i in items], *self.slots, [i.taken for i in items])
        sorts = list(zip(*known, strict=True))
        rows = {sort: row for row, sort in enumerate(dict.fromkeys(sorts))}
        self.group_of_row = np.array([sort[0] for sort in rows])
        self.row_of_item = np.array([rows[sort] for sort in sorts])

        shapes = [real(p.detach()).shape for p in self.parameters]
        self.launch = engine.Launch(program, formats, shapes, self.row_of_item, seed=keeping.seed)
        self.width = len(program.scalars) - 1 - len(updated)  # of the hyperparameters
        self.launch.scalars[:, self.width :] = [sort[1:] for sort in rows]
        for group in {sort[0] for sort in rows}:
            self.follow(group, hypers[group])

        self.given = self.launch.pointers[:, column[GRADIENT]]
        parts = {a: [i.parts(a) for i in items] for a in program.arrays if a != GRADIENT}
        for array, own in parts.items():
            for k, tensors in enumerate(zip(*own, strict=True), start=column[array]):
                self.launch.pointers[:, k] = list(map(_pointer, tensors))
        self.kept = [t.detach() for own in parts.values() for t in chain.from_iterable(own)]
        self.first = [x for x in items[0].state.values() if isinstance(x, Tensor)]
        self.first_at = list(map(_pointer, self.first))
        self.entries = [item.state.values() for item in items]
        self.held = [*chain.from_iterable(self.entries), _END]

    def follow(self, group: int, hyper: Hyper) -> None:
        mine = self.group_of_row == group
        if mine.any():
            names = self.launch.program.scalars[: self.width]
            numbers = (hyper[name] for name in names)
            self.launch.scalars[mine, : self.width] = [_detached(x) for x in numbers]

    def gather(self) -> list[Tensor] | None:
        gradients: list[Tensor] = list(map(gradient_of, self.parameters))
        try:
            pointers = list(map(_pointer, gradients))
        except TypeError:
            return None  # a gradient is None
        except RuntimeError:
            if any(g.layout != torch.strided for g in gradients):
                return None
            raise
        if list(map(_pointer, self.parameters)) != self.addresses or not self._state_holds():
            return None
        if not self._lie_alike(gradients):
            known = zip(self.parameters, self.orders, strict=True)
            if not all(map(_contiguous, (_turned(p, indices) for p, indices in known))):
                return None
            pairs = zip(gradients, self.orders, strict=True)
            gradients = [_turned(_plain(g), indices).contiguous() for g, indices in pairs]
            pointers = list(map(_pointer, gradients))
        if list(map(_nbytes, gradients)) != self.sizes:
            return None
        self.given[:] = pointers
        return gradients

    def _lie_alike(self, gradients: list[Tensor]) -> bool:
        """Whether gradients lie in memory as their parameters do, and these as they did."""
        if self.strides is None:
            alike = all(map(_contiguous, gradients)) and all(map(_contiguous, self.parameters))
        else:
            alike = list(map(_strides, gradients)) == self.strides
            alike = alike and list(map(_strides, self.parameters)) == self.strides
        if not alike or not self.lazy:
            return alike
        # What is marked as to be negated or conjugated may lie like any other, if it is of one
        # element or complex.
        lazy = [gradients[k] for k in self.lazy]
        return not any(map(_negated, lazy)) and not any(map(_conjugated, lazy))

    def _state_holds(self) -> bool:
        """Whether the state is what the tables were made from."""
        entries = chain(chain.from_iterable(self.entries), (_END,))
        return (
            all(map(is_, entries, self.held))
            and [numbers.tobytes() for numbers in (*self.steps, *self.slots)] == self.seen
            # Sharing memory with other processes moves a state in place, and then all of it.
            and list(map(_pointer, self.first)) == self.first_at
        )

    def run(self, gradients: list[Tensor]) -> None:
        """Step; the caller holds the gradients, so that their memory stays theirs meanwhile."""
        launch = self.launch
        launch(torch.get_num_threads())
        for numbers in self.steps:
            numbers += 1
        for column, numbers in enumerate(self.slots, start=self.width):
            numbers[:] = launch.scalars[self.row_of_item, column]
            # What a checkpoint would hold is what the next step starts from.
            launch.scalars[self.row_of_item, column] = numbers
        self.seen = [numbers.tobytes() for numbers in (*self.steps, *self.slots)]
        # Autograd must know, to refuse a backward pass through values that are no longer there.
        torch.autograd.graph.increment_version(self.parameters)


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

    def gradients(self) -> list[Tensor] | None:
        """The gradients, or None where one of them or a state is missing."""
        gradients = [item.parameter.grad for item in self.items]
        if any(g is None for g in gradients):
            return None
        if not all(item.state.keys() >= self.needed for item in self.items):
            return None
        return gradients  # type: ignore[return-value]

    def gather(self) -> list[Tensor] | None:
        gradients = self.gradients()
        if gradients is None or any(g.layout != torch.strided for g in gradients):
            return None
        return gradients

    @torch.no_grad()
    def run(self, gradients: list[Tensor]) -> None:
        self._run(gradients)

    def _run(self, gradients: list[Tensor]) -> None:
        self._count()
        for k, (item, g) in enumerate(zip(self.items, gradients, strict=True)):
            self._step(item, g, k)

    def _count(self) -> None:
        for k, item in enumerate(self.items):
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
                slots[slot] = x if x.requires_grad else float(x)
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


def _share(items: Sequence[Item], key: str) -> Any:
    """One array behind this number of every state, so that one operation advances them all."""
    numbers = [item.state[key] for item in items]
    widest = max((x.dtype for x in numbers), key=lambda dtype: dtype.itemsize)
    shared = torch.stack([x if x.dtype == widest else x.to(widest) for x in numbers])
    for item, number in zip(items, shared.unbind(), strict=True):
        item.state[key] = number
    return shared.numpy()


def _detached(x: float | Tensor) -> float:
    """A hyperparameter, which is a tensor where another parameter's step is differentiated."""
    return float(x.detach()) if isinstance(x, Tensor) else x


def _turned(x: Tensor, indices: tuple[int, ...] | None) -> Tensor:
    return x if indices is None else x.permute(indices)


def _plain(x: Tensor) -> Tensor:
    return x.detach().resolve_neg().resolve_conj()


def _value(item: Item, array: str) -> Tensor:
    """An array of a parameter or its state, as it is computed with."""
    first, *rest = item.parts(array)
    if item.formats[array] == INT8:
        return decode(first, *rest)
    return _wide(real(first)) + _wide(rest[0]) if rest else _wide(real(first))


def _wide(x: Tensor) -> Tensor:
    """Half precision is for keeping numbers, not for computing with them."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
