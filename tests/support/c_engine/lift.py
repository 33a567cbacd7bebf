"""Program -> C."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from thalweg.engines.codegen import Arrays, Names, assign_names, block, one_line, operand, statement
from thalweg.engines.formats import Format
from thalweg.engines.tables import Chunk
from thalweg.tape import Instruction, Program

_OPERATIONS = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "pow": "pow({0}, {1})",
    "neg": "-{0}",
    "gt": "{0} > {1}",
    "lt": "{0} < {1}",
    "ge": "{0} >= {1}",
    "le": "{0} <= {1}",
    "eq": "{0} == {1}",
    "ne": "{0} != {1}",
    "and": "{0} & {1}",
    "or": "{0} | {1}",
    "sqrt": "sqrt({0})",
    "abs": "fabs({0})",
    "exp": "exp({0})",
    "log": "log({0})",
    "sin": "sin({0})",
    "cos": "cos({0})",
    "tanh": "tanh({0})",
    "maximum": "({0} >= {1}) | ({0} != {0}) ? {0} : {1}",
    "minimum": "({0} <= {1}) | ({0} != {0}) ? {0} : {1}",
    "where": "{0} ? {1} : {2}",
}

_TEMPLATE = """\
/* {title} */
#include <math.h>
#include <stdint.h>

#define float32(x) ((float)(x))
#define float64(x) ((double)(x))
#define inf INFINITY
#define nan NAN

void kernel(int64_t chunks, const int64_t *table, const int64_t *pointers,
            const double *scalars, double *updates)
{{
    for (int64_t k = 0; k < chunks; ++k, table += {columns}) {{
        const int64_t tensor = table[{tensor:d}], row = table[{row:d}];
{prologue}
{addresses}
        for (int64_t i = table[{first:d}]; i < table[{stop:d}]; ++i) {{
{body}
        }}
    }}
}}
"""
_RESERVED = frozenset(re.findall(r"\w+", _TEMPLATE + " ".join(_OPERATIONS.values()))) | {
    *("auto", "break", "case", "char", "continue", "default", "do", "else", "enum", "extern"),
    *("goto", "if", "inline", "long", "register", "restrict", "return", "short", "signed"),
    *("sizeof", "static", "struct", "switch", "typedef", "union", "unsigned", "volatile", "while"),
}
_C = {"float32": "float", "float64": "double"}


def source(program: Program, formats: Sequence[Format]) -> str:
    """The kernel's source."""
    names = assign_names(program, _RESERVED, ("at_", "c_"))
    arrays = Arrays(program, formats, names)
    return _TEMPLATE.format(
        title=one_line(program.title or program.name).replace("*/", "* /"),
        columns=len(Chunk),
        tensor=Chunk.TENSOR,
        row=Chunk.ROW,
        first=Chunk.FIRST,
        stop=Chunk.STOP,
        prologue=block(_prologue(program, arrays), 2),
        addresses=block(_addresses(arrays), 2),
        body=block(_body(program, arrays), 3),
    )


def _prologue(program: Program, arrays: Arrays) -> list[str]:
    """Once per chunk: what depends on its row of scalars alone."""
    names, width, slots = arrays.names, len(program.scalars), len(program.updates)
    read = [
        f"const double {names[scalar]} = scalars[{width} * row + {k}];"
        for k, scalar in enumerate(program.scalars)
    ]
    updates = [
        f"updates[{slots} * row + {k}] = {operand(value, 'float64', names)};"
        for k, (_, value) in enumerate(program.updates)
    ]
    casts = [
        f"const {_kind(program, c, arrays.number)} c_{names[c]} = {names[c]};"
        for c in program.constants
    ]
    return [*read, *_lines(program, program.prologue, "float64", names), *updates, *casts]


def _addresses(arrays: Arrays) -> list[str]:
    kinds = {a: _C[arrays.format[a].parts[0]] for a in arrays.touched}
    return [
        f"{kind} *at_{arrays.names[a]} = ({kind} *)pointers"
        f"[{arrays.columns} * tensor + {arrays.column[a]}];"
        for a, kind in kinds.items()
    ]


def _body(program: Program, arrays: Arrays) -> list[str]:
    """Once per element."""
    names, number = arrays.names, arrays.number
    inside = {**names} | {c: f"c_{names[c]}" for c in program.constants}
    read = [f"const {_C[number]} {names[a]} = at_{names[a]}[i];" for a in program.reads]
    written = [
        f"at_{names[a]}[i] = {operand(value, number, inside)};" for a, value in program.outputs
    ]
    return [*read, *_lines(program, program.body, number, inside), *written]


def _lines(program: Program, lines: Iterable[Instruction], number: str, names: Names) -> list[str]:
    return [
        f"const {_kind(program, line.target, number)} "
        f"{statement(_OPERATIONS, line, number, names)};"
        for line in lines
    ]


def _kind(program: Program, value: str, number: str) -> str:
    return "int" if value in program.flags else _C[number]
