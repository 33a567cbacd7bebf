"""Program -> the source of a CPU kernel, a Python file that a person can read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from functools import partial

from ...tape import ROW, Operand, Program
from ..codegen import assign_names, block, indent, one_line, operand
from ..formats import resolve_formats
from ..tables import Chunk, TensorColumn
from .elements import PREFIXES, Elements
from .header import Header, Phase
from .passes import Passes
from .text import cell, header, line

_TEMPLATE = """\
# {title}
# CPU kernel of {name} over {formats}, generated from the rule's formula.

from math import cos, exp, fabs, inf, log, nan, sin, sqrt, tanh

from numba import float32, float64, int32, int64

from thalweg.engines.numba.conversions import (
    any_negative, decoded, encoded, largest_size, mix, scale_of, scratch,
)
from thalweg.engines.numba.memory import accumulate, array, claim, entry, integer, put, real

{accessors}


@entry
def kernel(launch):
{tables}
    row = -1
{declare}
    while True:
        chunk = claim(tickets)
        if chunk >= count:
            return
{item}
        if own != row:
            row = own
{prologue}
{bases}
{work}
"""

# What the header holds, under the names that the kernel gives it.
_HEADER = {
    "tickets": Header.TICKETS,
    "count": Header.COUNT,
    "chunks": Header.CHUNKS,
    "pointers": Header.POINTERS,
    "scalars": Header.SCALARS,
    "updates": Header.UPDATES,
}
_SUMS = {
    "phase": Header.PHASE,
    "tensors": Header.TENSORS,
    "every": Header.TENSOR_COUNT,
    "partials": Header.PARTIALS,
    "totals": Header.TOTALS,
    "model_totals": Header.MODEL_TOTALS,
}

# The same of a chunk and of a tensor.
_CHUNK = {"tensor": Chunk.TENSOR, "start": Chunk.FIRST, "stop": Chunk.STOP, "own": Chunk.ROW}
_TENSOR = {
    "own": TensorColumn.ROW,
    "first": TensorColumn.FIRST,
    "blocks": TensorColumn.BLOCKS,
    "width": TensorColumn.WIDTH,
    "model": TensorColumn.MODEL,
}

_RESERVED = frozenset(re.findall(r"\w+", _TEMPLATE)) | {
    *(*_HEADER, *_SUMS, *_CHUNK, *_TENSOR),
    "block",
    "end",
    "held",
    "i",
    "key",
    "largest",
    "min",
    "range",  # of the loops
}
_PREFIXES = ("c_", "sum_", *PREFIXES)  # of the names made from others


def source(program: Program, formats: str | Sequence[str]) -> str:
    """The kernel's source.

    Args:
        program: what to compute.
        formats: of its arrays in memory: the name of one format for all, or of one for each.
    """
    names, storages = (
        assign_names(program, _RESERVED, _PREFIXES),
        resolve_formats(formats, len(program.arrays)),
    )
    elements = Elements(program, storages, names)
    reduces, number = bool(program.middle), elements.number
    work = Passes(program, elements).source() if reduces else _steps(program, elements)
    return _TEMPLATE.format(
        title=one_line(program.title or program.name),
        name=one_line(program.name),
        formats=" ".join(dict.fromkeys(storage.name for storage in storages)),
        accessors="\n".join(elements.accessors()),
        tables=block(_assigned({**_HEADER, **(_SUMS if reduces else {})}, header), 1),
        declare=block([*_declared(program, number, names), *elements.scratch_blocks()], 1),
        item=block(_item() if reduces else _assigned(_CHUNK, _of_chunk), 2),
        prologue=block(_prologue(program, number, names), 3),
        bases=block(elements.bases(), 2),
        work=block(work, 2),
    )


def _assigned(columns: Mapping[str, IntEnum], read: Callable[[IntEnum], str]) -> list[str]:
    """What is read from columns of a table, under names, two in a line."""
    names = [*columns]
    pairs = [names[k : k + 2] for k in range(0, len(names), 2)]
    return [
        f"{', '.join(pair)} = {', '.join(read(columns[name]) for name in pair)}" for pair in pairs
    ]


def _of_chunk(column: IntEnum) -> str:
    return cell("chunks", "chunk", column)


def _item() -> list[str]:
    """A chunk of a pass; or the tensor, or the model, whose sums are finished."""
    whole = {name: column for name, column in _CHUNK.items() if name != "own"}
    return [
        "tensor, start, stop = chunk, 0, 0",
        f"if phase % {len(Phase)} == {Phase.PASS:d}:",
        *indent(_assigned(whole, _of_chunk), 1),
        *_assigned(_TENSOR, partial(cell, "tensors", "tensor")),
        "block = first + start // width",
    ]


def _declared(program: Program, dtype: str, names: dict[Operand, str]) -> list[str]:
    """The values of a row, which every chunk of it shares."""
    kinds = {f"c_{names[c]}": (c, dtype) for c in _row_constants(program)}
    if program.middle:
        own = (*program.scalars, *(i.target for i in program.prologue))
        kinds |= {names[s]: (s, "float64") for s in own if s in _used(program)}
    return [
        f"{name} = {'False' if value in program.flags else f'{kind}(0.0)'}"
        for name, (value, kind) in kinds.items()
    ]


def _prologue(program: Program, dtype: str, names: dict[Operand, str]) -> list[str]:
    """What depends on the row of scalars alone."""
    width, updates = len(program.scalars), len(program.updates)
    code = [
        f"{names[s]} = real(scalars, {width} * row + {k})"
        for k, s in enumerate(program.scalars)
        if s in _used(program)
    ]
    code += [line(i, "float64", names) for i in program.prologue]
    code += [
        f"put(updates, {updates} * row + {k}, {operand(value, 'float64', names)})"
        for k, (_, value) in enumerate(program.updates)
    ]
    return code + [
        f"c_{names[c]} = {names[c] if c in program.flags else f'{dtype}({names[c]})'}"
        for c in _row_constants(program)
    ]


def _steps(program: Program, elements: Elements) -> list[str]:
    """The step of a chunk's elements."""
    inside = {**elements.names} | {c: f"c_{elements.names[c]}" for c in program.constants}
    loop = elements.read(program.reads)
    loop += [line(i, elements.number, inside) for i in program.body]
    loop += elements.write(inside)
    code = elements.last_loop(loop)
    return ["while start < stop:", *indent(code, 1)] if elements.scaled else code


def _row_constants(program: Program) -> list[str]:
    return [c for c in program.constants if program.levels.get(c, ROW) == ROW]


def _used(program: Program) -> set[Operand]:
    """The values of a row that anything reads."""
    lines = (*program.prologue, *program.middle)
    read = {o for i in lines for o in i.operands}
    return read | set(program.constants) | {value for _, value in program.updates}
