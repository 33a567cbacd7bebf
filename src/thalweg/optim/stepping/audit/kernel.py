"""The compiled audit: asks libtorch where and what every tensor of a launch is.

It is compiled as kernels of rules are, from this file's text, and called with the interpreter's
lock held. What it reads is laid out in `tables`; what the columns mean is said in `audit`.
"""

from __future__ import annotations

from ....engines.numba.words import (
    call,
    call_for_word,
    count_up,
    double_at,
    integer_at,
    prefetch,
    put_double,
    put_integer,
    put_single,
    short_at,
    single_at,
)
from . import tables as t


def integer(table: int, column: int) -> int:
    """The integer in a column of a table's row."""
    return integer_at(table + 8 * column)


def same_words(header: int, row: int, impl: int) -> int:
    """Whether the words in which a tensor keeps its description are those noted in its row."""
    first, noted = impl + integer(header, t.WORDS_AT), integer(row, t.NOTED)
    k, words = 0, integer(header, t.WORDS)
    while k < words and integer(first, k) == integer(noted, k):
        k += 1
    return k == words


def note_words(header: int, row: int, impl: int) -> None:
    """Note these words in the tensor's row."""
    first, noted = impl + integer(header, t.WORDS_AT), integer(row, t.NOTED)
    for k in range(integer(header, t.WORDS)):
        put_integer(noted + 8 * k, integer(first, k))


def differs(header: int, row: int, cell: int, plain: int) -> int:
    """Whether a tensor's kind, dtype, device, sizes or strides are not those of its row."""
    answer, shape = header + 8 * t.ANSWER, integer(row, t.SHAPE)
    dimensions = integer_at(shape)
    if integer_at(integer_at(cell) + integer(header, t.KEYS_AT)) != plain:
        return True
    if call(integer(header, t.DTYPE), cell, answer) or short_at(answer) != integer(row, t.CODE):
        return True
    if call(integer(header, t.DEVICE_INDEX), cell, answer):
        return True
    if short_at(answer) != integer(row, t.DEVICE):
        return True
    if call(integer(header, t.DIM), cell, answer) or integer_at(answer) != dimensions:
        return True
    if call(integer(header, t.SIZES), cell, answer):
        return True
    if call(integer(header, t.STRIDES), cell, answer + 8):
        return True
    sizes, strides = integer_at(answer), integer_at(answer + 8)
    for k in range(dimensions):
        size = integer(shape, 1 + k)
        if integer(sizes, k) != size:
            return True
        # The strides of a tensor without elements lead nowhere and may be any.
        reaches = size > 1 and integer(row, t.BYTES)
        if reaches and integer(strides, k) != integer(shape, 1 + dimensions + k):
            return True
    if call(integer(header, t.STORAGE_OFFSET), cell, answer):
        return True
    start = integer_at(answer) * integer(row, t.WIDTH)
    put_integer(row + 8 * t.ENDS, start + integer(row, t.BYTES))
    return False


def fault(header: int, row: int, cell: int, plain: int) -> int:
    """CHANGED where a tensor is not as its row has it; its address goes into the answer."""
    answer, impl = header + 8 * t.ANSWER, integer_at(cell)
    if not (integer(row, t.NOTED) and same_words(header, row, impl)):
        if differs(header, row, cell, plain):
            return t.CHANGED
        if integer(row, t.NOTED):
            note_words(header, row, impl)
    put_integer(answer, 0)
    if integer(row, t.BYTES):
        if call(integer(header, t.STORAGE_SIZE), cell, answer + 8):
            return t.CHANGED
        if integer(row, t.ENDS) > integer_at(answer + 8):
            return t.CHANGED
        if call(integer(header, t.DATA_PTR), cell, answer) or not integer_at(answer):
            return t.CHANGED
    put_integer(row + 8 * t.COUNTER, integer_at(impl + integer(header, t.COUNTER_AT)))
    return t.FINE


def overlaps(header: int, start: int, stop: int) -> int:
    """Whether memory from start to stop is any that the step writes to."""
    stops, low, high = integer(header, t.STOPS), 0, integer(header, t.SPANS)
    end = high
    while low < high:
        middle = (low + high) // 2
        if integer(stops, middle) > start:
            high = middle
        else:
            low = middle + 1
    return low < end and integer(integer(header, t.STARTS), low) < stop


def entries_fault(header: int) -> int:
    """Whether the entries of a state are other objects than they were."""
    scratch, states = header + 8 * t.ANSWER, integer(header, t.STATES)
    for k in range(integer(header, t.STATE_COUNT)):
        state = integer(states, 3 * k)
        expected = integer(header, t.ENTRIES) + 8 * integer(states, 3 * k + 1)
        count, found = integer(states, 3 * k + 2), 0
        put_integer(scratch, 0)
        while call(integer(header, t.NEXT_ENTRY), state, scratch, scratch + 8, scratch + 16):
            if found >= count or integer_at(scratch + 16) != integer(expected, found):
                return True
            found += 1
        if found != count:
            return True
    return False


