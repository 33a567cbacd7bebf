"""What one launch of a compiled kernel reads: a table of pointers, of chunks, of scalars."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

CHUNK = 16384  # elements: a chunk's arrays fit a core's second-level cache


def cut(tensors: Ints, starts: Ints, lengths: Ints, rows: Ints, size: int | Ints = CHUNK) -> Ints:
    """The chunk table of these pieces: each cut into chunks of at most `size` elements.

    Args:
        tensors: for every piece, the row of the pointer table it lies in.
        starts: its first element there.
        lengths: its number of elements.
        rows: the row of scalars it is stepped with.
        size: elements per chunk, for all or for every piece.

    Returns:
        int64 of shape (chunks, 4): tensor, first element, one past the last, row.
    """
    sizes = np.broadcast_to(np.asarray(size, np.int64), lengths.shape)
    pieces = -(-lengths // sizes)
    owner = np.repeat(np.arange(len(lengths)), pieces)
    nth = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    first = starts[owner] + nth * sizes[owner]
    last = np.minimum(first + sizes[owner], (starts + lengths)[owner])
    return np.stack([tensors[owner], first, last, rows[owner]], axis=1).astype(np.int64)


class Blocks:
    """How tensors are cut for a program that reduces: into channels, or equal pieces.

    Args:
        shapes: of every tensor.
        rows: the row of scalars that each is stepped with.
        by_channel: whether anything is summed per channel.
        models: the model that each belongs to, counted from 0; all to one if None.

    Attributes:
        table: int64 (tensors, 8): row, first block, blocks, elements of a block, elements, elements
            of a channel, number of indices, model.
        count: the number of blocks.
        models: the number of models.
        chunks: the chunk table, every chunk made of whole blocks.
    """

    def __init__(
        self,
        shapes: Sequence[tuple[int, ...]],
        rows: Ints,
        by_channel: bool,
        models: Ints | None = None,
    ) -> None:
        counts = np.array([math.prod(shape) for shape in shapes], np.int64)
        # A channel is what shares the first index; a vector or a number is one.
        channels = np.array([shape[0] if len(shape) > 1 else 1 for shape in shapes], np.int64)
        lengths = counts // np.maximum(channels, 1)
        widths = np.maximum(lengths, 1) if by_channel else np.full_like(counts, CHUNK)
        blocks = -(-counts // widths)
        first = np.cumsum(blocks) - blocks
        dimensions = np.array([len(shape) for shape in shapes], np.int64)
        models = np.zeros_like(counts) if models is None else models
        columns = (rows, first, blocks, widths, counts, lengths, dimensions, models)
        self.table = np.stack(columns, axis=1).astype(np.int64)
        self.count, self.models = int(blocks.sum()), int(models.max(initial=0)) + 1
        size = np.maximum(CHUNK // widths, 1) * widths
        tensors = np.arange(len(shapes))
        self.chunks = cut(tensors, np.zeros_like(counts), counts, rows, size)
