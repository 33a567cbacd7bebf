"""The compiled CPU engine: one kernel per program and number type, one launch for all tensors."""

from __future__ import annotations

import os
import threading

import numpy as np

from ...tape import Program
from ..tables import Blocks, Floats, Ints
from . import store
from . import threads as team
from .lift import source
from .native import Kernel
from .passes import PHASES

__all__ = ["Launch", "kernel", "source"]

_GRAIN = 8192  # elements that one more thread must find to be worth waking


class Launch:
    """A kernel with the tables it reads; call it to step every chunk once.

    Write addresses into `pointers`, values into `scalars`, then call. The step number and the
    scalar slots of the rows that own a chunk advance by themselves.

    Attributes:
        pointers: int64 (tensors, arrays): the address of each array of each tensor, in the
            program's order of arrays.
        scalars: float64 (rows, scalars): hyperparameters, scalar slots and t of each row, in the
            program's order; t is the number of steps taken.
        chunks: int64 (chunks, 4), from `tables.cut`; replace it to step other pieces.

    Args:
        program: what to compute.
        dtype: "float32" or "float64".
        tensors: number of rows of `pointers`.
        rows: number of rows of `scalars`.
        chunks: the pieces to step; for a program that reduces, the tensors in their blocks.
    """

    def __init__(
        self, program: Program, dtype: str, tensors: int, rows: int, chunks: Ints | Blocks
    ) -> None:
        self.program = program
        self.pointers: Ints = np.zeros((tensors, len(program.arrays)), np.int64)
        self.scalars: Floats = np.zeros((rows, len(program.scalars)))
        self._steps = self.scalars[:, -1]
        self._slots = self.scalars[:, -1 - len(program.updates) : -1]
        self._updates: Floats = np.zeros((rows, len(program.updates)))
        self._tickets: Ints = np.zeros(16, np.int64)  # a cache line of its own
        self._header: Ints = np.zeros(12, np.int64)
        self._kernel = kernel(program, dtype)
        self._launch = int(self._header.ctypes.data)
        self._phases: list[tuple[int, int | None]] = []  # a phase, and of how many items
        if isinstance(chunks, Blocks) and program.middle:
            self._reduce(chunks)
        else:
            self.chunks = chunks.chunks if isinstance(chunks, Blocks) else chunks

    def _reduce(self, blocks: Blocks) -> None:
        """Room for the sums of every block, tensor and model, and what is done in which order."""
        sums, tensors = len(self.program.reductions), len(blocks.table)
        self._blocks = blocks.table
        shapes = ((blocks.count, sums), (tensors, sums), (blocks.models, sums))
        self._sums: list[Floats] = [np.zeros(shape) for shape in shapes]
        self.chunks = blocks.chunks
        depth = max(self.program.stages.values())
        finishes = [tensors, blocks.models] if self.program.sums("all_total") else [tensors]
        for stage in range(depth):
            items = enumerate([None, *finishes])
            self._phases += [(PHASES * stage + k, count) for k, count in items]
        self._phases.append((PHASES * depth, None))
        addresses = [table.ctypes.data for table in (self._blocks, *self._sums)]
        self._header[7:] = [addresses[0], tensors, *addresses[1:]]

    @property
    def chunks(self) -> Ints:
        """The pieces that a call steps."""
        return self._chunks

    @chunks.setter
    def chunks(self, chunks: Ints) -> None:
        self._chunks = np.ascontiguousarray(chunks, np.int64)
        elements = int((self._chunks[:, 2] - self._chunks[:, 1]).sum())
        self._useful = min(len(self._chunks), 1 + elements // _GRAIN)
        # A row without a chunk is frozen, its step number and scalar slots with it.
        moving = np.flatnonzero(np.bincount(self._chunks[:, 3], minlength=len(self.scalars)))
        self._moving: slice | Ints = slice(None) if len(moving) == len(self.scalars) else moving
        tables = (self._tickets, None, self._chunks, self.pointers, self.scalars, self._updates)
        self._header[:6] = [len(chunks) if a is None else a.ctypes.data for a in tables]

    def __call__(self, threads: int) -> None:
        """Step once, on at most this many threads."""
        self._steps[self._moving] += 1
        for phase, items in self._phases or [(0, None)]:
            count = len(self._chunks) if items is None else items
            self._header[6], self._header[1], self._tickets[0] = phase, count, 0
            team.run(self._kernel, self._launch, min(threads, self._useful))
        if self._updates.size:
            self._slots[self._moving] = self._updates[self._moving]


_lock = threading.RLock()
_kernels: dict[tuple[str, str], Kernel] = {}


def kernel(program: Program, dtype: str) -> Kernel:
    """The compiled kernel of a program; the same object for all that ask.

    Args:
        program: what to compute; programs of equal keys share a kernel, whatever their names.
        dtype: "float32" or "float64".
    """
    key = program.key, dtype
    with _lock:
        if key not in _kernels:
            _kernels[key] = store.load(f"{program.name}-{dtype}", source(program, dtype))
        return _kernels[key]


def _before_fork() -> None:
    # A child forked while another thread compiles would inherit the compiler's locks and half an
    # import for ever. The wait has an end, should that thread itself wait for the one that forks.
    global _held
    _held = _lock.acquire(timeout=30)


def _in_parent() -> None:
    if _held:
        _lock.release()


def _in_child() -> None:
    global _lock
    _lock = threading.RLock()


_held = False
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