def gradient_fault(header: int, row: int, k: int) -> int:
    """What is to be said of the gradient of the k-th item."""
    gradient = call_for_word(integer(header, t.LIST_ITEM), integer(header, t.GRADIENTS), k)
    kind = integer_at(gradient + integer(header, t.TYPE_AT))
    if kind != integer(header, t.TENSOR) and kind != integer(header, t.PARAMETER):
        return t.GRADIENT
    cell = gradient + integer(header, t.CELL_AT)
    if fault(header, row, cell, integer(header, t.ARRAY_KEYS)):
        return t.GRADIENT
    address = integer(header, t.ANSWER)
    if address != integer(row, t.ADDRESS):
        stop = address + integer(row, t.BYTES)
        if integer(row, t.BYTES) and overlaps(header, address, stop):
            return t.GRADIENT
        put_integer(row + 8 * t.ADDRESS, address)
        put_integer(integer(row, t.POINTER), address)
    return t.FINE


def array_fault(header: int, row: int) -> int:
    """What is to be said of a parameter or an array of its state."""
    cell = integer(row, t.OBJECT) + integer(header, t.CELL_AT)
    if fault(header, row, cell, integer(header, t.ARRAY_KEYS)):
        return t.CHANGED
    address = integer(header, t.ANSWER)
    if address == integer(row, t.ADDRESS):
        return t.FINE
    put_integer(row + 8 * t.ADDRESS, address)
    put_integer(integer(row, t.POINTER), address)
    return t.MOVED


def number_fault(header: int, row: int, k: int) -> int:
    """What is to be said of a number of the state."""
    cell = integer(row, t.OBJECT) + integer(header, t.CELL_AT)
    if fault(header, row, cell, integer(header, t.NUMBER_KEYS)):
        return t.CHANGED
    address = integer(header, t.ANSWER)
    value = single_at(address) if integer(row, t.WIDTH) == 4 else double_at(address)
    expected = double_at(integer(header, t.EXPECTED) + 8 * k)
    if value != expected and not (value != value and expected != expected):
        return t.VALUE
    if address == integer(row, t.ADDRESS):
        return t.FINE
    put_integer(row + 8 * t.ADDRESS, address)
    return t.MOVED


def pattern_fault(header: int) -> int:
    """Whether an item that should have a gradient has none, or the reverse."""
    gradients, resting = integer(header, t.GRADIENTS), integer(header, t.RESTING)
    for k in range(integer(header, t.ITEMS)):
        gradient = call_for_word(integer(header, t.LIST_ITEM), gradients, k)
        prefetch(gradient)
        if (gradient == integer(header, t.NOTHING)) != (integer(resting, k) != 0):
            return True
    return False


def fetch(header: int, k: int, end: int) -> None:
    """Have the records of tensors some rows ahead fetched: each is a wait for memory otherwise."""
    if k + 16 < end:
        row = integer(header, t.TENSORS) + 8 * t.ROW * (k + 16)
        prefetch(integer(row, t.OBJECT))
    if k + 8 < end:
        row = integer(header, t.TENSORS) + 8 * t.ROW * (k + 8)
        impl = integer_at(integer(row, t.OBJECT) + integer(header, t.CELL_AT))
        prefetch(impl)
        prefetch(impl + 64)
        prefetch(impl + 128)
    if k + 4 < end:
        row = integer(header, t.TENSORS) + 8 * t.ROW * (k + 4)
        impl = integer_at(integer(row, t.OBJECT) + integer(header, t.CELL_AT))
        prefetch(integer_at(impl + 16))  # its storage, so far; anything may be asked to be fetched


def fetch_gradient(header: int, k: int, ahead: int) -> None:
    """The same for a gradient; `pattern_fault` has had the Python objects fetched."""
    if k + ahead < integer(header, t.ITEMS) and not integer(integer(header, t.RESTING), k + ahead):
        gradient = call_for_word(
            integer(header, t.LIST_ITEM), integer(header, t.GRADIENTS), k + ahead
        )
        impl = integer_at(gradient + integer(header, t.CELL_AT))
        prefetch(impl)
        prefetch(impl + 64)
        prefetch(impl + 128)


