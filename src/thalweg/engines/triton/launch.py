"""The tables that GPU kernels read, kept on the device, and the launches of a step."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor
from triton.runtime.jit import JITFunction

from ...errors import ThalwegError, UsageError
from ...tape import Program
from ..base import KernelCache, Launch
from ..formats import Format
from ..stages import Stages
from ..tables import Floats, Ints
from .build import build
from .functions import gather
from .lift import source
from .passes import row_values
from .pieces import Pieces

if TYPE_CHECKING:
    from ..base import Device

CHUNK = 4096  # elements of a program instance: many, small enough to be spread evenly
TILE = 1024  # elements that one iterates over: 8 for each of its 128 threads

# Contraction would be another rounding than that of the formats' own definition, and what waits for
# memory has time for both roundings.
_SETTINGS = {"enable_fp_fusion": False}


class Phase(NamedTuple):
    """One launch of a step.

    Attributes:
        kernel: what is launched.
        items: of how many instances.
        given: its arguments, less `pointers` before and `ALIGNED` behind of kernels that take them.
        warps: the groups of threads of an instance.
    """

    kernel: Any
    items: int
    given: list[Any]
    warps: int

    def arguments(self, pointers: Tensor, aligned: bool) -> list[Any]:
        """All of the kernel's."""
        names = self.kernel.arg_names
        before = [pointers] if "pointers" in names else []
        return [*before, *self.given, *([aligned] if "ALIGNED" in names else [])]


