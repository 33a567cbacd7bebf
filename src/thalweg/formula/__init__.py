"""A rule's own statements, written as mathematics: nothing here knows any optimizer.

What a formula may say is the tape's to decide. Its source is read into small trees (`reading`),
which are run on the tape: where that gives the program of the rule, they are what is written, with
the names of its author. Where the source is gone or says it in another way, the program itself is
read into trees (`taped`). One walker writes the trees down in whatever notation it is given, a
table of operators (`notations`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from html import escape

from ..rules import Rule
from ..tape import trace
from . import taped
from .javascript import javascript
from .notations import LATEX, MATHML, TEXT, Level, Notation
from .reading import Source, Unreadable, read
from .symbols import Symbol, assign
from .tree import Expr, Name, Number, Statement, names

__all__ = [
    "LATEX",
    "MATHML",
    "TEXT",
    "javascript",
    "latex",
    "line",
    "mathml",
    "statements",
    "symbols",
    "text",
    "write",
]


def text(rule: Rule) -> str:
    """One step of a rule in Unicode text, a statement to a line.

    Raises:
        RuleError: the formula does something that no kernel can, as for `tape.trace`.
    """
    return write(rule, TEXT)


def latex(rule: Rule) -> str:
    """One step of a rule in LaTeX, an `aligned` block to put between the marks of display math.

    Raises:
        RuleError: as for `text`.
    """
    return write(rule, LATEX)


def mathml(rule: Rule) -> str:
    """One step of a rule as a MathML `math` element.

    Raises:
        RuleError: as for `text`.
    """
    return write(rule, MATHML)


def symbols(rule: Rule, notation: Notation = TEXT) -> dict[str, str]:
    """How each variable of a rule is written: its slots and hyperparameters among them."""
    return {name: notation.symbol(s) for name, s in _symbols(rule, statements(rule)).items()}


def statements(rule: Rule) -> tuple[Statement, ...]:
    """All that a rule does in one step, in order, its combinators first.

    Returns:
        The assignments; the last ones are what the rule returns.

    Raises:
        RuleError: as for `text`.
    """
    return tuple(source_of(rule).statements)


@lru_cache(maxsize=1024)
def source_of(rule: Rule) -> Source:
    """The statements of a rule with the constants and functions that they name.

    Raises:
        RuleError: as for `text`.
    """
    program = trace(rule)
    try:
        source = read(rule)
    except Unreadable:
        return Source(taped.statements(rule, program))
    if taped.means(source, rule, program):
        return source
    return Source(taped.statements(rule, program))


def write(rule: Rule, notation: Notation) -> str:
    """One step of a rule in the given notation."""
    found = statements(rule)
    writer = _Writer(notation, _symbols(rule, found))
    return notation.block([writer.statement(s) for s in found])


def line(rule: Rule, statement: Statement) -> str:
    """One statement of a rule in MathML, to stand alone; its variables bear their names.

    Each variable is an element with the attribute `data-name`, so that a page can show a number
    in its place. Cells have no style of their own, which the page gives them.
    """
    symbols = _symbols(rule, statements(rule))
    tagged = {symbol: name for name, symbol in symbols.items()}

    def named(symbol: Symbol) -> str:
        tag, rest = MATHML.symbol(symbol).split(">", 1)
        return f"{tag} data-name='{escape(tagged[symbol])}'>{rest}"

    target, value = _Writer(replace(MATHML, symbol=named), symbols).statement(statement)
    written = f"<math><mrow>{target}<mo>←</mo>{value}</mrow></math>"
    return re.sub(r' style="[^"]*"', "", written)


def _symbols(rule: Rule, found: Sequence[Statement]) -> dict[str, Symbol]:
    parameter, gradient, *rest = rule.formula.__code__.co_varnames[: 3 + len(rule.slots)]
    used = (n for s in found for n in (*s.targets, *(m for v in s.values for m in names(v))))
    return assign(
        [parameter, gradient, *rest, *rule.defaults, *used], {parameter: "theta", gradient: "g"}
    )


class _Writer:
    """Writes expressions in one notation, with as few parentheses as keep the meaning."""

    def __init__(self, notation: Notation, symbols: Mapping[str, Symbol]) -> None:
        self.notation, self.symbols = notation, symbols

    def statement(self, statement: Statement) -> tuple[str, str]:
        targets = [self.expression(Name(t)) for t in statement.targets]
        return self._several(targets), self._several([self.expression(v) for v in statement.values])

    def _several(self, parts: list[str]) -> str:
        joined = self.notation.comma.join(parts)
        return joined if len(parts) == 1 else self.notation.group % joined

    def expression(self, expr: Expr, need: Level = Level.ANY) -> str:
        expr = self.notation.shorten(expr)
        if isinstance(expr, Name):
            return self.notation.symbol(self.symbols[expr.name])
        if isinstance(expr, Number):
            return self.notation.number % repr(expr.value).removesuffix(".0")
        operator = self.notation.operators.get(expr.name)
        if operator is None:
            arguments = self.notation.comma.join(map(self.expression, expr.args))
            return self.notation.call % (
                self.notation.functions.get(expr.name, expr.name),
                arguments,
            )
        needs = _endless(operator.needs)
        written = operator.write([self.expression(arg, next(needs)) for arg in expr.args])
        return written if operator.level >= need else self.notation.group % written


def _endless(needs: tuple[Level, ...]) -> Iterator[Level]:
    yield from needs
    while True:
        yield needs[-1]
