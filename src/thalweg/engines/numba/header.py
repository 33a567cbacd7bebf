"""The table that a kernel is called with the address of: integers, by their places."""

from __future__ import annotations

from enum import IntEnum


class Header(IntEnum):
    """What each integer of a launch's header is; addresses unless something else is said."""

    TICKETS = 0  # the counter that chunks are claimed from
    COUNT = 1  # how many items there are to claim
    CHUNKS = 2
    POINTERS = 3
    SCALARS = 4
    UPDATES = 5
    PHASE = 6  # the number of the phase; this and what follows, of programs that reduce
    TENSORS = 7  # `Blocks.table`
    TENSOR_COUNT = 8  # how many tensors
    PARTIALS = 9  # sums per block
    TOTALS = 10  # per tensor
    MODEL_TOTALS = 11  # per model
    SEED = 12  # the seed itself


class Phase(IntEnum):
    """The phases of a stage: what one call of a kernel with reductions does."""

    PASS = 0  # over the elements of every chunk
    TENSORS = 1  # finishes the sums of every tensor
    MODELS = 2  # finishes the sums of every model