class TritonLaunch(Launch):
    """Kernels of a GPU with their tables.

    The step number and the scalar slots advance on the device: a step waits for nothing, and a CUDA
    graph can hold it once it has been taken outside of one.

    Args:
        program, formats, shapes, rows, models: as of `Launch`.
        seed: of the random bits that formats round by.
        device: where all of it is; "cpu" under TRITON_INTERPRET=1 alone.

    Raises:
        UsageError: Triton cannot run there.
    """

    chunk_size: ClassVar[int | None] = CHUNK
    scalars: Tensor

    def __init__(
        self,
        program: Program,
        formats: str | Sequence[str],
        shapes: Sequence[Sequence[int]],
        rows: Ints,
        models: Ints | None = None,
        seed: int = 0,
        device: Device = "cuda",
    ) -> None:
        self.device = torch.device(device)
        _check(self.device)
        super().__init__(program, formats, shapes, rows, models)
        self._kernels = KERNELS.get(program, formats)
        self._sent: Ints = self.pointers - 1
        self._table, self._aligned = self._on_device(self.pointers), True
        # Memory for an upload that a graph captures, and what graphs read that have captured one.
        self._reserve: Tensor | None = None
        self._captured: list[Any] = []
        self.scalars = self._room(self.row_count, len(program.scalars))
        self._memory: dict[str, Any] = {
            "scalars": self.scalars,
            "constants": self._room(self.row_count, len(row_values(program))),
            "seed": self._on_device(np.array([seed], np.int64)),
        }
        self._pieces = Pieces(self.blocks, CHUNK)
        if program.middle:
            self._reduce()
        self.only(np.arange(len(shapes)))
        self._warm_up()

    def _reduce(self) -> None:
        """Room for the sums of every block, tensor and model."""
        stages, blocks, pieces = Stages(self.program), self.blocks, self._pieces
        partials = self._room(pieces.count, len(stages.partial))
        each = self._room(blocks.blocks, len(stages.partial)) if pieces.split else partials
        self._memory |= {
            "tensors": self._on_device(blocks.table),
            "partials": partials,
            "channels": each,
            "totals": self._room(len(blocks.table), len(stages.total)),
            "model_totals": self._room(blocks.models, len(stages.total)),
            "pieces": self._on_device(pieces.of_block),
            "every": self._on_device(np.array([len(blocks.table)])),
            "WIDTH": len(stages.partial),
        }

    def _selection(self, tensors: Ints) -> list[Phase]:
        """The launches of a step of these tensors."""
        moving = self.rows_of(tensors)
        last = self._on_device(self.chunks_of(tensors, self.blocks.pieces))
        self._memory |= {"chunks": last, "moving": self._on_device(moving)}
        sums = self.chunks_of(tensors, self._pieces.chunks)
        summed = {"chunks": self._on_device(sums)}
        phases = [self._phase("prologue", len(moving), warps=1)]
        for stage in range(Stages(self.program).depth):
            phases += [
                self._phase(f"measure_{stage}", len(sums), summed),
                self._phase("gather", self.blocks.blocks if self._pieces.split else 0),
                self._phase(f"finish_{stage + 1}", len(self.blocks.table)),
                self._phase(f"model_totals_{stage + 1}", self.blocks.models),
            ]
        phases.append(self._phase("step", len(last)))
        return [phase for phase in phases if phase is not None]

    def _phase(
        self, name: str, items: int, others: dict[str, Tensor] | None = None, warps: int = 4
    ) -> Phase | None:
        """A launch of one of the kernels over that many items, if there is anything to do."""
        kernel = gather if name == "gather" else self._kernels.get(name)
        if kernel is None or not items:
            return None
        memory: dict[str, Any] = {**self._memory, **(others or {}), "TILE": TILE}
        names = [name for name in kernel.arg_names if name not in ("pointers", "ALIGNED")]
        return Phase(kernel, items, [memory[name] for name in names], warps)

    def _select(self, selection: list[Phase]) -> None:
        self._phases = selection
        for name in ("partials", "channels"):
            if name in self._memory:
                self._memory[name].zero_()  # what stands still adds nothing to sums over all

    def write(self, first: str, values: Floats) -> None:
        column = self.program.scalars.index(first)
        self.scalars[:, column : column + values.shape[1]] = self._staged(values)

    def __call__(self, threads: int = 1) -> None:
        """Step every selected tensor once, on the device's current stream."""
        table = self._table
        if self._capturing():
            # A graph has a table of its own, as it may run when others have changed this one.
            table = self._staged(self.pointers)
            self._captured += [table, self._phases]
            aligned = not (self.pointers % 16).any()
        else:
            if self._reserve is None and self.device.type == "cuda":
                # Nothing may be allocated while a graph is captured.
                self._reserve = torch.empty(self.pointers.shape, dtype=torch.int64).pin_memory()
            if not np.array_equal(self.pointers, self._sent):
                table.copy_(self._staged(self.pointers), non_blocking=True)
                self._sent = self.pointers.copy()
                self._aligned = not (self._sent % 16).any()
            aligned = self._aligned
        with self._current():
            for phase in self._phases:
                given = phase.arguments(table, aligned)
                phase.kernel[(phase.items,)](*given, num_warps=phase.warps, **_SETTINGS)

    def _warm_up(self) -> None:
        """Have Triton compile the kernels, so that what hinders it is known before any step."""
        if isinstance(gather, JITFunction):
            with self._current():
                for phase in self._phases:
                    given, grid = phase.arguments(self._table, self._aligned), (phase.items,)
                    phase.kernel.warmup(*given, grid=grid, num_warps=phase.warps, **_SETTINGS)

    def _current(self) -> AbstractContextManager[Any]:
        """Triton launches on the current device."""
        return torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext()

    def _room(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.float64, device=self.device)

    def _on_device(self, table: Ints) -> Tensor:
        return torch.tensor(table, device=self.device)

    def _staged(self, table: Ints | Floats) -> Tensor:
        """A table in memory that the device can copy from while the processor goes on."""
        staged_table = torch.from_numpy(np.ascontiguousarray(table))
        if self.device.type == "cpu":
            return staged_table
        if not self._capturing():
            return staged_table.pin_memory().to(self.device, non_blocking=True)
        if self._reserve is None or table is not self.pointers:
            raise ThalwegError("step once outside of the graph after a change, then capture it")
        staged, self._reserve = self._reserve.copy_(staged_table), None
        self._captured.append(staged)
        return staged.to(self.device, non_blocking=True)

    def _capturing(self) -> bool:
        return self.device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def _check(device: torch.device) -> None:
    if device.type not in ("cuda", "cpu"):
        raise UsageError(f"device={str(device)!r} is unknown to Triton; use a GPU")
    if (device.type == "cpu") is isinstance(gather, JITFunction):
        raise UsageError(
            f"device={str(device)!r} needs TRITON_INTERPRET "
            f"{'set to 1' if device.type == 'cpu' else 'unset'} before triton is imported: "
            "the interpreter runs on the processor, compiled kernels on the GPU"
        )


def _compile(name: str, program: Program, formats: tuple[Format, ...]) -> dict[str, Any]:
    """The kernels of a program by name."""
    return build(name, source(program, [each.name for each in formats]))


KERNELS = KernelCache(_compile)
