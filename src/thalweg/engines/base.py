"""What an engine is: it compiles programs, and steps tensors by them.

An engine is a folder with a subclass of `Engine`, a subclass of `Launch` and what writes its
kernels; a line in `registry` makes it one of those that optimizers and races choose from. Importing
an engine's folder imports neither torch nor its compiler: `Engine.launch` does.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import numpy as np

from ..tape import Program
from .codegen import columns
from .formats import Format, resolve_formats
from .tables import Blocks, Chunk, Floats, Ints

if TYPE_CHECKING:
    import torch

    Device = torch.device | str

_SELECTIONS = 16  # of tensors to step, remembered


class Engine(ABC):
    """Compiles programs and steps tensors by them; one object for a process.

    Attributes:
        name: by which an optimizer's option `engine` asks for it.
        devices: the types of devices, as of `torch.device`, whose tensors it steps.
        asynchronous: whether its launches return before the step is done and keep their scalars on
            the device; else they are NumPy arrays, and the step is done when a launch returns.
    """

    name: ClassVar[str]
    devices: ClassVar[frozenset[str]]
    asynchronous: ClassVar[bool] = False

    def trouble_with_device(self, device: Device) -> str:
        """What keeps it from stepping tensors of a device in this process; empty if nothing does.

        Args:
            device: where the tensors are.
        """
        return "" if device_type(device) in self.devices else f"it is on {device}"

    def trouble_with_program(self, program: Program, formats: str | Sequence[str]) -> str:
        """What keeps it from compiling a program for such arrays; empty if nothing does.

        Args:
            program: what to compute.
            formats: of its arrays in memory: the name of one format for all, or of one for each.
        """
        return ""

    @abstractmethod
    def source(self, program: Program, formats: str | Sequence[str]) -> str:
        """The source of a program's kernels, for people to read.

        Args:
            program: what to compute.
            formats: of its arrays in memory: the name of one format for all, or of one for each.
        """

    @abstractmethod
    def launch(
        self,
        program: Program,
        formats: str | Sequence[str],
        shapes: Sequence[Sequence[int]],
        rows: Ints,
        models: Ints | None = None,
        seed: int = 0,
        device: Device = "cpu",
    ) -> Launch:
        """Compile a program and prepare its step over tensors, so that a step compiles nothing.

        Args:
            program, formats, shapes, rows, models: as of `Launch`.
            seed: of the random bits that formats round by.
            device: where all arrays are.

        Raises:
            Exception: any error of the compiler. An optimizer that chose the engine by itself
                reports it once and steps with another engine.
        """


class Launch(ABC):
    """A compiled program with the tables it reads; call it to step every tensor once.

    Write addresses into `pointers` and the scalars of every row by `write`, then call. The step
    number and the scalar slots advance by themselves.

    Args:
        program: what to compute.
        formats: of its arrays in memory: the name of one format for all, or of one for each.
        shapes: of every tensor; all of its arrays are contiguous.
        rows: int64 (tensors,): the row of scalars that each tensor is stepped with.
        models: int64 (tensors,): the model that each belongs to, for norms over all tensors of one;
            None if all belong to one.

    Attributes:
        formats: of every array of the program.
        blocks: how the tensors are cut.
        row_count: how many rows of scalars there are.
        pointers: int64 (tensors, columns): the address of each array of each tensor.
        column: the column of each array's address there, by the array's name; a format of two
            parts takes the next column too.
        scalars: float64 (rows, scalars): hyperparameters, scalar slots and t, in the program's
            order. t is the number of steps taken.
    """

    chunk_size: ClassVar[int | None] = None  # elements of a chunk; None for the tables' own
    repeatable: ClassVar[bool] = False  # whether there is an `again`
    scalars: Any

    def __init__(
        self,
        program: Program,
        formats: str | Sequence[str],
        shapes: Sequence[Sequence[int]],
        rows: Ints,
        models: Ints | None = None,
    ) -> None:
        self.program, self.rows = program, rows
        self.formats = resolve_formats(formats, len(program.arrays))
        self.column, width = columns(program, self.formats)
        self.pointers: Ints = np.zeros((len(shapes), width), np.int64)
        self.row_count = int(rows.max(initial=-1)) + 1
        by_channel = program.sums("channel_sum")
        self.blocks = Blocks(shapes, rows, by_channel, models, self.chunk_size)
        self._selections: dict[bytes, Any] = {}

    def again(self) -> Self:
        """The same launch over other tensors, with what is worked out for their shapes shared.

        This one must not have stepped; its scalars are copied, and its addresses are not.
        """
        raise NotImplementedError

    @abstractmethod
    def __call__(self, threads: int = 1) -> None:
        """Step every selected tensor once.

        Args:
            threads: of the processor that may work on it; a GPU has its own.
        """

    @abstractmethod
    def write(self, first: str, values: Floats) -> None:
        """Write scalars of all rows, without waiting for a device.

        Args:
            first: the name of the first scalar to write; the others follow in the program's order.
            values: float64 (rows, scalars).
        """

    def only(self, tensors: Ints) -> None:
        """From now on step these tensors alone; a row that loses all of its own stands still.

        Args:
            tensors: their numbers, in any order.
        """
        key = tensors.tobytes()
        if key not in self._selections:
            if len(self._selections) == _SELECTIONS:
                self._selections.clear()
            self._selections[key] = self._selection(tensors)
        self._select(self._selections[key])

    @abstractmethod
    def _selection(self, tensors: Ints) -> Any:
        """What is worked out once for each selection of tensors."""

    @abstractmethod
    def _select(self, selection: Any) -> None:
        """Step by a selection from now on."""

    def chunks_of(self, tensors: Ints, chunks: Ints) -> Ints:
        """The rows of a chunk table that belong to these tensors."""
        return np.ascontiguousarray(chunks[np.isin(chunks[:, Chunk.TENSOR], tensors)])

    def rows_of(self, tensors: Ints) -> Ints:
        """The rows of scalars that move when these tensors step."""
        return np.unique(self.rows[tensors])


class HostLaunch(Launch):
    """A launch by the processor: its scalars are a NumPy array.

    A subclass's kernel finds t advanced in `scalars`, and writes the next values of the scalar
    slots into `updates`.

    Attributes:
        updates: float64 (rows, scalar slots).
        moving: the rows that move with a step; None if all do. A selection sets it.
    """

    scalars: Floats
    updates: Floats

    def __init__(
        self,
        program: Program,
        formats: str | Sequence[str],
        shapes: Sequence[Sequence[int]],
        rows: Ints,
        models: Ints | None = None,
    ) -> None:
        super().__init__(program, formats, shapes, rows, models)
        self.moving: Ints | None = None
        self._has_updates = bool(program.updates)
        self._own(np.zeros((self.row_count, len(program.scalars))))

    def _own(self, scalars: Floats) -> None:
        """Take these scalars, and room for updates of them."""
        updates = len(self.program.updates)
        self.scalars, self.updates = scalars, np.zeros((self.row_count, updates))
        self._steps, self._slots = scalars[:, -1], scalars[:, -1 - updates : -1]

    def write(self, first: str, values: Floats) -> None:
        column = self.program.scalars.index(first)
        self.scalars[:, column : column + values.shape[1]] = values

    def __call__(self, threads: int = 1) -> None:
        steps, moving = self._steps, self.moving
        if moving is None:
            np.add(steps, _ONE, steps)  # in half the time of += 1
        else:
            steps[moving] += 1
        self._run(threads)
        if self._has_updates:
            rows = slice(None) if moving is None else moving
            self._slots[rows] = self.updates[rows]

    @abstractmethod
    def _run(self, threads: int) -> None:
        """Step the arrays, and work out `updates`, on at most this many threads."""

    def rows_that_move(self, tensors: Ints) -> Ints | None:
        """The rows that move when these tensors step; None if all do."""
        if len(tensors) == len(self.rows):
            return None
        moving = self.rows_of(tensors)
        return None if len(moving) == self.row_count else moving


_ONE = np.ones(1)

Kernel = TypeVar("Kernel")


class KernelCache(Generic[Kernel]):
    """The kernels that an engine has compiled in this process.

    Programs of equal keys share a kernel, also under different names. An engine has one cache, made
    when it is imported and never dropped: it stays registered with `os.register_at_fork`.

    Args:
        compile: makes a kernel, given a name for its files, the program and the formats.
    """

    def __init__(self, compile: Callable[[str, Program, tuple[Format, ...]], Kernel]) -> None:
        self._compile = compile
        self._kernels: dict[tuple[str, tuple[Format, ...]], Kernel] = {}
        self._lock, self._held = threading.RLock(), False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before_fork,
                after_in_parent=self._in_parent,
                after_in_child=self._in_child,
            )

    def get(self, program: Program, formats: str | Sequence[str]) -> Kernel:
        """The kernel of a program; the same object for all that ask.

        Args:
            program: what to compute.
            formats: of its arrays in memory, as `Launch` takes them.
        """
        resolved = resolve_formats(formats, len(program.arrays))
        key = program.key, resolved
        with self._lock:
            if key not in self._kernels:
                names = "-".join(dict.fromkeys(each.name for each in resolved))
                self._kernels[key] = self._compile(f"{program.name}-{names}", program, resolved)
            return self._kernels[key]

    def clear(self) -> None:
        """Forget all kernels, as a new process would."""
        with self._lock:
            self._kernels.clear()

    def _before_fork(self) -> None:
        # A child forked while another thread compiles would inherit the compiler's locks and half
        # an import for ever. The wait has an end, should that thread wait for the one that forks.
        self._held = self._lock.acquire(timeout=30)

    def _in_parent(self) -> None:
        if self._held:
            self._lock.release()

    def _in_child(self) -> None:
        self._lock = threading.RLock()


def device_type(device: Device) -> str:
    """The type of a device without its number: "cuda" of "cuda:1"."""
    return device.partition(":")[0] if isinstance(device, str) else device.type