def written_fault(header: int) -> int:
    """What is found of parameters and states; the first that is not as it was, but for MOVED."""
    items, arrays = integer(header, t.ITEMS), integer(header, t.ARRAYS)
    moved = t.FINE
    for k in range(items, items + arrays + integer(header, t.NUMBERS)):
        fetch(header, k, items + arrays + integer(header, t.NUMBERS))
        row = integer(header, t.TENSORS) + 8 * t.ROW * k
        if integer(integer(header, t.RESTING), integer(row, t.OWNER)):
            continue
        if k < items + arrays:
            kind = array_fault(header, row)
        else:
            kind = number_fault(header, row, k - items - arrays)
        if kind == t.MOVED:
            moved = kind
        elif kind:
            return kind
    return moved


def audit(header: int) -> int:
    """What is found: first in the states, then in gradients, held against where states are now."""
    if entries_fault(header):
        return t.ENTRY
    if pattern_fault(header):
        return t.PATTERN
    kind = written_fault(header)
    if kind:
        return kind
    for k in range(integer(header, t.ITEMS)):
        fetch_gradient(header, k, 8)
        row = integer(header, t.TENSORS) + 8 * t.ROW * k
        if not integer(integer(header, t.RESTING), k):
            kind = gradient_fault(header, row, k)
            if kind:
                return kind
    return t.FINE


def renew(header: int, row: int, k: int) -> None:
    """Write a number's new value: what the step has made of it, or one more."""
    source, expected = integer(integer(header, t.SOURCES), k), integer(header, t.EXPECTED) + 8 * k
    value = double_at(source) if source else double_at(expected) + 1.0
    if integer(row, t.WIDTH) == 4:
        put_single(integer(row, t.ADDRESS), value)
        value = single_at(integer(row, t.ADDRESS))
    else:
        put_double(integer(row, t.ADDRESS), value)
    put_double(expected, value)
    if source:  # what a checkpoint would hold is what the next step starts from
        put_double(source, value)


def advance(header: int) -> None:
    """Count the step in every state, and tell autograd what was written."""
    items, arrays = integer(header, t.ITEMS), integer(header, t.ARRAYS)
    tensors, resting = integer(header, t.TENSORS), integer(header, t.RESTING)
    version = integer(header, t.VERSION_AT)
    for k in range(items, items + arrays + integer(header, t.NUMBERS)):
        row = tensors + 8 * t.ROW * k
        if integer(resting, integer(row, t.OWNER)):
            continue
        count_up(integer(row, t.COUNTER) + version)
        if k >= items + arrays:
            renew(header, row, k - items - arrays)


def swap(table: int, first: int, second: int) -> None:
    """Exchange two integers of a table."""
    kept = integer(table, first)
    put_integer(table + 8 * first, integer(table, second))
    put_integer(table + 8 * second, kept)


def sift(starts: int, stops: int, root: int, count: int) -> None:
    """Sink an entry of two tables, which are a heap by the first of them but for it."""
    child = 2 * root + 1
    while child < count:
        if child + 1 < count and integer(starts, child + 1) > integer(starts, child):
            child += 1
        if integer(starts, root) >= integer(starts, child):
            return
        swap(starts, root, child)
        swap(stops, root, child)
        root = child
        child = 2 * root + 1


def sort(starts: int, stops: int, count: int) -> None:
    """Bring two tables into the order of the first."""
    for k in range(count // 2):
        sift(starts, stops, count // 2 - 1 - k, count)
    for k in range(count - 1):
        swap(starts, 0, count - 1 - k)
        swap(stops, 0, count - 1 - k)
        sift(starts, stops, 0, count - 1 - k)


def survey(header: int) -> int:
    """Note where the memory is that a step writes to; OVERLAP where two share any of it."""
    items, rows = integer(header, t.ITEMS), integer(header, t.TENSORS)
    starts, stops, count = integer(header, t.STARTS), integer(header, t.STOPS), 0
    for k in range(items):  # their gradients are held against the new places
        put_integer(rows + 8 * (t.ROW * k + t.ADDRESS), t.NOWHERE)
    for k in range(items, items + integer(header, t.ARRAYS) + integer(header, t.NUMBERS)):
        row = rows + 8 * t.ROW * k
        if integer(row, t.BYTES) and not integer(integer(header, t.RESTING), integer(row, t.OWNER)):
            put_integer(starts + 8 * count, integer(row, t.ADDRESS))
            put_integer(stops + 8 * count, integer(row, t.ADDRESS) + integer(row, t.BYTES))
            count += 1
    sort(starts, stops, count)
    put_integer(header + 8 * t.SPANS, count)
    for k in range(1, count):
        if integer(stops, k - 1) > integer(starts, k):
            return t.OVERLAP
    return t.FINE


def kernel(header: int) -> None:
    """Do the header's task."""
    task = integer(header, t.TASK)
    if task == t.ADVANCE:
        advance(header)
    elif task == t.SURVEY:
        put_integer(header + 8 * t.KIND, survey(header))
    else:
        put_integer(header + 8 * t.KIND, audit(header))
