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

from ....engines.tables import Floats, Ints
from ....errors import ThalwegError
from . import tables as t
from .libtorch import QUESTIONS, Layout, plain_keys
from .subjects import Gradients, Spans, Subjects

if TYPE_CHECKING:
    from ....engines.numba import native


class CompiledAudit:
    """Asks libtorch, in machine code: some forty nanoseconds for a tensor.

    Args:
        subjects: what is audited.
        known: this process's layout.
    """

    def __init__(self, subjects: Subjects, known: Layout) -> None:
        self.subjects, self._call, items = subjects, _compiled(), len(subjects.parameters)
        owned = [*enumerate(subjects.parameters), *subjects.written]
        self._held = [x for _, x in owned[items:]]  # an address of an object is that of no other
        self._rows: Ints = np.zeros((len(owned), t.ROW), np.int64)
        self._fill(owned, known)
        self._entries = [list(state.values()) for state in subjects.states]
        counts = np.array([len(held) for held in self._entries], np.int64)
        addresses = np.array(list(map(id, subjects.states)), np.int64)
        self._states = np.stack([addresses, np.cumsum(counts) - counts, counts], axis=1)
        self._values: Ints = np.array(list(map(id, chain.from_iterable(self._entries))), np.int64)
        self._expected: Floats = np.array([float(n.tensor) for n in subjects.numbers])
        self._sources: Ints = np.array([n.source for n in subjects.numbers], np.int64)
        self._resting: Ints = np.zeros(items, np.int64)
        self._header: Ints = np.zeros(t.HEADER, np.int64)
        self._at = int(self._header.ctypes.data)
        for column, value in self._known(known).items():
            self._header[column] = value
        for column, table in self._tables().items():
            self._header[column] = table.ctypes.data
        self.survey()

    def _fill(self, owned: Sequence[tuple[int, Tensor]], known: Layout) -> None:
        """What must hold of every tensor, gradients being as their parameters."""
        rows, items = self._rows, len(self.subjects.parameters)
        tensors = [x for _, x in owned]
        shapes = [(x.dim(), *x.shape, *x.stride()) for x in tensors]
        self._shapes: Ints = np.array(list(chain.from_iterable(shapes)), np.int64)
        lengths = np.array(list(map(len, shapes)), np.int64)
        self._noted: Ints = np.zeros((len(owned), known.words), np.int64)
        rows[items:, t.OBJECT] = list(map(id, self._held))
        rows[:, t.OWNER] = [owner for owner, _ in owned]
        rows[:, t.CODE] = [_code(x.dtype, known) for x in tensors]
        rows[:, t.DEVICE] = [-1 if (k := x.device.index) is None else k for x in tensors]
        rows[:, t.SHAPE] = self._shapes.ctypes.data + 8 * (np.cumsum(lengths) - lengths)
        rows[:, t.WIDTH] = [x.itemsize for x in tensors]
        rows[:, t.BYTES] = [x.nbytes for x in tensors]
        # Equal words do not say which of several GPUs it is.
        one = tensors[0].device.type == "cpu" or torch.cuda.device_count() == 1
        short = np.array([one and x.dim() <= known.dimensions for x in tensors])
        rows[:, t.NOTED] = short * _row_addresses(self._noted)
        rows[items:, t.ADDRESS] = [x.data_ptr() for x in self._held]
        places, arrays = _addresses(self.subjects.pointers), self.subjects.arrays
        rows[:items, t.POINTER] = places[:, self.subjects.column]
        cells = [a.owner for a in arrays], [a.column for a in arrays]
        rows[items : items + len(arrays), t.POINTER] = places[cells]
        self.subjects.pointers[cells] = rows[items : items + len(arrays), t.ADDRESS]

    def _known(self, known: Layout) -> Mapping[int, int]:
        own, functions = self.subjects, known.functions
        device = own.parameters[0].device.type
        return {
            t.ITEMS: len(own.parameters),
            t.ARRAYS: len(own.arrays),
            t.NUMBERS: len(own.numbers),
            t.STATE_COUNT: len(own.states),
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

    def _tables(self) -> Mapping[int, Any]:
        return {
            t.TENSORS: self._rows,
            t.RESTING: self._resting,
            t.STATES: self._states,
            t.ENTRIES: self._values,
            t.EXPECTED: self._expected,
            t.SOURCES: self._sources,
        }

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
        rows, items = self._rows, len(self.subjects.parameters)
        own = rows[items:][self._resting[rows[items:, t.OWNER]] == 0]
        self.spans = Spans(own[:, t.ADDRESS], own[:, t.BYTES])
        self._header[t.STARTS] = self.spans.starts.ctypes.data
        self._header[t.STOPS] = self.spans.stops.ctypes.data
        self._header[t.SPANS] = len(self.spans.starts)
        rows[:items, t.ADDRESS] = -1  # to be held against the spans again
        return self.spans.apart

    def advance(self) -> None:
        self._header[t.TASK] = t.ADVANCE
        self._call(self._at)


def _addresses(table: Ints) -> Ints:
    """Of every cell of a table."""
    cells = np.arange(table.size, dtype=np.int64).reshape(table.shape)
    return table.ctypes.data + table.itemsize * cells


def _row_addresses(table: Ints) -> Ints:
    return _addresses(table)[:, 0] if table.shape[1] else np.zeros(len(table), np.int64)


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
