"""The tape and the trees: trees run on the tape, and a program of the tape read into trees."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import Any

from .. import ops
from ..rules import Rule, RuleError
from ..tape import GRADIENT, SIZES, THETA, Operand, Program, record
from .reading import Source, together
from .tree import COUNTS, Expr, Name, Number, Op, Statement, names, scoped

# Operators by their signs in trees and by their names on the tape, and what computes them.
_OPERATORS: dict[str, tuple[str, Callable[..., Any]]] = {
    "+": ("add", operator.add),
    "-": ("sub", operator.sub),
    "*": ("mul", operator.mul),
    "/": ("div", operator.truediv),
    "**": ("pow", operator.pow),
    "neg": ("neg", operator.neg),
    "<": ("lt", operator.lt),
    "<=": ("le", operator.le),
    ">": ("gt", operator.gt),
    ">=": ("ge", operator.ge),
    "==": ("eq", operator.eq),
    "!=": ("ne", operator.ne),
    "and": ("and", operator.and_),
    "or": ("or", operator.or_),
}
_SIGNS = {name: sign for sign, (name, _) in _OPERATORS.items()}
_OVER = {"c": "channel", "all": "all"}
_MADE = "value "  # begins a value's name until it is numbered; a variable's has no space


# --- trees run on the tape ---


def run(
    source: Source, rule: Rule, theta: Any, g: Any, *rest: Any, **hyper: Any
) -> tuple[dict[str, Any], list[Any]]:
    """Run the statements of a source on what the rule is called with.

    Returns:
        The value of every variable after the last statement, and the values that the targets of
        all statements took, one after the other.
    """
    parameter, gradient, *others = _parameters(rule)
    values = dict(zip((parameter, gradient, *others), (theta, g, *rest), strict=True))
    values |= {**source.constants, **hyper}
    values |= {COUNTS[""]: ops.count(theta), COUNTS["c"]: ops.count(theta, "channel")}
    taken = []
    for statement in source.statements:
        new = [_value(v, values, source.functions) for v in statement.values]
        if len(new) < len(statement.targets):
            (new,) = new
        values.update(zip(statement.targets, new, strict=True))
        taken += [*new]
    return values, taken


def means(source: Source, rule: Rule, program: Program) -> bool:
    """Whether the statements of a source, run on the tape, are the program of the rule."""

    def step(*arrays: Any, **hyper: Any) -> tuple[Any, ...]:
        values, _ = run(source, rule, *arrays, **hyper)
        return tuple(values[name] for name in (_parameters(rule)[0], *rule.slots))

    try:
        return _digests(record(rule, step)) == _digests(program)
    except RuleError:  # a name that stands for something else than the source lets one think
        return False


def _value(expr: Expr, values: Mapping[str, Any], functions: Mapping[str, Any]) -> Any:
    if isinstance(expr, Number):
        return expr.value
    if isinstance(expr, Name):
        return values[expr.name]
    args = [_value(arg, values, functions) for arg in expr.args]
    if expr.name in _OPERATORS:
        return _OPERATORS[expr.name][1](*args)
    name, _, over = expr.name.partition(" ")
    if name in functions:
        return functions[name](*args)
    return getattr(ops, name)(*args, *([_OVER[over]] if over else []))


def _digests(program: Program) -> dict[str, Any]:
    """What each output is made of: equal where two programs compute the same in another order."""
    known: dict[Operand, Any] = {}
    for target, operation, operands in program.lines:
        parts = () if operation in SIZES else operands  # all arrays are of one shape
        known[target] = hash((operation, *(known.get(o, repr(o)) for o in parts)))
    return {a: known.get(v, repr(v)) for a, v in (*program.outputs, *program.updates)}


# --- a program read into trees ---


def statements(rule: Rule, program: Program) -> list[Statement]:
    """What a program does, for a rule whose source is gone: slots by name, other values numbered.

    A value gets a statement where it is used more than once; a slot's new value has the slot's
    name from its statement on, if the old one is not needed any more.
    """
    trees = _Trees(rule, program)
    found, ends = trees.statements()
    places: dict[Expr, int] = {Name(s.targets[0]): place for place, s in enumerate(found)}
    for slot in list(ends):
        value = ends[slot]
        place = places.get(value)
        if place is None:
            continue
        later = [s.values[0] for s in found[place + 1 :]]
        others = [v for s, v in ends.items() if s != slot]
        if not any(slot in names(tree) for tree in (*later, *others)):
            new: dict[Expr, Expr] = {value: Name(slot)}
            found[place:] = [_renamed(statement, new) for statement in found[place:]]
            ends = {s: _with(v, new) for s, v in ends.items() if s != slot}
    found += together([*ends], [*ends.values()])
    made = [s.targets[0] for s in found if s.targets[0].startswith(_MADE)]
    numbered: dict[Expr, Expr] = {Name(name): Name(trees.free()) for name in made}
    return [_renamed(statement, numbered) for statement in found]


class _Trees:
    """The trees of a program's values, with the vocabulary's words put back."""

    def __init__(self, rule: Rule, program: Program) -> None:
        self.program = program
        self.lines = {line.target: line for line in program.lines}
        parameter, gradient, *_ = _parameters(rule)
        self.own = {THETA: parameter, GRADIENT: gradient}
        self.slots = {self.own.get(s, s): v for s, v in (*program.outputs, *program.updates)}
        self.trees: dict[Operand, Expr] = {}
        self.numbers = count(1)

    def statements(self) -> tuple[list[Statement], dict[str, Expr]]:
        """Statements of the values that are used more than once, and the trees of the outputs."""
        whole = {name: self.tree(name) for name in self.lines}
        ends = {slot: self.tree(value) for slot, value in self.slots.items()}
        uses = _uses(ends.values(), {tree for tree in whole.values() if _size(tree) > 3})
        shared = [t for t in dict.fromkeys(whole.values()) if uses[t] > 1]
        named: dict[Expr, Expr] = {}
        found = []
        for number, tree in enumerate(shared):
            name = f"{_MADE}{number}"
            found.append(Statement((name,), (_with(tree, named),)))
            named[tree] = Name(name)
        return found, {slot: _with(tree, named) for slot, tree in ends.items()}

    def free(self) -> str:
        """The next of the names x1, x2, … that the rule leaves free."""
        taken = {*self.program.arrays, *self.program.scalars, *self.own.values()}
        return next(name for i in self.numbers if (name := f"x{i}") not in taken)

    def tree(self, operand: Operand) -> Expr:
        """The tree of a value, down to the rule's own variables."""
        if operand not in self.trees:
            self.trees[operand] = self._tree(operand)
        return self.trees[operand]

    def _tree(self, operand: Operand) -> Expr:
        if not isinstance(operand, str):
            return Number(operand) if operand >= 0 else Op("neg", (Number(-operand),))
        if operand not in self.lines:
            return Name(self.own.get(operand, operand))
        _, operation, operands = self.lines[operand]
        if operation in ("count", "channel_count"):
            return Name(COUNTS["c" if operation == "channel_count" else ""])
        level, _, reduction = operation.rpartition("_")
        name = scoped(reduction, {"channel": "c", "all": "all"}.get(level, ""))
        return _in_words(Op(_SIGNS.get(name, name), tuple(map(self.tree, operands))))


