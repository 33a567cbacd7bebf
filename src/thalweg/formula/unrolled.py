"""Programs as JavaScript on single numbers: a rule on two parameters, a function of two variables.

The functions of `formula.javascript` take tensors of any shape. These take what a page needs that
follows many paths at once: no array is made, no loop is left.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .. import ops
from ..program import ELEMENT, GRADIENT, THETA, Operand, Program
from ..rules import Rule
from ..tape import Symbol, record
from . import source_of, taped
from .javascript import distinct, expression, literal
from .tree import Statement
from .tree import names as names_of

_SIZES = {"count": "2", "channel_count": "2", "ndim": "1"}
_SUMS = ("sum", "all_sum", "channel_sum")  # a vector is one channel, and all there is


@dataclass(frozen=True)
class Step:
    """One step of a rule on two parameters.

    Attributes:
        javascript: a function `(s, gx, gy, t, h, values)`. It overwrites the state `s`, a
            Float64Array that holds the two parameters, then two numbers for each slot, or one
            for a scalar slot. `h` has the hyperparameters in the order of the rule's defaults.
            To `values`, if given, it appends what each target of `statements` becomes: a number,
            or a pair, one for each parameter.
        statements: what the rule does, in order.
        conditions: the targets that are conditions, which appear as 1 or 0.
        constants: the numbers that the statements name without being given them.
    """

    javascript: str
    statements: tuple[Statement, ...]
    conditions: frozenset[str]
    constants: dict[str, float]

    def reads(self, statement: Statement) -> list[str]:
        """The variables that a statement reads, each once, in order."""
        return list(dict.fromkeys(n for value in statement.values for n in names_of(value)))


def step(rule: Rule) -> Step:
    """One step of a rule on two parameters, in JavaScript.

    Raises:
        RuleError: as for `tape.trace`.
    """
    source = source_of(rule)
    targets = [target for statement in source.statements for target in statement.targets]
    conditions: set[str] = set()

    def call(*arrays: Any, **hyper: Any) -> tuple[Any, ...]:
        _, taken = taped.run(source, rule, *arrays[: len(rule.slots) + 2], arrays[-1], **hyper)
        conditions.update(t for t, v in zip(targets, taken, strict=True) if _is_condition(v))
        shown = [ops.where(v, 1.0, 0.0) if _is_condition(v) else v for v in taken]
        return (*rule(*arrays[: len(rule.slots) + 2], arrays[-1], **hyper), *shown)

    places = tuple(f"{target} {place}" for place, target in enumerate(targets))
    wide = Rule(
        rule.name, rule.formula, (*rule.slots, *places), rule.defaults, scalars=rule.scalars
    )
    program = record(wide, call, reciprocals=False)
    text = _joined(_Pair(rule, program, places).lines())
    javascript = f"function (s, gx, gy, t, h, values) {{\n{text}\n}}"
    return Step(javascript, tuple(source.statements), frozenset(conditions), source.constants)


def _joined(lines: Iterable[str]) -> str:
    """The lines of a function, written tightly: a page has thousands of them."""
    constants: list[str] = []
    written = []
    for line in lines:
        if line.startswith("const "):
            constants.append(line.removeprefix("const ").removesuffix(";"))
            continue
        if constants:
            written.append(f"const {','.join(constants)};")
            constants = []
        written.append(line)
    # No operand begins with a sign: negative numbers have parentheses.
    text = re.sub(r" ?([-+*/=<>!&|?:,]+) ", r"\1", "\n".join(written))
    return re.sub(r"(?<![\w.])(\d+)\.0(?![\w.])", r"\1", text)


def _short(number: int) -> str:
    """a, b, …, z, aa, ab, …"""
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return letters


def _free(taken: Sequence[str], wanted: Sequence[str]) -> Iterator[str]:
    """The names that JavaScript and others leave free, as near as can be to those wanted."""
    return (new for _, new in list(distinct([*taken, *wanted]))[len(taken) :])


def _is_condition(value: Any) -> bool:
    return isinstance(value, Symbol) and value.is_flag


class _Pair:
    """Writes a program on two elements: values per element get two names, others one."""

    def __init__(self, rule: Rule, program: Program, places: Sequence[str]) -> None:
        self.rule, self.program, self.places = rule, program, places
        levels = {**program.levels, THETA: ELEMENT, **dict.fromkeys(rule.array_slots, ELEMENT)}
        given = {n: n for n in (THETA, *rule.slots, *rule.defaults)}
        made = {n: _short(k) for k, n in enumerate(program.levels)}
        pairs = {
            n: (f"{new}_x", f"{new}_y") if levels.get(n) == ELEMENT else (new,)
            for n, new in (given | made).items()
        }
        taken = ["s", "gx", "gy", "t", "h", "values"]
        free = _free(taken, [name for pair in pairs.values() for name in pair])
        self.names = {name: tuple(next(free) for _ in pair) for name, pair in pairs.items()}
        self.names |= {GRADIENT: ("gx", "gy"), "t": ("t",)}

    def lines(self) -> Iterator[str]:
        """The body of the function."""
        used = {o for line in self.program.lines for o in line.operands}
        used |= {value for _, value in (*self.program.outputs, *self.program.updates)}
        for place, name in enumerate(self.rule.defaults):
            if name in used:
                yield f"const {self.names[name][0]} = h[{place}];"
        place = 0
        state: dict[str, int] = {}
        for name in (THETA, *self.rule.slots):
            state[name] = place
            for each in self.names[name]:
                if name in used:
                    yield f"const {each} = s[{place}];"
                place += 1
        for line in self.program.lines:
            yield from self._instruction(*line)
        outputs = dict((*self.program.outputs, *self.program.updates))
        for name in (THETA, *self.rule.slots):
            if name in outputs:
                for offset, value in enumerate(self._both(outputs[name], len(self.names[name]))):
                    yield f"s[{state[name] + offset}] = {value};"
        shown = ", ".join(self._shown(outputs[place]) for place in self.places)
        yield f"if (values) values.push({shown});"

    def _instruction(self, target: str, operation: str, operands: tuple[Operand, ...]) -> Any:
        new = self.names[target]
        if operation in _SIZES:
            yield f"const {new[0]} = {_SIZES[operation]};"
        elif operation in _SUMS:
            yield f"const {new[0]} = {' + '.join(self._both(operands[0], 2))};"
        elif operation == "max":  # over channels, of which there is one
            yield f"const {new[0]} = {self._both(operands[0], 1)[0]};"
        else:
            several = [self._both(operand, len(new)) for operand in operands]
            for name, values in zip(new, zip(*several, strict=True), strict=True):
                yield f"const {name} = {expression(operation, values)};"

    def _both(self, operand: Operand, count: int) -> list[str]:
        """An operand for each of so many elements."""
        if not isinstance(operand, str):
            return [literal(operand)] * count
        found = self.names[operand]
        return list(found) if len(found) == count else [found[0]] * count

    def _shown(self, operand: Operand) -> str:
        if not isinstance(operand, str):
            return literal(operand)
        found = self.names[operand]
        return f"[{', '.join(found)}]" if len(found) > 1 else found[0]


def function(program: Program, data: Sequence[str] = ()) -> str:
    """A program of `formula.derivatives` in JavaScript.

    Args:
        program: of a function of two variables.
        data: the names of its further arguments.

    Returns:
        A function `(x, y, …data)` that returns the value, where the program has no other output;
        else a function `(x, y, …data, out)` that writes all outputs into an array.
    """
    names, lines, values = _scalars(program, ("x", "y", *data, "out"))
    arguments = names if len(values) > 1 else names[:-1]
    text = _joined([*lines, *_results(values, names[-1])])
    return f"function ({', '.join(arguments)}) {{\n{text}\n}}"


def choice(programs: Sequence[Program], data: Sequence[str] = ()) -> str:
    """Several programs of `formula.derivatives` as one JavaScript function.

    Args:
        programs: all with as many outputs.
        data: the names of further arguments.

    Returns:
        A function `(which, x, y, …data, out)` that does what `function` would for the program of
        this number.
    """
    cases = []
    for number, program in enumerate(programs):
        names, lines, values = _scalars(program, ("which", "x", "y", *data, "out"))
        body = _joined([*lines, *_results(values, names[-1])])
        cases.append(f"case {number}: {{\n{body}\nbreak;\n}}")
    text = "\n".join(cases)
    return f"function ({', '.join(names)}) {{\nswitch ({names[0]}) {{\n{text}\n}}\n}}"


def _results(values: Sequence[str], out: str) -> list[str]:
    """The statements that hand one value back, or write several into an array."""
    if len(values) == 1:
        return [f"return {values[0]};"]
    return [f"{out}[{place}] = {value};" for place, value in enumerate(values)]


def mean(program: Program, data: Sequence[str]) -> str:
    """The mean of a program of `formula.derivatives` over rows of data, in JavaScript.

    Args:
        program: of a function of two variables.
        data: the names of its further arguments, one for each column.

    Returns:
        A function `(x, y, columns, drawn, from, count, out)` that writes the mean of every output
        into an array: over the rows that `drawn` names from place `from` on, `count` of them, or
        over the first `count` rows where `drawn` is null.
    """
    given = ("x", "y", "columns", "drawn", "from", "count", "out", "k", "row")
    totals = [f"sum{place}" for place in range(len(program.outputs))]
    names, lines, values = _scalars(program, (*given, *totals, *data))
    x, y, columns, drawn, start, count, out, k, row = names[: len(given)]
    sums, rows = names[len(given) : -len(data)], names[-len(data) :]
    lines = [
        f"const {row} = {drawn} ? {drawn}[{start} + {k}] : {k};",
        *(f"const {name} = {columns}[{place}][{row}];" for place, name in enumerate(rows)),
        *lines,
        *(f"{total} += {value};" for total, value in zip(sums, values, strict=True)),
    ]
    written = [
        f"let {', '.join(f'{total} = 0' for total in sums)};",
        f"for (let {k} = 0; {k} < {count}; {k}++) {{",
        *lines,
        "}",
        *(f"{out}[{place}] = {total} / {count};" for place, total in enumerate(sums)),
    ]
    arguments = ", ".join((x, y, columns, drawn, start, count, out))
    return f"function ({arguments}) {{\n{_joined(written)}\n}}"


def _scalars(program: Program, arguments: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """A program on single numbers.

    Returns:
        The names of the arguments, free in JavaScript; the statements; the outputs.
    """
    names = [new for _, new in distinct(arguments)]
    free = _free(arguments, [_short(k) for k in range(len(program.levels))])
    written = dict(zip(arguments, names, strict=True))
    written |= {THETA: written["x"], GRADIENT: written["y"]}
    written |= dict(zip(program.levels, free, strict=True))

    def read(operand: Operand) -> str:
        return written[operand] if isinstance(operand, str) else literal(operand)

    lines = [
        f"const {written[target]} = {expression(operation, [read(o) for o in operands])};"
        for target, operation, operands in program.lines
    ]
    return names, lines, [read(value) for _, value in program.outputs]
