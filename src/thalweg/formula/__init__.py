"""A rule's own statements, written as mathematics: nothing here knows any optimizer.

The source is read into small trees (`reading`); one walker writes the tree down in whatever
notation it is given, a table of operators (`notations`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..rules import Rule
from .notations import LATEX, MATHML, TEXT, Level, Notation
from .reading import statements
from .symbols import Symbol, assign
from .tree import Expr, Name, Number, Statement, names

__all__ = ["LATEX", "MATHML", "TEXT", "latex", "mathml", "symbols", "text", "write"]


def text(rule: Rule) -> str:
    """One step of a rule in Unicode text, a statement to a line.

    Raises:
        RuleError: the rule's source is not to be found, or is not a straight line of arithmetic.
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


def write(rule: Rule, notation: Notation) -> str:
    """One step of a rule in the given notation."""
    found = statements(rule)
    writer = _Writer(notation, _symbols(rule, found))
    return notation.block([writer.statement(s) for s in found])


def _symbols(rule: Rule, found: list[Statement]) -> dict[str, Symbol]:
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
        form = self.notation.forms.get(expr.name)
        if form is None:
            arguments = self.notation.comma.join(map(self.expression, expr.args))
            return self.notation.call % (
                self.notation.functions.get(expr.name, expr.name), arguments
            )  # fmt: skip
        needs = _endless(form.needs)
        written = form.write([self.expression(arg, next(needs)) for arg in expr.args])
        return written if form.level >= need else self.notation.group % written


def _endless(needs: tuple[Level, ...]) -> Iterator[Level]:
    yield from needs
    while True:
        yield needs[-1]
