"""Parameters that step together: by one launch of a compiled kernel, or one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from ..engines import eager
from ..engines.tables import cut
from ..rules.core import Rule
from ..tape import trace

Hyper = Mapping[str, float]


class Item(NamedTuple):
    """A parameter that steps, and all that its step needs to know."""

    parameter: Tensor
    group: int
    state: dict[str, Any]
    keys: Mapping[str, str]  # slot -> its key in the state
    taken: int  # steps so far


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

    Args:
        rule: the rule of all of them.
        items: the parameters, all of one dtype.
        hypers: the hyperparameters of every parameter group.
    """

    def __init__(self, rule: Rule, items: Sequence[Item], hypers: Sequence[Hyper]) -> None:
        from ..engines import numba as engine

        program = trace(rule)
        self.parameters = [item.parameter for item in items]
        self.addresses = [p.data_ptr() for p in self.parameters]
        self.keys = items[0].keys
        self.numbers = [slot for slot, _ in program.updates]
        self.hyper_names = program.scalars[: -1 - len(self.numbers)]

        # Parameters that agree in group, scalar slots and step share a row of scalars.
        kinds = [
            (i.group, *(float(i.state[self.keys[s]]) for s in self.numbers), i.taken) for i in items
        ]
        rows = {kind: row for row, kind in enumerate(dict.fromkeys(kinds))}
        self.group_of_row = np.array([kind[0] for kind in rows])
        self.row_of_item = np.array([rows[kind] for kind in kinds])

        sizes = np.array([p.numel() for p in self.parameters], np.int64)
        chunks = cut(np.arange(len(items)), np.zeros_like(sizes), sizes, self.row_of_item)
        dtype = str(self.parameters[0].dtype).removeprefix("torch.")
        self.launch = engine.Launch(program, dtype, len(items), len(rows), chunks)
        self.launch.scalars[:, len(self.hyper_names) :] = [kind[1:] for kind in rows]
        for group in {kind[0] for kind in rows}:
            self.follow(group, hypers[group])

        self.slots = [[i.state[self.keys[s]] for s in rule.array_slots] for i in items]
        self.launch.pointers[:, 0] = self.addresses
        self.launch.pointers[:, 2:] = [[slot.data_ptr() for slot in row] for row in self.slots]
        self.shared = {slot: _share(items, self.keys[slot]) for slot in self.numbers}
        self.steps = _share(items, "step") if "step" in items[0].state else None

    def follow(self, group: int, hyper: Hyper) -> None:
        values = [hyper[name] for name in self.hyper_names]
        self.launch.scalars[self.group_of_row == group, : len(values)] = values

    def gather(self) -> list[Tensor] | None:
        gradients = [p.grad for p in self.parameters]
        if [p.data_ptr() for p in self.parameters] != self.addresses or None in gradients:
            return None
        try:
            dense = [g.data_ptr() for g in gradients if g.is_contiguous()]  # type: ignore[union-attr]
        except RuntimeError:
            refuse_layouts(gradients)
            raise
        if len(dense) < len(gradients):
            gradients = [g.contiguous() for g in gradients]  # type: ignore[union-attr]
            dense = [g.data_ptr() for g in gradients]  # type: ignore[union-attr]
        self.launch.pointers[:, 1] = dense
        return gradients  # type: ignore[return-value]

    def run(self, gradients: list[Tensor]) -> None:
        """Step; the caller holds the gradients, so that their memory stays theirs meanwhile."""
        launch = self.launch
        launch(torch.get_num_threads())
        if self.steps is not None:
            self.steps += 1
        for slot, shared in self.shared.items():
            column = launch.program.scalars.index(slot)
            shared[:] = launch.scalars[self.row_of_item, column]
            # What a checkpoint would hold is what the next step starts from.
            launch.scalars[self.row_of_item, column] = shared


class Eager:
    """Stepped one by one with the arithmetic of torch itself, on any device and dtype."""

    def __init__(self, rule: Rule, items: Sequence[Item], hypers: Sequence[Hyper]) -> None:
        trace(rule)  # a formula that no engine would take is refused here as well
        self.rule, self.items = rule, items
        self.taken = [item.taken for item in items]
        self.hypers = dict(enumerate(hypers))

    def follow(self, group: int, hyper: Hyper) -> None:
        self.hypers[group] = hyper

    def gather(self) -> list[Tensor] | None:
        gradients = [item.parameter.grad for item in self.items]
        if None in gradients:
            return None
        refuse_layouts(gradients)
        return gradients  # type: ignore[return-value]

    def run(self, gradients: list[Tensor]) -> None:
        for k, (item, g) in enumerate(zip(self.items, gradients, strict=True)):
            self.taken[k] += 1
            hyper = {name: self.hypers[item.group][name] for name in self.rule.defaults}
            tensors = {s: _real(item.state[key]) for s, key in item.keys.items()}
            slots = {s: float(x) if s in self.rule.scalars else x for s, x in tensors.items()}
            theta = _real(item.parameter)
            fresh, slots = eager.step(self.rule, theta, _real(g), slots, self.taken[k], hyper)
            theta.copy_(torch.as_tensor(fresh))
            for slot, value in slots.items():
                tensors[slot].copy_(torch.as_tensor(value))
            if "step" in item.state:
                item.state["step"] += 1


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
    shared = torch.stack([item.state[key] for item in items])
    for item, number in zip(items, shared.unbind(), strict=True):
        item.state[key] = number
    return shared.numpy()


def _real(x: Tensor) -> Tensor:
    """A complex number is stepped as two real ones."""
    return torch.view_as_real(x) if x.is_complex() else x
