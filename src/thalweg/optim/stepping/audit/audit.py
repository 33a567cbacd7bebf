"""What must hold of every tensor of a launch for a kernel to step it, made sure at every step.

A kernel reads and writes at addresses, so nothing is taken for granted: of each gradient, parameter
and array or number of the state it is asked what kind of tensor it is, its dtype, device, sizes and
strides, where its memory is and how much there is of it; and of each state, whether it holds the
tensors that it held. The compiled audit asks libtorch; where that is not to be had, the same is
asked through Python.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from itertools import chain
from operator import is_
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from ....engines.tables import Floats, Ints
from ....errors import ThalwegError
from . import tables as t
from .libtorch import QUESTIONS, Layout, extent, fits, is_plain, layout, plain_keys

if TYPE_CHECKING:
    from ....engines.numba import native

Gradients = list[Tensor | None]


class Array(NamedTuple):
    """A parameter, or a part of its state, that a kernel steps.

    Attributes:
        owner: the number of its item.
        tensor: where it lies.
        column: of its address in the kernel's table of pointers.
    """

    owner: int
    tensor: Tensor
    column: int


class Number(NamedTuple):
    """A number of the state on the CPU, float32 or float64.

    Attributes:
        owner: the number of its item.
        tensor: of one element.
        source: the address of the float64 that a step makes of it; 0 where it counts steps.
    """

    owner: int
    tensor: Tensor
    source: int


class Subjects(NamedTuple):
    """What is audited.

    Attributes:
        parameters: of all items; a gradient must be as its parameter is.
        arrays: the parameters again, and the arrays of the state.
        numbers: those that a step renews.
        states: of all items.
        pointers: the kernel's table, a row for each item.
        column: of the gradients' addresses there.
    """

    parameters: Sequence[Tensor]
    arrays: Sequence[Array]
    numbers: Sequence[Number]
    states: Sequence[dict[str, Any]]
    pointers: Ints
    column: int

    @property
    def written(self) -> list[tuple[int, Tensor]]:
        """All that a step writes to, and the number of its item."""
        return [(owner, x) for owner, x, _ in chain(self.arrays, self.numbers)]


class Audit(Protocol):
    """Compares tensors with what they were, and counts the steps that were taken.

    Attributes:
        spans: the memory that a step writes to.
    """

    spans: Spans

    def rest(self, resting: Sequence[bool]) -> None:
        """From now on these items have no gradient."""

    def examine(self, gradients: Gradients) -> int:
        """What is found, one of the findings of `tables`; addresses go to the table of pointers."""

    def survey(self) -> bool:
        """Take in where memory is now; False where what is written overlaps."""

    def advance(self) -> None:
        """Renew the numbers, and tell autograd of all that was written."""


def make_audit(subjects: Subjects) -> Audit:
    """The compiled audit, or where that is not to be had the one in Python."""
    known = _proved()
    return PlainAudit(subjects) if known is None else CompiledAudit(subjects, known)


class Spans:
    """The memory that a step writes to: begins and ends, in order."""

    def __init__(self, starts: Ints, sizes: Ints) -> None:
        starts, sizes = starts[sizes > 0], sizes[sizes > 0]
        order = np.argsort(starts)
        self.starts: Ints = np.ascontiguousarray(starts[order])
        self.stops: Ints = self.starts + sizes[order]

    @property
    def apart(self) -> bool:
        """Whether no two share memory."""
        return not (self.stops[:-1] > self.starts[1:]).any()

    def meet(self, start: int, stop: int) -> bool:
        """Whether memory from start to stop is any of it."""
        k = int(np.searchsorted(self.stops, start, side="right"))
        return start < stop and k < len(self.starts) and bool(self.starts[k] < stop)


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


class PlainAudit:
    """Asks the same through Python.

    Args:
        subjects: what is audited.
    """

    def __init__(self, subjects: Subjects) -> None:
        self.subjects = subjects
        self._shapes = [_description(p) for p in subjects.parameters]
        self._descriptions = [_description(x) for _, x in subjects.written]
        self._entries = [list(state.values()) for state in subjects.states]
        self._values = [float(n.tensor) for n in subjects.numbers]
        self._resting = [False] * len(subjects.parameters)
        self._addresses: list[int] = []
        self._written()
        self.survey()

    def rest(self, resting: Sequence[bool]) -> None:
        self._resting = list(resting)
        self.survey()

    def examine(self, gradients: Gradients) -> int:
        for state, held in zip(self.subjects.states, self._entries, strict=True):
            if len(state) != len(held) or not all(map(is_, state.values(), held)):
                return t.ENTRY
        if [g is None for g in gradients] != self._resting:
            return t.PATTERN
        return self._written() or self._gradients(gradients)

    def _gradients(self, gradients: Gradients) -> int:
        pointers, column = self.subjects.pointers, self.subjects.column
        for k, (g, shape) in enumerate(zip(gradients, self._shapes, strict=True)):
            if g is None:
                continue
            if _description(g) != shape or self.spans.meet(*extent(g)):
                return t.GRADIENT
            pointers[k, column] = g.data_ptr()
        return t.FINE

    def _written(self) -> int:
        """What is found of parameters and states."""
        addresses = []
        for (owner, x), known in zip(self.subjects.written, self._descriptions, strict=True):
            if not self._resting[owner] and _description(x) != known:
                return t.CHANGED
            addresses.append(0 if self._resting[owner] else x.data_ptr())
        for number, value in zip(self.subjects.numbers, self._values, strict=True):
            if not self._resting[number.owner] and float(number.tensor) != value == value:
                return t.VALUE
        for array, address in zip(self.subjects.arrays, addresses, strict=False):
            self.subjects.pointers[array.owner, array.column] = address
        moved, self._addresses = addresses != self._addresses, addresses
        return t.MOVED if moved else t.FINE

    def survey(self) -> bool:
        written, addresses = self.subjects.written, self._addresses
        own = [
            (address, x.nbytes)
            for address, (owner, x) in zip(addresses, written, strict=True)
            if not self._resting[owner]
        ]
        self.spans = Spans(*np.array(own, np.int64).reshape(-1, 2).T)
        return self.spans.apart

    def advance(self) -> None:
        going = [x for owner, x in self.subjects.written if not self._resting[owner]]
        for k, (owner, x, source) in enumerate(self.subjects.numbers):
            if self._resting[owner]:
                continue
            made = ctypes.c_double.from_address(source) if source else None
            x.detach().fill_(self._values[k] + 1 if made is None else made.value)
            self._values[k] = float(x)
            if made is not None:  # what a checkpoint would hold is what the next step starts from
                made.value = self._values[k]
        # Autograd must know, to refuse a backward pass through values that are no longer there.
        torch.autograd.graph.increment_version(going)


def _description(x: Tensor) -> tuple[Any, ...] | None:
    """All that a kernel must know of a tensor but where it lies; None where none may read it."""
    if not is_plain(x):
        return None
    sizes, strides = x.shape, x.stride()
    steps = tuple(step for size, step in zip(sizes, strides, strict=True) if size > 1)
    if not fits(x):
        return None
    return x.dtype, x.device, sizes, steps if x.numel() else ()


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


@cache
def _proved() -> Layout | None:
    """This process's layout, if the compiled audit agrees with Python on tensors made for it."""
    known = layout() if find_spec("llvmlite") else None
    if known is None:
        return None
    with torch.inference_mode(mode=False), torch._C._DisableTorchDispatch(), torch.device("cpu"):
        return known if _agrees(known) else None


