"""How a program's operations are written in the language of kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...tape import Instruction, Operand

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

Names = Mapping[Operand, str]


def line(instruction: Instruction, dtype: str, names: Names) -> str:
    """An instruction as a statement; `dtype` is that of its literals."""
    operands = [operand(o, dtype, names) for o in instruction.operands]
    return f"{names[instruction.target]} = {_OPERATIONS[instruction.operation].format(*operands)}"


def operand(value: Operand, dtype: str, names: Names) -> str:
    """An operand: the name a value goes by, or a literal."""
    return names[value] if isinstance(value, str) else f"{dtype}({value!r})"


def largest(name: str, other: str) -> str:
    """The larger of two, NaN if either is."""
    return _OPERATIONS["maximum"].format(name, other)


def indent(lines: Sequence[str], levels: int) -> list[str]:
    """The statements that many levels deeper."""
    return ["    " * levels + text for text in lines]
