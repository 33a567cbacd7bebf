"""What one launch of a compiled kernel reads: a table of pointers, of chunks, of scalars."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

CHUNK = 16384  # elements: a chunk's arrays fit a core's second-level cache


def cut(tensors: Ints, starts: Ints, lengths: Ints, rows: Ints, size: int = CHUNK) -> Ints:
    """The chunk table of these pieces: each cut into chunks of at most `size` elements.

    Args:
        tensors: for every piece, the row of the pointer table it lies in.
        starts: its first element there.
        lengths: its number of elements.
        rows: the row of scalars it is stepped with.
        size: elements per chunk.

    Returns:
        int64 of shape (chunks, 4): tensor, first element, one past the last, row.
    """
    pieces = -(-lengths // size)
    owner = np.repeat(np.arange(len(lengths)), pieces)
    nth = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    first = starts[owner] + nth * size
    last = np.minimum(first + size, (starts + lengths)[owner])
    return np.stack([tensors[owner], first, last, rows[owner]], axis=1).astype(np.int64)
