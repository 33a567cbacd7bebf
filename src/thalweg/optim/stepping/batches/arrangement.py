"""What launches by one rule over tensors of the same shapes have in common, worked out once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ....engines.base import Engine, Launch
from ....engines.tables import Floats, Ints
from ....rules.core import Rule
from ....tape import GRADIENT, trace
from ..audit.compiled import Blank
from ..audit.subjects import Part
from ..layouts import order
from ..precision import StoragePrecision
from .base import Item

Order = tuple[int, ...] | None


class Arrangement:
    """How items of certain shapes, groups and steps are launched, but for where they are.

    Args:
        engine: what steps them.
        rule: the rule of all of them.
        items: the parameters, all of one dtype and device.
        precision: how the optimizer rounds.
        apart: whether each has a row of scalars of its own, so that any of them may rest.

    Attributes:
        program: the rule's.
        width: how many of its scalars are hyperparameters.
        updated: the keys in the state of the scalar slots that a step renews.
        orders: of the indices of each item in memory; None where they are in order.
        group_of_row: of each row of scalars the number of its parameter group.
        row_of_item: the row of scalars that each item is stepped with.
        rows_of_group: the rows of each group.
        parts: of the arrays that a step writes to, as `Subjects` has them.
        blanks: of audits, by what else those depend on.
    """

    def __init__(
        self,
        engine: Engine,
        rule: Rule,
        items: Sequence[Item],
        precision: StoragePrecision,
        apart: bool,
    ) -> None:
        self.program = program = trace(rule)
        first, slots = items[0], [slot for slot, _ in program.updates]
        self.width = len(program.scalars) - 1 - len(slots)
        self.updated = [first.keys[slot] for slot in slots]
        self.orders = list(map(order_in_memory, items))
        rows = self._divide(items, apart)
        groups = set(self.group_of_row.tolist())
        self.rows_of_group = {k: np.flatnonzero(self.group_of_row == k) for k in groups}
        launch = engine.launch(
            program,
            [first.formats[array] for array in program.arrays],
            [_real_shape(item.parameter) for item in items],
            self.row_of_item,
            seed=precision.stream,
            device=first.parameter.device,
        )
        launch.write(program.scalars[self.width], rows)
        self._launch = launch
        self.parts = [
            [Part(launch.column[array] + k, k > 0 and each.blockwise) for k in range(count)]
            for array, each in zip(program.arrays, launch.formats, strict=True)
            for count in [len(each.parts)]
            if array != GRADIENT
        ]
        self.blanks: dict[Hashable, Blank] = {}

    @property
    def may_be_shared(self) -> bool:
        """Whether more than one batch may be launched by it."""
        return self._launch.repeatable

    def launch(self) -> Launch:
        """A launch, its rows of scalars filled but for the hyperparameters."""
        return self._launch.again() if self.may_be_shared else self._launch

    def _divide(self, items: Sequence[Item], apart: bool) -> Floats:
        """Give items that agree in group, scalar slots and step a row of scalars to share.

        Returns:
            For every row the scalar slots and the number of steps taken.
        """
        alone = range(len(items)) if apart else [0] * len(items)
        slots = [[float(i.state[key]) for i in items] for key in self.updated]
        known = ([i.group for i in items], *slots, [i.taken for i in items])
        sorts: list[tuple[Any, ...]] = list(zip(alone, *known, strict=True))
        rows = {sort: row for row, sort in enumerate(dict.fromkeys(sorts))}
        self.group_of_row: Ints = np.array([sort[1] for sort in rows])
        self.row_of_item: Ints = np.array([rows[sort] for sort in sorts])
        return np.array([sort[2:] for sort in rows], np.float64)


def arrange(
    engine: Engine, rule: Rule, items: Sequence[Item], precision: StoragePrecision, apart: bool
) -> Arrangement:
    """The arrangement of these items, remembered where the engine can use one again.

    Args:
        engine, rule, items, precision, apart: as of `Arrangement`.
    """
    program, first = trace(rule), items[0]
    numbers = [first.keys[slot] for slot, _ in program.updates]
    key: Hashable = (
        # An id is that of no other program while the arrangement holds this one.
        (engine, id(program), precision.seed, apart, first.parameter.dtype, first.parameter.device),
        (*first.keys.values(), *first.formats.values()),
        *[(i.group, i.taken, i.parameter.shape, order_in_memory(i)) for i in items],
        *[float(i.state[name]) for name in numbers for i in items],
    )
    found = _arrangements.get(key)
    if found is None:
        found = Arrangement(engine, rule, items, precision, apart)
        if found.may_be_shared:
            if len(_arrangements) >= _REMEMBERED:
                _arrangements.clear()
            _arrangements[key] = found
    return found


_arrangements: dict[Hashable, Arrangement] = {}
_REMEMBERED = 64  # of the arrangements of a process, before all are forgotten


def order_in_memory(item: Item) -> Order:
    """Of a parameter's indices from the slowest to the fastest; None where they are in order."""
    return None if item.parameter.is_contiguous() else order(item.parameter)


def _real_shape(x: Tensor) -> Sequence[int]:
    """The shape of a tensor, a complex number being two real ones."""
    return (*x.shape, 2) if x.is_complex() else x.shape
