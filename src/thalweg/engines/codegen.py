"""Shared by engines that generate sources: names, statements, dependencies of values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from ..tape import REDUCTIONS, Instruction, Operand, Program
from .formats import Format, arithmetic

Names = Mapping[Operand, str]


def statement(
    operations: Mapping[str, str], instruction: Instruction, dtype: str, names: Names
) -> str:
    """An instruction by an engine's table of operations; `dtype` is that of its literals."""
    operands = [operand(o, dtype, names) for o in instruction.operands]
    return f"{names[instruction.target]} = {operations[instruction.operation].format(*operands)}"


def operand(value: Operand, dtype: str, names: Names) -> str:
    """An operand: the name a value goes by, or a literal."""
    return names[value] if isinstance(value, str) else f"{dtype}({value!r})"


def assign_names(
    program: Program, reserved: Collection[str], prefixes: tuple[str, ...]
) -> dict[Operand, str]:
    """A name for each value in a source: its own, unless the source reserves that."""
    values = (*program.arrays, *program.scalars, *(i.target for i in program.lines))
    names: dict[Operand, str] = {}
    taken = set(reserved)
    for value in values:
        name = f"v_{value}" if value.startswith(prefixes) else value
        while name in taken:
            name += "_"
        taken.add(name)
        names[value] = name
    return names


def needed(lines: Sequence[Instruction], wanted: Iterable[Operand]) -> list[Instruction]:
    """The instructions on which these values depend; those before a reduction are left out."""
    values, found = set(wanted), []
    for instruction in reversed(lines):
        if instruction.target in values:
            found.append(instruction)
            if instruction.operation not in REDUCTIONS:
                values.update(instruction.operands)
    return found[::-1]


def columns(program: Program, formats: Sequence[Format]) -> tuple[dict[str, int], int]:
    """Where each array's first part is in a row of the table of pointers, and the row's width."""
    column, width = {}, 0
    for array, storage in zip(program.arrays, formats, strict=True):
        column[array] = width
        width += len(storage.parts)
    return column, width


class Arrays:
    """A program's arrays as an engine that generates sources needs them.

    Args:
        program: the program.
        formats: of every array, in the program's order.
        names: the name of each value in the source.

    Attributes:
        number: what is computed in.
        format: of every array.
        column, columns: as of the function `columns`.
        touched: the arrays that are read or written.
        scaled: those of these that have a scale for every block.
        drawn: those written that are rounded by random bits.
    """

    def __init__(self, program: Program, formats: Sequence[Format], names: Names) -> None:
        self.program, self.names = program, names
        self.number = arithmetic(formats)
        self.format = dict(zip(program.arrays, formats, strict=True))
        self.column, self.columns = columns(program, formats)
        written = [a for a, _ in program.outputs]
        self.touched = [a for a in program.arrays if a in {*program.reads, *written}]
        self.scaled = [a for a in self.touched if self.format[a].blockwise]
        self.drawn = [a for a in written if self.format[a].stochastic]


def one_line(text: str) -> str:
    """A text without line breaks, fit for a comment."""
    return " ".join(text.split())


def indent(lines: Sequence[str], levels: int) -> list[str]:
    """The statements that many levels deeper."""
    return ["    " * levels + text for text in lines]


def block(lines: Sequence[str], levels: int) -> str:
    """The statements that many levels deeper, as text."""
    return "\n".join(indent(lines, levels))
