"""The bytes that a step moves between memory and processor: what it costs at the least."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..tape import Program
from .formats import resolve_formats
from .stages import Stages


class Traffic(NamedTuple):
    """Bytes per element of a parameter.

    Attributes:
        read: by all passes together; an array that two passes need is read twice.
        written: by the last pass.
    """

    read: float
    written: float

    @property
    def total(self) -> float:
        """Read and written."""
        return self.read + self.written


def traffic(program: Program, formats: str | Sequence[str]) -> Traffic:
    """What a step of arrays that no cache holds must move.

    A line that a processor fetches because it is about to be written is not counted, nor are the
    sums of a program that reduces.

    Args:
        program: what is computed.
        formats: of its arrays in memory: the name of one format for all, or of one for each.

    Raises:
        UsageError: a format is unknown, or their number is wrong.
    """
    size = {
        array: storage.bytes
        for array, storage in zip(
            program.arrays, resolve_formats(formats, len(program.arrays)), strict=True
        )
    }
    stages = Stages(program)
    passes = [stages.at(stage).arrays for stage in range(stages.depth + 1)]
    return Traffic(
        read=sum(size[array] for arrays in passes for array in arrays),
        written=sum(size[array] for array, _ in program.outputs),
    )
