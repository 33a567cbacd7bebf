"""A rule as a JavaScript function: what its formula computes, statement by statement, in float64.

A program without sums is one loop over the elements. Where one has sums, each of its values gets
an array, or a number where it is one per tensor, in the order of the program.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from ..rules import Rule
from ..tape import CHANNEL, ELEMENT, GRADIENT, THETA, Instruction, Operand, Program, record

_INFIX = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "pow": "**",
    "gt": ">",
    "lt": "<",
    "ge": ">=",
    "le": "<=",
    "eq": "===",
    "ne": "!==",
    "and": "&&",
    "or": "||",
}
_FUNCTIONS = {"maximum": "Math.max", "minimum": "Math.min"}  # the others as the vocabulary has them
_SIZES = {"count": "size", "channel_count": "width", "ndim": "shape.length"}
_WORDS = """
arguments async await break case catch class const continue debugger default delete do else enum
eval export extends false finally for function if implements import in instanceof interface let
new null package private protected public return static super switch this throw true try typeof
undefined var void while with yield NaN Infinity Math Float64Array
theta g slots t hyper shape size width channels start i c
"""  # of the language, and of the functions that are made here

_INHERITED = """
__defineGetter__ __defineSetter__ __lookupGetter__ __lookupSetter__ __proto__ constructor
hasOwnProperty isPrototypeOf propertyIsEnumerable toLocaleString toString valueOf
"""  # the names that every object of JavaScript has


def javascript(rule: Rule) -> str:
    """One step of a rule as a JavaScript function expression.

    It is called as `step(theta, g, slots, t, hyper, shape)`: parameter and gradient as arrays of
    one number per element, row by row; the state by slot, `{}` before the first step; the number
    of the step, from 1; hyperparameters by name, those left out at their defaults; the tensor's
    shape, one dimension if left out. It returns `{theta, slots}` in new arrays.

    Numbers are those of the rule on float64 arrays, to the last bit where the formula has only
    + − × ÷, roots, comparisons, and powers of arrays up to 4; other powers, functions and sums may
    round differently.

    Args:
        rule: any rule that the tape takes.

    Raises:
        RuleError: as for `tape.trace`.
    """
    program = record(rule, rule, reciprocals=False)
    writer = _Writer(rule, program)
    lines = writer.reducing() if program.middle else writer.plain()
    text = "\n".join(f"  {line}" for line in (*writer.opening(), *lines))
    title = " ".join((rule.title or rule.name).split()).replace("*/", "* /").replace("</", "< /")
    arguments = "theta, g, slots, t, hyper = {}, shape = [theta.length]"
    return f"/* {title} */\nfunction ({arguments}) {{\n{text}\n}}"


class _Writer:
    """Writes the statements of one function."""

    def __init__(self, rule: Rule, program: Program) -> None:
        self.rule, self.program = rule, program
        changed = [f"next_{array}" for array, _ in program.outputs]
        self.names = dict(distinct((*rule.slots, *rule.defaults, *program.levels, *changed)))
        self.names |= {THETA: "theta", GRADIENT: "g", "t": "t"}
        self.levels = {**program.levels, **dict.fromkeys(program.arrays, ELEMENT)}

    def opening(self) -> Iterator[str]:
        """Hyperparameters and state, with what stands in for those that are not given."""
        yield "const size = theta.length, start = (value) => new Float64Array(size).fill(value);"
        for name, default in self.rule.defaults.items():
            yield f"const {self.names[name]} = {_given('hyper', name)} ?? {literal(default)};"
        for slot in self.rule.slots:
            first = self.rule.init.get(slot, 0.0)
            number = self._name(first)
            value = number if slot in self.rule.scalars else f"start({number})"
            yield f"const {self.names[slot]} = {_given('slots', slot)} ?? {value};"

    def plain(self) -> Iterator[str]:
        """A program without sums: numbers first, then one loop."""
        yield from (self._constant(line) for line in self.program.prologue)
        new = {array: self.names[f"next_{array}"] for array, _ in self.program.outputs}
        yield from (f"const {name} = start(0);" for name in new.values())
        body = [self._constant(line, "i") for line in self.program.body]
        body += [f"{new[a]}[i] = {self._read(value, 'i')};" for a, value in self.program.outputs]
        yield from _loop("i", "size", body)
        yield self._returned(new)

    def reducing(self) -> Iterator[str]:
        """A program with sums: every value at once, in order."""
        yield "const width = shape.slice(shape.length > 1 ? 1 : 0).reduce((a, b) => a * b, 1);"
        yield "const channels = shape.length > 1 ? shape[0] : 1;"
        for line in self.program.lines:
            yield from self._whole(line)
        new = {array: self.names[f"next_{array}"] for array, _ in self.program.outputs}
        for array, value in self.program.outputs:
            yield f"const {new[array]} = start(0);"
            yield from _loop("i", "size", [f"{new[array]}[i] = {self._read(value, 'i')};"])
        yield self._returned(new)

    def _whole(self, line: Instruction) -> Iterator[str]:
        """One value of a program with sums."""
        target, operation, operands = line
        name, level = self.names[target], self.levels[target]
        if operation in ("sum", "all_sum"):
            yield f"let {name} = 0;"
            yield from _loop("i", "size", [f"{name} += {self._read(operands[0], 'i')};"])
        elif operation == "channel_sum":
            yield f"const {name} = new Float64Array(channels);"
            add = f"{name}[Math.floor(i / width)] += {self._read(operands[0], 'i')};"
            yield from _loop("i", "size", [add])
        elif operation == "max":
            yield f"let {name} = channels ? -Infinity : 0;"
            largest = f"{name} = Math.max({name}, {self._read(operands[0], 'c')});"
            yield from _loop("c", "channels", [largest])
        elif level in (CHANNEL, ELEMENT) and operation not in _SIZES:
            index, length = ("i", "size") if level == ELEMENT else ("c", "channels")
            yield f"const {name} = new Float64Array({length});"
            yield from _loop(index, length, [f"{name}[{index}] = {self._value(line, index)};"])
        else:
            yield self._constant(line)

    def _returned(self, new: dict[str, str]) -> str:
        """The statement that returns the new parameter and state."""
        updates = {slot: self._name(value) for slot, value in self.program.updates}
        slots = {
            slot: new.get(slot, updates.get(slot, self.names[slot])) for slot in self.rule.slots
        }
        inside = ", ".join(f"{quoted(slot)}: {value}" for slot, value in slots.items())
        theta = new.get(THETA, "Float64Array.from(theta)")
        return f"return {{theta: {theta}, slots: {{{inside}}}}};"

    def _constant(self, line: Instruction, index: str = "") -> str:
        return f"const {self.names[line.target]} = {self._value(line, index)};"

    def _value(self, line: Instruction, index: str) -> str:
        """The expression of an instruction; operands that are arrays at an index."""
        _, operation, operands = line
        if operation in _SIZES:
            return _SIZES[operation]
        return expression(operation, [self._read(o, index) for o in operands])

    def _read(self, operand: Operand, index: str) -> str:
        """An operand: a number, or what an array has at the index."""
        level = self.levels.get(operand) if isinstance(operand, str) else None
        if level == ELEMENT and (self.program.middle or operand in self.program.arrays):
            return f"{self._name(operand)}[{index}]"
        if level == CHANNEL:
            return f"{self._name(operand)}[{'c' if index == 'c' else 'Math.floor(i / width)'}]"
        return self._name(operand)

    def _name(self, operand: Operand) -> str:
        return self.names[operand] if isinstance(operand, str) else literal(operand)


def _given(where: str, name: str) -> str:
    """What an object holds by a name: for names that all objects have, only what is its own."""
    read = f"{where}[{quoted(name)}]"
    if name in _INHERITED.split():
        return f"(Object.hasOwn({where}, {quoted(name)}) ? {read} : undefined)"
    return read


def expression(operation: str, values: Sequence[str]) -> str:
    """An operation of the tape on numbers, in JavaScript."""
    if operation == "where":
        return "{} ? {} : {}".format(*values)
    if operation == "neg":
        return f"-{values[0]}"
    if operation in _INFIX:
        return f"{values[0]} {_INFIX[operation]} {values[1]}"
    return f"{_FUNCTIONS.get(operation, f'Math.{operation}')}({', '.join(values)})"


def distinct(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """A JavaScript name for each, its own where that is free."""
    taken = set(_WORDS.split())
    for name in names:
        new = name
        while new in taken:
            new += "_"
        taken.add(new)
        yield name, new


def _loop(index: str, length: str, body: list[str]) -> Iterator[str]:
    yield f"for (let {index} = 0; {index} < {length}; {index}++) {{"
    yield from (f"  {line}" for line in body)
    yield "}"


def literal(value: float) -> str:
    """A float64 as a JavaScript expression of the same value."""
    if math.isnan(value):
        return "NaN"
    text = "Infinity" if math.isinf(value) else repr(abs(value))
    return f"(-{text})" if math.copysign(1, value) < 0 else text


quoted: Callable[[str], str] = json.dumps  # a Python identifier as a JavaScript string
