"""What one launch of a compiled kernel reads: a table of pointers, of chunks, of scalars."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_Byte = ctypes.c_char

CHUNK = 16384  # elements: a chunk's arrays fit a core's second-level cache


def address(table: Any) -> int:
    """Where a contiguous array begins, in a third of the time of its `ctypes.data`."""
    return ctypes.addressof(_Byte.from_buffer(table)) if table.size else 0


class Chunk(IntEnum):
    """The columns of a chunk table."""

    TENSOR = 0  # its number, which is its row in the table of pointers
    FIRST = 1  # element
    STOP = 2  # one past the last
    ROW = 3  # of scalars


class TensorColumn(IntEnum):
    """The columns of the table of tensors that a program with reductions reads."""

    ROW = 0  # of scalars
    FIRST = 1  # block
    BLOCKS = 2  # how many
    WIDTH = 3  # elements of a block
    COUNT = 4  # elements; this and the next two are what `program.SIZES` names
    CHANNEL_COUNT = 5  # elements of a channel
    NDIM = 6  # indices
    MODEL = 7  # the number of its model


def cut(tensors: Ints, starts: Ints, lengths: Ints, rows: Ints, size: int | Ints = CHUNK) -> Ints:
    """The chunk table of these pieces: each cut into chunks of at most `size` elements.

    Args:
        tensors: for every piece, the row of the pointer table it lies in.
        starts: its first element there.
        lengths: its number of elements.
        rows: the row of scalars it is stepped with.
        size: elements per chunk, for all or for every piece.

    Returns:
        int64 (chunks, `Chunk`).
    """
    sizes = np.broadcast_to(np.asarray(size, np.int64), lengths.shape)
    # A piece without elements still has a chunk: its row of scalars moves on.
    pieces = np.maximum(-(-lengths // sizes), 1)
    owner = np.repeat(np.arange(len(lengths)), pieces)
    nth = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    first = starts[owner] + nth * sizes[owner]
    last = np.minimum(first + sizes[owner], (starts + lengths)[owner])
    chunks: Ints = np.empty((len(owner), len(Chunk)), np.int64)
    chunks[:, Chunk.TENSOR] = tensors[owner]
    chunks[:, Chunk.FIRST], chunks[:, Chunk.STOP] = first, last
    chunks[:, Chunk.ROW] = rows[owner]
    return chunks


class Blocks:
    """How tensors are cut: into channels where something is summed per channel, else equal pieces.

    Args:
        shapes: of every tensor.
        rows: the row of scalars that each is stepped with.
        by_channel: whether anything is summed per channel.
        models: the model that each belongs to, counted from 0; all to one if None.
        size: elements of a chunk; `CHUNK` if None.

    Attributes:
        table: int64 (tensors, `TensorColumn`).
        chunks: the chunk table, every chunk made of whole blocks.
        pieces: another chunk table, of equal chunks that disregard channels.
        blocks: the number of blocks.
        models: the number of models.
    """

    def __init__(
        self,
        shapes: Sequence[Sequence[int]],
        rows: Ints,
        by_channel: bool = False,
        models: Ints | None = None,
        size: int | None = None,
    ) -> None:
        size = CHUNK if size is None else size
        counts = np.array([math.prod(shape) for shape in shapes], np.int64)
        ndim = np.array([len(shape) for shape in shapes], np.int64)
        # A channel is what shares the first index; a vector or a number is one.
        channels = np.array([shape[0] if len(shape) > 1 else 1 for shape in shapes], np.int64)
        lengths = counts // np.maximum(channels, 1)
        widths = np.maximum(lengths, 1) if by_channel else np.full_like(counts, size)
        blocks = -(-counts // widths)
        first = np.cumsum(blocks) - blocks
        models = np.zeros_like(counts) if models is None else models
        self.table: Ints = np.empty((len(shapes), len(TensorColumn)), np.int64)
        for column, values in {
            TensorColumn.ROW: rows,
            TensorColumn.FIRST: first,
            TensorColumn.BLOCKS: blocks,
            TensorColumn.WIDTH: widths,
            TensorColumn.COUNT: counts,
            TensorColumn.CHANNEL_COUNT: lengths,
            TensorColumn.NDIM: ndim,
            TensorColumn.MODEL: models,
        }.items():
            self.table[:, column] = values
        self.blocks, self.models = int(blocks.sum()), int(models.max(initial=0)) + 1
        whole = np.maximum(size // widths, 1) * widths
        tensors, starts = np.arange(len(shapes)), np.zeros_like(counts)
        self.chunks = cut(tensors, starts, counts, rows, whole)
        self.pieces = cut(tensors, starts, counts, rows, size) if by_channel else self.chunks
