"""Program -> the source of a CPU kernel, a Python file that a person can read."""

from __future__ import annotations

import re

from ...tape import Instruction, Operand, Program

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

_TEMPLATE = """\
# {title}
# CPU kernel of {name} for {dtype}, generated from the rule's formula.

from math import cos, exp, fabs, inf, log, nan, sin, sqrt, tanh

from numba import float32, float64

from thalweg.engines.numba.memory import array, claim, entry, integer, put, real

{accessors}


@entry
def kernel(launch):
    tickets, count, chunks = integer(launch, 0), integer(launch, 1), integer(launch, 2)
    pointers, scalars, updates = integer(launch, 3), integer(launch, 4), integer(launch, 5)
    row = -1
{declare}
    while True:
        chunk = claim(tickets)
        if chunk >= count:
            return
        tensor, start = integer(chunks, 4 * chunk), integer(chunks, 4 * chunk + 1)
        stop, own = integer(chunks, 4 * chunk + 2), integer(chunks, 4 * chunk + 3)
        if own != row:
            row = own
{prologue}
{bases}
        for i in range(start, stop):
{body}
"""


_RESERVED = frozenset(re.findall(r"\w+", _TEMPLATE))
_PREFIXES = ("load_", "store_", "at_", "c_")  # of the names that the source makes from others


def source(program: Program, dtype: str) -> str:
    """The kernel's source.

    Args:
        program: what to compute.
        dtype: "float32" or "float64", of every array and of the arithmetic on them.
    """
    names = _names(program)
    arrays = [names[a] for a in program.arrays]
    touched = {names[a] for a in (*program.reads, *(a for a, _ in program.outputs))}
    width, updates = len(program.scalars), len(program.updates)

    scalars = [
        f"{names[s]} = real(scalars, {width} * row + {k})"
        for k, s in enumerate(program.scalars)
        if s in _used(program)
    ]
    scalars += [_line(line, "float64", names) for line in program.prologue]
    scalars += [
        f"put(updates, {updates} * row + {k}, {_operand(value, 'float64', names)})"
        for k, (_, value) in enumerate(program.updates)
    ]
    constants, flags = program.constants, program.flags
    scalars += [
        f"c_{names[c]} = {names[c] if c in flags else f'{dtype}({names[c]})'}" for c in constants
    ]
    inside = names | {c: f"c_{names[c]}" for c in constants}
    body = [f"{names[a]} = load_{names[a]}(at_{names[a]}, i)" for a in program.reads]
    body += [_line(line, dtype, inside) for line in program.body]
    body += [
        f"store_{names[a]}(at_{names[a]}, i, {_operand(value, dtype, inside)})"
        for a, value in program.outputs
    ]
    return _TEMPLATE.format(
        title=_one_line(program.title or program.name),
        name=_one_line(program.name),
        dtype=dtype,
        accessors="\n".join(
            f'load_{a}, store_{a} = array("{dtype}", {k}, {len(arrays)})'
            for k, a in enumerate(arrays)
        ),
        declare=_indent(
            [f"c_{names[c]} = {'False' if c in flags else f'{dtype}(0.0)'}" for c in constants], 4
        ),
        prologue=_indent(scalars, 12),
        bases=_indent(
            [
                f"at_{a} = integer(pointers, {len(arrays)} * tensor + {k})"
                for k, a in enumerate(arrays)
                if a in touched
            ],
            8,
        ),
        body=_indent(body, 12),
    )


def _names(program: Program) -> dict[Operand, str]:
    """What each value is called in the source: its own name, unless the source needs that one."""
    lines = (*program.prologue, *program.body)
    values = (*program.arrays, *program.scalars, *(line.target for line in lines))
    names: dict[Operand, str] = {}
    taken = set(_RESERVED)
    for value in values:
        name = f"v_{value}" if value.startswith(_PREFIXES) else value
        while name in taken:
            name += "_"
        taken.add(name)
        names[value] = name
    return names


def _used(program: Program) -> set[Operand]:
    """The scalars that anything reads."""
    read = {o for line in program.prologue for o in line.operands}
    return read | set(program.constants) | {value for _, value in program.updates}


def _line(instruction: Instruction, dtype: str, names: dict[Operand, str]) -> str:
    operands = [_operand(o, dtype, names) for o in instruction.operands]
    return f"{names[instruction.target]} = {_OPERATIONS[instruction.operation].format(*operands)}"


def _operand(operand: Operand, dtype: str, names: dict[Operand, str]) -> str:
    if isinstance(operand, str):
        return names[operand]
    return f"{dtype}({operand!r})"


def _one_line(text: str) -> str:
    """Fit for a comment, whatever is in it."""
    return " ".join(text.split())


def _indent(lines: list[str], depth: int) -> str:
    return "\n".join(" " * depth + line for line in lines or ["pass"])
