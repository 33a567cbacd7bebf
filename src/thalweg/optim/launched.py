"""Parameters that step together by launches of compiled kernels, wherever they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from operator import attrgetter, is_
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..engines.formats import FORMATS, INT8, spread
from ..engines.tables import Ints
from ..engines.writing import columns
from ..rules.core import Rule
from ..tape import GRADIENT, THETA, trace
from .keeping import COMPENSATION, SCALE
from .layouts import order

# Asked of every tensor at every step, so each is a C function to be mapped.
gradient_of = attrgetter("grad")
pointer_of, _contiguous, _strides = Tensor.data_ptr, Tensor.is_contiguous, Tensor.stride
_negated, _conjugated = Tensor.is_neg, Tensor.is_conj
_nbytes, _dtype = attrgetter("nbytes"), attrgetter("dtype")


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


class Launched:
    """What is known of parameters that a kernel steps, and what must hold for it to step them.

    A kernel trusts its addresses, so every step first makes sure that they hold: parameters and
    gradients are asked where they lie, the state is compared with what it held. The aliases in
    `kept` see to it that no other tensor can come to lie at an address in the table.

    Args:
        rule: the rule of all of them.
        items: the parameters, all of one dtype and device.
    """

    def __init__(self, rule: Rule, items: Sequence[Item]) -> None:
        self.program = program = trace(rule)
        self.parameters = [item.parameter for item in items]
        self.formats = [items[0].formats[array] for array in program.arrays]
        self.updated = [slot for slot, _ in program.updates]
        self.width = len(program.scalars) - 1 - len(self.updated)  # of the hyperparameters

    def divide(self, items: Sequence[Item], slots: Sequence[Sequence[float]]) -> list[Any]:
        """Give parameters that agree in group, scalar slots and step a row of scalars to share.

        Args:
            items: the parameters.
            slots: of every scalar slot, its value for each.

        Returns:
            For every row the group, the scalar slots and the number of steps taken.
        """
        known = ([i.group for i in items], *slots, [i.taken for i in items])
        sorts = list(zip(*known, strict=True))
        rows = {sort: row for row, sort in enumerate(dict.fromkeys(sorts))}
        self.group_of_row = np.array([sort[0] for sort in rows])
        self.row_of_item = np.array([rows[sort] for sort in sorts])
        return list(rows)

    def watch(self, items: Sequence[Item], pointers: Ints) -> None:
        """Fill the table of pointers, and note what must hold for it to be true."""
        self.sizes = [p.nbytes for p in self.parameters]
        # Of the dtypes that parameters have, two are of one size.
        self.halves = {p.dtype for p in self.parameters if p.dtype.itemsize == _HALF}
        self.orders = [None if p.is_contiguous() else order(p) for p in self.parameters]
        self.strides = list(map(_strides, self.parameters)) if any(self.orders) else None
        kinds = enumerate(self.parameters)
        self.lazy = [k for k, p in kinds if p.numel() == 1 or p.is_complex()]
        column, _ = columns(self.program, spread(self.formats, len(self.formats)))
        self.given = pointers[:, column[GRADIENT]]
        parts = {a: [i.parts(a) for i in items] for a in self.program.arrays if a != GRADIENT}
        for array, own in parts.items():
            for k, tensors in enumerate(zip(*own, strict=True), start=column[array]):
                pointers[:, k] = list(map(pointer_of, tensors))
        self.kept = [t.detach() for own in parts.values() for t in chain.from_iterable(own)]
        # Sharing memory with other processes moves a state in place, and then all of it.
        first = [x for x in items[0].state.values() if isinstance(x, Tensor)]
        self.fixed = [*self.parameters, *first]
        self.fixed_at = list(map(pointer_of, self.fixed))
        self.entries = [item.state.values() for item in items]
        self.held = [*chain.from_iterable(self.entries), _END]

    def state_holds(self) -> bool:
        """Whether the state is what the tables were made from."""
        raise NotImplementedError

    def gather(self) -> list[Tensor] | None:
        gradients: list[Tensor] = list(map(gradient_of, self.parameters))
        tensors = [*gradients, *self.fixed]
        try:
            pointers = list(map(pointer_of, tensors))
        except TypeError:
            return None  # a gradient is None
        except RuntimeError:
            if any(g.layout != torch.strided for g in gradients):
                return None
            raise
        count = len(gradients)
        if pointers[count:] != self.fixed_at or not self.state_holds():
            return None
        if not self._lie_alike(tensors):
            known = zip(self.parameters, self.orders, strict=True)
            if not all(map(_contiguous, (_turned(p, indices) for p, indices in known))):
                return None
            pairs = zip(gradients, self.orders, strict=True)
            gradients = [_turned(_plain(g), indices).contiguous() for g, indices in pairs]
            pointers = list(map(pointer_of, gradients))
        if list(map(_nbytes, gradients)) != self.sizes:
            return None
        if self.halves and set(map(_dtype, gradients)) != self.halves:
            return None
        self.given[:] = pointers[:count]
        return gradients

    def _lie_alike(self, tensors: list[Tensor]) -> bool:
        """Whether gradients lie in memory as their parameters do, and these as they did.

        Args:
            tensors: the gradients, then those that are fixed, the parameters first.
        """
        if self.strides is None:
            alike = all(map(_contiguous, tensors))
        else:
            count = len(self.strides)
            strides = list(map(_strides, tensors[: 2 * count]))
            alike = strides[:count] == self.strides and strides[count:] == self.strides
        if not alike or not self.lazy:
            return alike
        # What is marked as to be negated or conjugated may lie like any other, if it is of one
        # element or complex.
        lazy = [tensors[k] for k in self.lazy]
        return not any(map(_negated, lazy)) and not any(map(_conjugated, lazy))

    def same_entries(self) -> bool:
        """Whether every state holds the very tensors that it held."""
        if len(self.held) == 1:
            return not any(self.entries)
        return all(map(is_, chain(chain.from_iterable(self.entries), (_END,)), self.held))


_HALF = 2  # bytes of float16, and of bfloat16
_END = object()  # so that a list that became shorter differs too


def _turned(x: Tensor, indices: tuple[int, ...] | None) -> Tensor:
    return x if indices is None else x.permute(indices)


def _plain(x: Tensor) -> Tensor:
    return x.detach().resolve_neg().resolve_conj()