def _agrees(known: Layout) -> bool:
    shapes = [(3,) * k for k in range(7)] + [(0, 2), (5, 1)]
    parameters = [torch.zeros(shape) for shape in shapes]
    numbers = [torch.zeros((), dtype=kind) for kind in (torch.float32, torch.float64)]
    pointers = np.zeros((len(shapes), 2), np.int64)
    subjects = Subjects(
        parameters,
        [Array(k, x, 0) for k, x in enumerate(parameters)],
        [Number(0, x, 0) for x in numbers],
        [{"step": numbers[0]}],
        pointers,
        1,
    )
    audit, gradients = CompiledAudit(subjects, known), [x.clone() for x in parameters]
    said = [audit.examine([*gradients])]
    audit.advance()
    parameters[1].untyped_storage().resize_(0)
    said.append(audit.examine([*gradients]))
    expected = [[x.data_ptr(), g.data_ptr()] for x, g in zip(parameters, gradients, strict=True)]
    same = np.delete(pointers, 1, 0).tolist() == expected[:1] + expected[2:]
    written = [x._version for x in (*parameters, *numbers)]
    return (
        said == [t.FINE, t.CHANGED]
        and same
        and [float(x) for x in numbers] == [1.0, 1.0]
        and written == [1] * len(written)
    )
