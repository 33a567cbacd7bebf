"""The audit in machine code."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ....engines.tables import Floats, Ints, address
from ....errors import ThalwegError
from . import tables as t
from .libtorch import QUESTIONS, Layout, plain_keys
from .subjects import Gradients, Spans, Subjects

if TYPE_CHECKING:
    from ....engines.numba import native


class Blank:
    """The tables of an audit before it is known where anything is, all in one array.

    Launches over tensors of the same kinds and shapes are audited by copies of one.

    Args:
        subjects: what is audited.
        known: this process's layout.

    Attributes:
        table: int64, the header first.
        header, rows, resting, states, entries, expected, sources: the places of these tables in it.
        addresses: the places of integers in it that count from the table's own address.
        pointers: the places of those that count from the address of the table of pointers.
    """

    def __init__(self, subjects: Subjects, known: Layout) -> None:
        items, written = len(subjects.parameters), len(subjects.arrays) + len(subjects.numbers)
        count = items + written
        lengths = {
            "header": t.HEADER,
            "rows": t.ROW * count,
            "noted": known.words * count,
            "resting": items,
            "states": 3 * len(subjects.states),
            "entries": sum(map(len, subjects.states)),
            "expected": len(subjects.numbers),
            "sources": len(subjects.numbers),
            "starts": written,
            "stops": written,
        }
        stops = np.cumsum([*lengths.values()]).tolist()
        places = {
            name: slice(stop - length, stop)
            for (name, length), stop in zip(lengths.items(), stops, strict=True)
        }
        self.header, self.rows, self.resting = (
            places[name] for name in ("header", "rows", "resting")
        )
        self.states, self.entries = places["states"], places["entries"]
        self.expected, self.sources = places["expected"], places["sources"]
        self.table: Ints = np.zeros(stops[-1], np.int64)
        header = self.table[self.header]
        tables = {
            t.TENSORS: "rows",
            t.RESTING: "resting",
            t.STATES: "states",
            t.ENTRIES: "entries",
            t.EXPECTED: "expected",
            t.SOURCES: "sources",
            t.STARTS: "starts",
            t.STOPS: "stops",
        }
        for column, name in tables.items():
            header[column] = 8 * places[name].start
        for column, value in _constants(subjects, known).items():
            header[column] = value
        self._fill_rows(subjects, known, 8 * places["noted"].start)
        ends = np.cumsum(list(map(len, subjects.states)))
        states = self.table[self.states].reshape(-1, 3)
        states[:, 2] = list(map(len, subjects.states))
        states[:, 1] = ends - states[:, 2]

        noted = self.rows.start + t.ROW * np.arange(count) + t.NOTED
        self.addresses: Ints = np.array([*tables, *noted[self.table[noted] > 0]], np.int64)
        arrays = items + len(subjects.arrays)
        self.pointers: Ints = self.rows.start + t.ROW * np.arange(arrays) + t.POINTER

    def _fill_rows(self, subjects: Subjects, known: Layout, noted: int) -> None:
        """What must hold of every tensor: gradients and states are as their parameters."""
        parameters, cells = subjects.parameters, subjects.cells
        rows, items = self.table[self.rows].reshape(-1, t.ROW), len(parameters)
        tensors = [*parameters, *subjects.written]
        models = [*parameters, *subjects.models, *(n.tensor for n in subjects.numbers)]
        shapes = [(x.dim(), *x.shape, *x.stride()) for x in models]
        self._shapes: Ints = np.array(list(chain.from_iterable(shapes)), np.int64)
        starts = np.cumsum([0, *map(len, shapes)])[:-1]
        rows[:, t.OWNER] = [*range(items), *subjects.owners]
        rows[:, t.CODE] = [_code(x.dtype, known) for x in tensors]
        rows[:, t.DEVICE] = [-1 if (k := x.device.index) is None else k for x in models]
        rows[:, t.SHAPE] = self._shapes.ctypes.data + 8 * starts
        rows[:, t.WIDTH] = [x.itemsize for x in tensors]
        rows[:, t.BYTES] = rows[:, t.WIDTH] * [x.numel() for x in models]
        rows[:, t.ADDRESS] = t.NOWHERE
        # Equal words do not say which of several GPUs it is.
        one = tensors[0].device.type == "cpu" or torch.cuda.device_count() == 1
        short = np.array([one and x.dim() <= known.dimensions for x in models])
        rows[:, t.NOTED] = short * (noted + 8 * known.words * np.arange(len(rows)))
        width = subjects.pointers.shape[1]
        rows[:items, t.POINTER] = 8 * (width * np.arange(items) + subjects.column)
        places = [8 * (width * k + part.column) for k, part in cells]
        rows[items : items + len(cells), t.POINTER] = places


def _constants(subjects: Subjects, known: Layout) -> Mapping[int, int]:
    """What a header has that holds for all launches over such tensors."""
    functions, device = known.functions, subjects.parameters[0].device.type
    return {
        t.ITEMS: len(subjects.parameters),
        t.ARRAYS: len(subjects.arrays),
        t.NUMBERS: len(subjects.numbers),
        t.STATE_COUNT: len(subjects.states),
        t.TYPE_AT: known.kind,
        t.CELL_AT: known.cell,
        t.KEYS_AT: known.keys,
        t.COUNTER_AT: known.counter,
        t.VERSION_AT: known.version,
        t.WORDS_AT: known.first,
        t.WORDS: known.words,
        t.ARRAY_KEYS: plain_keys(device),
        t.NUMBER_KEYS: plain_keys("cpu"),
        t.TENSOR: id(Tensor),
        t.PARAMETER: id(torch.nn.Parameter),
        t.NOTHING: id(None),
        t.NEXT_ENTRY: functions["next"],
        t.LIST_ITEM: functions["item"],
        **{getattr(t, name.upper()): functions[name] for name in QUESTIONS},
    }


class CompiledAudit:
    """Asks libtorch, in machine code: some forty nanoseconds for a tensor.

    Args:
        subjects: what is audited.
        blank: tables for such tensors.
    """

    def __init__(self, subjects: Subjects, blank: Blank) -> None:
        self._call, items = _compiled(), len(subjects.parameters)
        self.blank = blank
        self._table = table = blank.table.copy()
        self._at = address(table)
        table[blank.addresses] += self._at
        table[blank.pointers] += address(subjects.pointers)
        self._header, self._resting = table[blank.header], table[blank.resting]
        self._rows = table[blank.rows].reshape(-1, t.ROW)
        # An address of an object is that of no other while it is held, as the pointers are.
        self._pointers, self._states = subjects.pointers, subjects.states
        self._held = subjects.written
        self._entries = list(chain.from_iterable(map(dict.values, subjects.states)))
        self._rows[items:, t.OBJECT] = list(map(id, self._held))
        table[blank.states][::3] = list(map(id, subjects.states))
        if self._entries:
            table[blank.entries] = list(map(id, self._entries))
        if subjects.numbers:
            table[blank.sources] = [n.source for n in subjects.numbers]
            expected: Floats = table[blank.expected].view(np.float64)
            expected[:] = [n.tensor.item() for n in subjects.numbers]

    @property
    def spans(self) -> Spans:
        rows = self._rows[len(self._resting) :]
        own = rows[self._resting[rows[:, t.OWNER]] == 0]
        return Spans(own[:, t.ADDRESS], own[:, t.BYTES])

    def rest(self, resting: Sequence[bool]) -> None:
        self._resting[:] = resting
        self.survey()

    def examine(self, gradients: Gradients) -> int:
        header = self._header
        header[t.GRADIENTS] = id(gradients)
        header[t.TASK] = t.AUDIT
        self._call(self._at)
        return int(header[t.KIND])

    def survey(self) -> bool:
        header = self._header
        header[t.TASK] = t.SURVEY
        self._call(self._at)
        return bool(header[t.KIND] == t.FINE)

    def advance(self) -> None:
        self._header[t.TASK] = t.ADVANCE
        self._call(self._at)


@cache
def _code(dtype: torch.dtype, known: Layout) -> int:
    """libtorch's number of a dtype."""
    x, answer = torch.empty(0, dtype=dtype, device="cpu"), ctypes.c_int32()
    ask = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p)
    if ask(known.functions["dtype"])(id(x) + known.cell, ctypes.byref(answer)):
        raise ThalwegError(f"libtorch does not say what number {dtype} has")
    return answer.value


@cache
def _kernel() -> native.Kernel:
    """The compiled audit."""
    from ....engines.numba import store

    source = Path(__file__).with_name("kernel.py").read_text(encoding="utf-8")
    return store.load_words("audit", source, t.NAMES)


@cache
def _compiled() -> Callable[[int], None]:
    """What runs it while it holds the interpreter's lock."""
    call: Any = ctypes.PYFUNCTYPE(None, ctypes.c_int64)(_kernel().address)
    return call
