"""How the tensors of a GPU are cut for the passes that sum."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from ..tables import Blocks, Chunk, Ints, TensorColumn, cut

CHANNELS = 16  # of a chunk at most: each takes a turn of its own, however short


class PieceChunk(IntEnum):
    """The columns of the chunk table of passes that sum: those of `Chunk`, and one more."""

    TENSOR = Chunk.TENSOR
    FIRST = Chunk.FIRST
    STOP = Chunk.STOP
    ROW = Chunk.ROW
    PIECE = len(Chunk)  # the number of its first


class Pieces:
    """What is summed by one loop: a block, or a part of one that is long.

    Args:
        blocks: the blocks of all tensors.
        size: elements of a chunk, and the most of a piece.

    Attributes:
        chunks: int64 (chunks, `PieceChunk`).
        of_block: int64 (blocks, 2): first piece of every block, and how many it has.
        count: the number of pieces.
        split: whether any block has several.
    """

    def __init__(self, blocks: Blocks, size: int) -> None:
        rows, counts = blocks.table[:, TensorColumn.ROW], blocks.table[:, TensorColumn.COUNT]
        widths, per_tensor = (
            blocks.table[:, TensorColumn.WIDTH],
            blocks.table[:, TensorColumn.BLOCKS],
        )
        long = widths > size
        # A long block is a run of its own, so that no chunk crosses its end.
        runs = np.where(long, per_tensor, 1)
        tensor = np.repeat(np.arange(len(counts)), runs)
        nth = np.arange(len(tensor)) - np.repeat(np.cumsum(runs) - runs, runs)
        starts = nth * widths[tensor]
        lengths = np.where(
            long[tensor], np.minimum(widths[tensor], counts[tensor] - starts), counts[tensor]
        )
        whole = np.where(long, size, np.clip(size // widths, 1, CHANNELS) * widths)
        chunks = cut(tensor, starts, lengths, rows[tensor], whole[tensor])
        step = np.where(long, size, widths)[chunks[:, Chunk.TENSOR]]
        number = -(-(chunks[:, Chunk.STOP] - chunks[:, Chunk.FIRST]) // step)
        first = np.cumsum(number) - number
        self.chunks: Ints = np.column_stack([chunks, first])
        per_block = np.repeat(np.where(long, -(-widths // size), 1), per_tensor)
        begin = np.cumsum(per_block) - per_block
        self.of_block: Ints = np.column_stack([begin, per_block]).astype(np.int64)
        self.count, self.split = int(number.sum()), bool(long.any())