def _in_words(tree: Op) -> Expr:
    """What the tape writes out, in one word: a quotient, norm, inner product, sign or clamp."""
    zero, one = Number(0.0), Number(1.0)
    name, _, over = tree.name.partition(" ")
    match name, tree.args:
        case "*", (x, Op("/", (Number(1.0), y))):
            return Op("/", (x, y))
        case "sum", (Op("*", (x, y)),) if x != y:
            return Op(scoped("dot", over), (x, y))
        case "sqrt", (Op(inner, (Op("*", (x, y)),)),) if inner.startswith("sum") and x == y:
            return Op(inner.replace("sum", "norm"), (x,))
        case "where", (Op(">", (x, low)), a, Op("where", (Op("<", (y, high)), Op("neg", (b,)), c))):
            if x == y and (low, high, a, b, c) == (zero, zero, one, one, zero):
                return Op("sign", (x,))
        case "minimum", (Op("maximum", (x, low)), high):
            return Op("clamp", (x, low, high))
    return tree


def _parameters(rule: Rule) -> tuple[str, ...]:
    """The names of a formula's positional parameters: parameter, gradient, slots, step number."""
    return rule.formula.__code__.co_varnames[: 3 + len(rule.slots)]


def _size(tree: Expr) -> int:
    return 1 + sum(map(_size, tree.args)) if isinstance(tree, Op) else 1


def _uses(trees: Iterable[Expr], counted: set[Expr]) -> Counter[Expr]:
    """How often each of these trees is used in the others; what is in it counts once."""
    uses: Counter[Expr] = Counter()
    rest = list(trees)
    while rest:
        tree = rest.pop()
        if tree in counted:
            uses[tree] += 1
            if uses[tree] > 1:
                continue
        if isinstance(tree, Op):
            rest += tree.args
    return uses


def _with(tree: Expr, named: Mapping[Expr, Expr]) -> Expr:
    """The tree with names in place of those that have one."""
    if tree in named:
        return named[tree]
    if isinstance(tree, Op):
        return Op(tree.name, tuple(_with(arg, named) for arg in tree.args))
    return tree


def _renamed(statement: Statement, new: Mapping[Expr, Expr]) -> Statement:
    """The statement with names in place of others, in targets and values."""
    targets = [_with(Name(target), new) for target in statement.targets]
    values = tuple(_with(value, new) for value in statement.values)
    return Statement(tuple(t.name for t in targets if isinstance(t, Name)), values)
