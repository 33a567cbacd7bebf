"""How a program's operations are written in the language of kernels."""

from __future__ import annotations

from enum import IntEnum

from ...tape import Instruction
from ..codegen import Names, statement

# The whole of what this engine knows about arithmetic.
_OPERATIONS = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "pow": "{0} ** {1}",
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
    "maximum": "{0} if ({0} >= {1}) | ({0} != {0}) else {1}",
    "minimum": "{0} if ({0} <= {1}) | ({0} != {0}) else {1}",
    "where": "{1} if {0} else {2}",
}


def line(instruction: Instruction, dtype: str, names: Names) -> str:
    """An instruction as a statement; `dtype` is that of its literals."""
    return statement(_OPERATIONS, instruction, dtype, names)


def largest(name: str, other: str) -> str:
    """The larger of two, NaN if either is."""
    return _OPERATIONS["maximum"].format(name, other)


def header(column: IntEnum) -> str:
    """An integer of the launch's header."""
    return f"integer(launch, {column:d})"


def cell(table: str, row: str, column: IntEnum) -> str:
    """An integer of a table whose columns are an enumeration's."""
    return f"integer({table}, {len(type(column))} * {row} + {column:d})"
