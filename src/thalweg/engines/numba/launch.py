"""The tables that a kernel of the CPU reads, and the call of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np

from ...tape import Program
from ..base import HostLaunch, KernelCache
from ..formats import Format
from ..stages import Stages
from ..tables import Chunk, Floats, Ints, address
from . import store
from . import threads as team
from .header import Header, Phase
from .lift import source
from .native import Kernel

_GRAIN = 8192  # elements that one more thread must find to be worth waking

# Plain integers: NumPy takes longer over an enumeration's, and these are used at every step.
_COUNT, _CHUNKS, _PHASE = int(Header.COUNT), int(Header.CHUNKS), int(Header.PHASE)


class Selection(NamedTuple):
    """How some of the tensors are stepped.

    Attributes:
        chunks: of the passes that sum.
        last: of the pass that takes the step.
        threads: the most that find enough to do.
        moving: the rows of scalars that move; None if all do.
    """

    chunks: Ints
    last: Ints
    threads: int
    moving: Ints | None


class NumbaLaunch(HostLaunch):
    """A kernel of the CPU with its tables; the arguments are as of `Launch`."""

    repeatable = True

    def __init__(
        self,
        program: Program,
        formats: str | Sequence[str],
        shapes: Sequence[Sequence[int]],
        rows: Ints,
        models: Ints | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(program, formats, shapes, rows, models)
        self._kernel = KERNELS.get(program, formats)
        self._header: Ints = np.zeros(len(Header), np.int64)
        self._header[Header.SEED] = seed
        self._sums: list[Floats] = []
        self._phases: list[tuple[int, int | None]] = []  # and of how many items each is
        self._point()
        self.only(np.arange(len(shapes)))

    def _point(self) -> None:
        """Have the header point to the tables that are this launch's alone."""
        header = self._header
        self._tickets: Ints = np.zeros(16, np.int64)  # a cache line of its own
        header[Header.TICKETS] = address(self._tickets)
        header[Header.POINTERS] = address(self.pointers)
        header[Header.SCALARS] = address(self.scalars)
        header[Header.UPDATES] = address(self.updates)
        self._header_at = address(header)
        if self.program.middle:
            self._reduce()

    def again(self) -> Self:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.pointers = np.zeros(self.pointers.shape, np.int64)
        other._own(self.scalars.copy())
        other._header = self._header.copy()
        other._point()
        return other

    def _reduce(self) -> None:
        """Room for the sums of every block, tensor and model, and what is done in which order."""
        sums, blocks = len(self.program.reductions), self.blocks
        tensors, depth = len(blocks.table), Stages(self.program).depth
        shapes = ((blocks.blocks, sums), (tensors, sums), (blocks.models, sums))
        self._sums = [np.zeros(shape) for shape in shapes]
        items = {Phase.PASS: None, Phase.TENSORS: tensors}
        if self.program.sums("all_sum"):
            items[Phase.MODELS] = blocks.models
        self._phases = [
            (len(Phase) * stage + phase, count)
            for stage in range(depth)
            for phase, count in items.items()
        ]
        self._phases.append((len(Phase) * depth + Phase.PASS, None))
        header, tables = self._header, (blocks.table, *self._sums)
        columns = (Header.TENSORS, Header.PARTIALS, Header.TOTALS, Header.MODEL_TOTALS)
        for column, table in zip(columns, tables, strict=True):
            header[column] = address(table)
        header[Header.TENSOR_COUNT] = tensors

    def _selection(self, tensors: Ints) -> Selection:
        chunks, last = self.blocks.chunks, self.blocks.pieces
        if len(tensors) < len(self.rows):
            chunks, last = (self.chunks_of(tensors, table) for table in (chunks, last))
        elements = int((chunks[:, Chunk.STOP] - chunks[:, Chunk.FIRST]).sum())
        # Blocks of codes are not of channels: the last pass disregards these.
        whole_blocks = any(each.blockwise for each in self.formats)
        return Selection(
            chunks,
            last if whole_blocks else chunks,
            min(len(chunks), 1 + elements // _GRAIN),
            self.rows_that_move(tensors),
        )

    def _select(self, selection: Selection) -> None:
        self._chunks, self._last, self._threads, self.moving = selection
        for sums in self._sums:
            sums[:] = 0.0  # what stands still adds nothing to those over all tensors
        self._header[Header.COUNT] = len(self._last)
        self._header[Header.CHUNKS] = address(self._last)

    def _run(self, threads: int) -> None:
        threads = min(threads, self._threads)
        if self._phases:
            self._run_phases(threads)
        else:
            self._tickets[0] = 0
            team.run(self._kernel, self._header_at, threads)

    def _run_phases(self, threads: int) -> None:
        """The passes and what is between them, one after the other."""
        header = self._header
        for phase, items in self._phases:
            chunks = self._last if phase == self._phases[-1][0] else self._chunks
            self._tickets[0] = 0
            header[_COUNT] = len(chunks) if items is None else items
            header[_CHUNKS] = address(chunks)
            header[_PHASE] = phase
            team.run(self._kernel, self._header_at, threads)


def _compile(name: str, program: Program, formats: tuple[Format, ...]) -> Kernel:
    return store.load(name, source(program, [each.name for each in formats]))


KERNELS = KernelCache(_compile)
