"""Parameters that step together: by one launch of a compiled kernel, or one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from operator import attrgetter, is_
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from ..engines import eager
from ..rules.core import Rule
from ..tape import trace

Hyper = Mapping[str, float]

# Asked of every tensor at every step, so each is a C function to be mapped.
gradient_of = attrgetter("grad")
_pointer, _contiguous, _negated = Tensor.data_ptr, Tensor.is_contiguous, Tensor.is_neg
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
    """

    def __init__(self, rule: Rule, items: Sequence[Item], hypers: Sequence[Hyper]) -> None:
        from ..engines import numba as engine

        program = trace(rule)
        keys, updated = items[0].keys, [slot for slot, _ in program.updates]
        self.parameters = [item.parameter for item in items]
        self.addresses = list(map(_pointer, self.parameters))
        self.sizes = [p.nbytes for p in self.parameters]
        self.single = [k for k, p in enumerate(self.parameters) if p.numel() == 1]

        self.steps = [_share(items, "step")] if items[0].counts else []
        self.slots = [_share(items, keys[slot]) for slot in updated]
        self.seen = [numbers.tobytes() for numbers in (*self.steps, *self.slots)]

        # Parameters that agree in group, scalar slots and step share a row of scalars.
        known = ([i.group for i in items], *self.slots, [i.taken for i in items])
        kinds = list(zip(*known, strict=True))
        rows = {kind: row for row, kind in enumerate(dict.fromkeys(kinds))}
        self.group_of_row = np.array([kind[0] for kind in rows])
        self.row_of_item = np.array([rows[kind] for kind in kinds])

        shapes = [p.shape for p in self.parameters]
        dtype = str(self.parameters[0].dtype).removeprefix("torch.")
        self.launch = engine.Launch(program, dtype, shapes, self.row_of_item)
        self.width = len(program.scalars) - 1 - len(updated)  # of the hyperparameters
        self.launch.scalars[:, self.width :] = [kind[1:] for kind in rows]
        for group in {kind[0] for kind in rows}:
            self.follow(group, hypers[group])

        arrays = [[i.state[keys[s]] for s in rule.array_slots] for i in items]
        self.launch.pointers[:, 0] = self.addresses
        self.launch.pointers[:, 2:] = [list(map(_pointer, row)) for row in arrays]
        self.kept = [t.detach() for t in chain(self.parameters, *arrays)]
        self.first = [x for x in items[0].state.values() if isinstance(x, Tensor)]
        self.first_at = list(map(_pointer, self.first))
        self.entries = [item.state.values() for item in items]
        self.held = [*chain.from_iterable(self.entries), _END]

    def follow(self, group: int, hyper: Hyper) -> None:
        mine = self.group_of_row == group
        if mine.any():
            names = self.launch.program.scalars[: self.width]
            self.launch.scalars[mine, : self.width] = [hyper[name] for name in names]

    def gather(self) -> list[Tensor] | None:
        gradients: list[Tensor] = list(map(gradient_of, self.parameters))
        try:
            pointers = list(map(_pointer, gradients))
        except TypeError:
            return None  # a gradient is None
        except RuntimeError:
            refuse_layouts(gradients)
            raise
        if list(map(_pointer, self.parameters)) != self.addresses or not self._state_holds():
            return None
        # A gradient of one element may be contiguous and yet be marked as to be negated.
        if not all(map(_contiguous, gradients)) or any(
            map(_negated, map(gradients.__getitem__, self.single))
        ):
            if not all(map(_contiguous, self.parameters)):
                return None
            gradients = [g.detach().resolve_neg().contiguous() for g in gradients]
            pointers = list(map(_pointer, gradients))
        if list(map(_nbytes, gradients)) != self.sizes:
            return None
        self.launch.pointers[:, 1] = pointers
        return gradients

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

    def __init__(self, rule: Rule, items: Sequence[Item], hypers: Sequence[Hyper]) -> None:
        trace(rule)  # a formula that no engine would take is refused here as well
        self.rule, self.items = rule, items
        self.needed = {*items[0].keys.values(), *["step"] * items[0].counts}
        self.taken = [item.taken for item in items]
        self.hypers = dict(enumerate(hypers))

    def follow(self, group: int, hyper: Hyper) -> None:
        self.hypers[group] = hyper

    def gather(self) -> list[Tensor] | None:
        gradients = [item.parameter.grad for item in self.items]
        if any(g is None for g in gradients):
            return None
        if not all(item.state.keys() >= self.needed for item in self.items):
            return None
        refuse_layouts(gradients)
        return gradients  # type: ignore[return-value]

    @torch.no_grad()
    def run(self, gradients: list[Tensor]) -> None:
        for k, (item, g) in enumerate(zip(self.items, gradients, strict=True)):
            if item.counts:
                item.state["step"] += 1
                self.taken[k] = int(item.state["step"])
            else:
                self.taken[k] += 1
            self._step(item, g, self.taken[k])

    def _step(self, item: Item, g: Tensor, t: int) -> None:
        hyper = {name: self.hypers[item.group][name] for name in self.rule.defaults}
        tensors = {slot: _real(item.state[key]) for slot, key in item.keys.items()}
        slots = {s: float(x) if s in self.rule.scalars else _wide(x) for s, x in tensors.items()}
        theta = _real(item.parameter)
        fresh, slots = eager.step(self.rule, _wide(theta), _wide(_real(g)), slots, t, hyper)
        theta.copy_(_tensor(fresh))
        for slot, value in slots.items():
            tensors[slot].copy_(_tensor(value))


def refuse_layouts(gradients: Sequence[Tensor | None]) -> None:
    """Raise for gradients that have no strides."""
    for g in gradients:
        if g is not None and g.layout != torch.strided:
            raise RuntimeError(
                f"gradients of layout {g.layout} are not supported: a step touches every element. "
                "Use a dense gradient (for an embedding: sparse=False)"
            )


def _share(items: Sequence[Item], key: str) -> Any:
    """One array behind this number of every state, so that one operation advances them all."""
    numbers = [item.state[key] for item in items]
    widest = max((x.dtype for x in numbers), key=lambda dtype: dtype.itemsize)
    shared = torch.stack([x.to(widest) for x in numbers])
    for item, number in zip(items, shared.unbind(), strict=True):
        item.state[key] = number
    return shared.numpy()


def _real(x: Tensor) -> Tensor:
    """A complex number is stepped as two real ones."""
    return torch.view_as_real(x.resolve_conj()) if x.is_complex() else x


def _tensor(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else torch.tensor(x, dtype=torch.float64)


def _wide(x: Tensor) -> Tensor:
    """Half precision is for keeping numbers, not for computing with them."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
