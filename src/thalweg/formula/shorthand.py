"""What mathematics writes shorter than Python: equal factors, chosen values, powers of ten."""

from __future__ import annotations

from itertools import groupby

from .tree import Expr, Number, Op


def shorten(expr: Expr) -> Expr:
    """The outermost operation as mathematics writes it; no term changes its place."""
    if isinstance(expr, Number):
        return _power_of_ten(expr)
    if isinstance(expr, Op) and expr.name == "*":
        return _powers(expr)
    if isinstance(expr, Op) and expr.name == "where":
        return _cases(expr)
    return expr


def _cases(expr: Op) -> Op:
    """where(c, x, where(d, y, z)) as one list of cases: x, c, y, d, z."""
    rows: list[Expr] = []
    last: Expr = expr
    while isinstance(last, Op) and last.name == "where":
        condition, value, last = last.args
        rows += [value, condition]
    return Op("cases", (*rows, last))


def _powers(expr: Op) -> Op:
    """x·g·g as x·g²."""
    factors: list[Expr] = []
    left: Expr = expr
    while isinstance(left, Op) and left.name == "*":
        left, right = left.args
        factors.append(right)
    result: Expr | None = None
    for factor, equals in groupby([left, *reversed(factors)]):
        count = len(list(equals))
        if isinstance(factor, Number):
            terms: list[Expr] = [factor] * count
        else:
            terms = [factor if count == 1 else Op("**", (factor, Number(count)))]
        for term in terms:
            result = term if result is None else Op("*", (result, term))
    assert isinstance(result, Op)
    return result


def _power_of_ten(expr: Number) -> Expr:
    """1e-8 as 10⁻⁸, 2.5e-7 as 2.5·10⁻⁷."""
    mantissa, _, digits = repr(expr.value).partition("e")
    if not digits:
        return expr
    exponent: Expr = Number(abs(int(digits)))
    if digits.startswith("-"):
        exponent = Op("neg", (exponent,))
    power = Op("**", (Number(10), exponent))
    return power if float(mantissa) == 1 else Op("*", (Number(float(mantissa)), power))
