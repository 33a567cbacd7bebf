"""How a program's operations are written in the language of GPU kernels."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from ...tape import Instruction
from ..codegen import Names, indent, statement

# The whole of what this engine knows about arithmetic; its functions are those of `functions`.
OPERATIONS = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "divide({0}, {1})",
    "pow": "power({0}, {1})",
    "neg": "-1.0 * {0}",
    "gt": "{0} > {1}",
    "lt": "{0} < {1}",
    "ge": "{0} >= {1}",
    "le": "{0} <= {1}",
    "eq": "{0} == {1}",
    "ne": "{0} != {1}",
    "and": "{0} & {1}",
    "or": "{0} | {1}",
    "sqrt": "root({0})",
    "abs": "tl.abs({0})",
    "exp": "tl.exp({0})",
    "log": "tl.log({0})",
    "sin": "sine({0})",
    "cos": "cosine({0})",
    "tanh": "tanh({0})",
    "maximum": "tl.where(({0} >= {1}) | ({0} != {0}), {0}, {1})",
    "minimum": "tl.where(({0} <= {1}) | ({0} != {0}), {0}, {1})",
    "where": "tl.where({0}, {1}, {2})",
}


def line(instruction: Instruction, dtype: str, names: Names) -> str:
    """An instruction as a statement; `dtype` is that of its literals."""
    return statement(OPERATIONS, instruction, dtype, names)


def cell(table: str, row: str, column: IntEnum) -> str:
    """The place of an integer in a table whose columns are an enumeration's."""
    return f"{table} + {len(type(column))} * {row} + {column:d}"


def function(name: str, parameters: Sequence[str], body: Sequence[str]) -> list[str]:
    """A function of the GPU."""
    head = _wrapped(f"def {name}(", parameters, "):")
    return ["", "", "@triton.jit", *head, *indent(body or ["pass"], 1)]


def call(name: str, arguments: Sequence[str], target: str = "") -> list[str]:
    """A statement that calls one."""
    return _wrapped(f"{target}{name}(", arguments, ")")


def _wrapped(head: str, items: Sequence[str], end: str) -> list[str]:
    """A list in parentheses, in several lines if it is long."""
    inline = head + ", ".join(items) + end
    if len(inline) <= 80:
        return [inline]
    rows: list[list[str]] = [[]]
    for item in items:
        if len(", ".join([*rows[-1], item])) > 76:
            rows.append([])
        rows[-1].append(item)
    return [head, *indent([", ".join(row) + "," for row in rows], 1), end]
