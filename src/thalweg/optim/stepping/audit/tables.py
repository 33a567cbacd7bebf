"""The tables that the compiled audit reads: integers of 64 bits, named by their places.

A name in capitals is a column. Addresses are of memory that the audit holds, of functions of
libtorch and the interpreter, or of Python objects.
"""

from __future__ import annotations

# The header: what is asked for, and what was found.
TASK, KIND = 0, 1
# The list of gradients; how many items there are, arrays of these and numbers of their states.
GRADIENTS, ITEMS, ARRAYS, NUMBERS = 3, 4, 5, 6
TENSORS, RESTING = 7, 8  # the table of tensors; for each item whether it has no gradient
STATES, ENTRIES, STATE_COUNT = 9, 10, 11  # (dict, its first entry, how many), and all entries
EXPECTED, SOURCES = 12, 13  # of the numbers: the value, and where a step's new one is, or 0
STARTS, STOPS, SPANS = 14, 15, 16  # the memory that a step writes to, in order, and how many
# What is known of this process, see `libtorch`.
TYPE_AT, CELL_AT, KEYS_AT, COUNTER_AT, VERSION_AT, WORDS_AT, WORDS = 17, 18, 19, 20, 21, 22, 23
ARRAY_KEYS, NUMBER_KEYS = 24, 25
TENSOR, PARAMETER, NOTHING = 26, 27, 28  # torch.Tensor, torch.nn.Parameter, None
DATA_PTR, DIM, SIZES, STRIDES, DTYPE, STORAGE_SIZE, STORAGE_OFFSET, DEVICE_INDEX = range(29, 37)
NEXT_ENTRY, LIST_ITEM = 37, 38
ANSWER = 39  # where functions write their answers: three integers
HEADER = 42  # integers in all

# A row of the table of tensors: a gradient of every item, then the arrays, then the numbers.
OBJECT, OWNER = 0, 1  # the tensor, and the number of its item
CODE, DEVICE, SHAPE, WIDTH, BYTES = 2, 3, 4, 5, 6  # SHAPE: of indices, sizes, strides
NOTED = 7  # room for the words that describe it, or 0
ENDS, ADDRESS, COUNTER = 8, 9, 10  # found: bytes of storage up to its end, its memory, its counter
POINTER = 11  # where in the kernel's table of pointers its address belongs
ROW = 12  # integers in all
NOWHERE = -1  # the address of a tensor that was not found yet

# What an audit finds: all as it was; another entry in a state; another tensor; memory elsewhere;
# gradients of other items; a gradient that cannot be read where it lies; another number; what a
# step writes to overlaps.
FINE, ENTRY, CHANGED, MOVED, PATTERN, GRADIENT, VALUE, OVERLAP = range(8)

AUDIT, ADVANCE, SURVEY = range(3)  # the tasks

NAMES = {name: value for name, value in vars().items() if isinstance(value, int)}
