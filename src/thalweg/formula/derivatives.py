"""A function f(x, y) on the tape, with its first and second derivatives.

The function is recorded as rules are. Its derivatives are then recorded beside it, instruction by
instruction, in forward mode: each value carries its slopes along x and y, and its three second
derivatives. All engines and notations take the program that results.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, NamedTuple, cast

from .. import ops
from ..program import GRADIENT, REDUCTIONS, SIZES, THETA, Instruction, Program
from ..rules import Rule, RuleError
from ..tape import Symbol, record

OUTPUTS = ("value", "d/dx", "d/dy", "d²/dx²", "d²/dxdy", "d²/dy²")
"""What a program of `differentiate` computes, in this order."""

_SECOND = ((0, 0), (0, 1), (1, 1))  # the derivatives after the first ones, as pairs of variables
_COUNT = (1, 3, 6)  # of outputs, by order


def differentiate(
    function: Callable[..., Any], order: int = 2, *, data: Sequence[str] = (), name: str = ""
) -> Program:
    """The program of a function of two variables and of its derivatives.

    The kinks of `abs`, `maximum` and `minimum` have the slope of one side: 0 for `abs`, that of
    the first argument for the others. `sqrt` has slope 0 at 0, as `ops.sqrt` has.

    Args:
        function: f(x, y) in arithmetic and `thalweg.ops`, element by element.
        order: 0 for the value alone, 1 with the gradient, 2 with the second derivatives as well.
        data: names of further arguments, given by keyword, that are numbers.
        name: what messages call the function; its own name if empty.

    Returns:
        A program that reads x as `theta` and y as `g`. Its outputs are those of `OUTPUTS` up to
        the order; one that is always 0 is the literal 0.0.

    Raises:
        RuleError: the function does something that the tape cannot record, sums, or is constant.
    """
    plain = function if inspect.isfunction(function) else _call(function)
    title = name or getattr(function, "__name__", "function")
    wanted = OUTPUTS[: _COUNT[order]]
    shape = Rule(title, plain, ("value",), dict.fromkeys(data, 1.0))
    values = record(
        shape, lambda x, y, _value, _t, **data: (x, function(x, y, **data)), reciprocals=False
    )
    for line in values.lines:
        if line.operation in REDUCTIONS or line.operation in SIZES:
            raise RuleError(
                f"{title} uses {line.operation}, which measures a whole array; a surface is a "
                "function of two numbers, so write it element by element"
            )
    result = dict(values.outputs)["value"]
    if not isinstance(result, str):
        raise RuleError(f"{title} is {result!r} everywhere; a surface depends on x or y")

    def jets(x: Symbol, y: Symbol, *rest: Any, **data: Any) -> tuple[Any, ...]:
        known = {THETA: _Jet(x, (1.0, 0.0)), GRADIENT: _Jet(y, (0.0, 1.0))}
        known |= {key: _Jet(value) for key, value in data.items()}
        for line in values.lines:
            known[line.target] = _jet(line, [_operand(o, known) for o in line.operands])
        jet = known[result]
        return x, *(jet.value, *jet.first, *jet.second)[: len(wanted)]

    shape = Rule(title, plain, wanted, dict.fromkeys(data, 1.0))
    return record(shape, jets, reciprocals=False)


def _call(function: Callable[..., Any]) -> Callable[..., Any]:
    """The call of a function-like object, whose source a message can name."""

    def call(*args: Any, **data: Any) -> Any:
        return function(*args, **data)

    return call


class _Jet(NamedTuple):
    """A value with its first derivatives, along x and y, and its second ones, of `_SECOND`."""

    value: Any
    first: tuple[Any, Any] = (0.0, 0.0)
    second: tuple[Any, Any, Any] = (0.0, 0.0, 0.0)


def _operand(operand: str | float, known: dict[str, _Jet]) -> _Jet:
    return known[operand] if isinstance(operand, str) else _Jet(operand)


def _jet(line: Instruction, args: list[_Jet]) -> _Jet:
    """The value of an instruction with its derivatives, by the chain rule."""
    values = [arg.value for arg in args]
    result = _apply(line.operation, values)
    chosen = _choice(line.operation, values)
    if chosen is not None:
        condition, (a, b) = chosen, args[-2:]
        pairs = zip((*a.first, *a.second), (*b.first, *b.second), strict=True)
        x, y, xx, xy, yy = (_where(condition, p, q) for p, q in pairs)
        return _Jet(result, (x, y), (xx, xy, yy))
    if line.operation not in _PARTIALS or all(_flat(arg) for arg in args):
        return _Jet(result)
    slopes, bends = _PARTIALS[line.operation](result, *values)
    x, y = (_sum(_times(s, a.first[i]) for s, a in zip(slopes, args, strict=True)) for i in (0, 1))
    xx, xy, yy = (_second(slopes, bends, args, i, j) for i, j in _SECOND)
    return _Jet(result, (x, y), (xx, xy, yy))


def _second(slopes: Any, bends: Any, args: list[_Jet], i: int, j: int) -> Any:
    """A second derivative: Σ ∂f/∂u·u_ij + ΣΣ ∂²f/∂u∂v·u_i·v_j."""
    place = _SECOND.index((i, j))
    terms = [_times(s, a.second[place]) for s, a in zip(slopes, args, strict=True)]
    for (p, u), (q, v) in product(enumerate(args), repeat=2):
        terms.append(_times(bends[p + q], _times(u.first[i], v.first[j])))
    return _sum(terms)


def _flat(jet: _Jet) -> bool:
    """Whether a value depends on neither variable."""
    return not any(isinstance(d, Symbol) or d != 0 for d in (*jet.first, *jet.second))


def _apply(operation: str, values: list[Any]) -> Any:
    """The operation on values of which one is a symbol, as in every line of a program."""
    symbol = next(v for v in values if isinstance(v, Symbol))
    return symbol.tape.apply(operation, tuple(values))


def _choice(operation: str, values: list[Any]) -> Any:
    """The condition by which an operation takes its last argument but one, not its last."""
    if operation == "where":
        return values[0]
    if operation in ("maximum", "minimum"):
        sign = "ge" if operation == "maximum" else "le"
        return _apply(sign, values)
    return None


# --- partial derivatives: (∂f/∂u, ∂f/∂v), then (∂²f/∂u², ∂²f/∂u∂v, ∂²f/∂v²) ---


def _power(r: Any, u: Any, c: Any) -> Any:
    """u^c. A number as the exponent needs no logarithm, so that u may be negative."""
    if isinstance(c, Symbol):
        c = cast(Any, c)  # a symbol has the operators of numbers, given it one by one
        log, first = ops.log(u), c * _raised(u, c - 1.0)
        return (
            (first, r * log),
            (c * (c - 1.0) * _raised(u, c - 2.0), _raised(u, c - 1.0) + first * log, r * log * log),
        )
    first, second = _times(c, _raised(u, c - 1)), _times(c * (c - 1), _raised(u, c - 2))
    return (first, 0.0), (second, 0.0, 0.0)


def _raised(u: Any, c: Any) -> Any:
    if isinstance(c, Symbol) or isinstance(u, Symbol):
        return 1.0 if not isinstance(c, Symbol) and c == 0 else u if _is(c, 1.0) else u**c
    return math.pow(u, c)


def _root(r: Any, u: Any) -> Any:
    flat = u == 0
    slope = ops.where(flat, 0.0, 0.5 / r)
    return (slope,), (ops.where(flat, 0.0, -0.25 / (u * r)),)


def _quotient(q: Any, u: Any, v: Any) -> Any:
    one_over = 1.0 / v
    if not isinstance(v, Symbol):
        return (one_over, 0.0), (0.0, 0.0, 0.0)
    slope = -(q * one_over)
    return (one_over, slope), (0.0, -(one_over * one_over), -2.0 * (slope * one_over))


_PARTIALS: dict[str, Callable[..., Any]] = {
    "add": lambda r, u, v: ((1.0, 1.0), (0.0, 0.0, 0.0)),
    "sub": lambda r, u, v: ((1.0, -1.0), (0.0, 0.0, 0.0)),
    "mul": lambda r, u, v: ((v, u), (0.0, 1.0, 0.0)),
    "div": _quotient,
    "pow": _power,
    "neg": lambda r, u: ((-1.0,), (0.0,)),
    "abs": lambda r, u: ((ops.sign(u),), (0.0,)),
    "sqrt": _root,
    "exp": lambda r, u: ((r,), (r,)),
    "log": lambda r, u: ((1.0 / u,), (-1.0 / (u * u),)),
    "sin": lambda r, u: ((ops.cos(u),), (-r,)),
    "cos": lambda r, u: ((-ops.sin(u),), (-r,)),
    "tanh": lambda r, u: ((1.0 - r * r,), (-2.0 * (r * (1.0 - r * r)),)),
}


# --- sums and products that leave out what changes nothing ---


def _is(value: Any, number: float) -> bool:
    return not isinstance(value, Symbol) and value == number


def _times(a: Any, b: Any) -> Any:
    if _is(a, 0.0) or _is(b, 0.0):
        return 0.0
    if _is(a, 1.0):
        return b
    if _is(b, 1.0):
        return a
    if _is(a, -1.0):
        return -b
    return -a if _is(b, -1.0) else a * b


def _sum(terms: Any) -> Any:
    left = [term for term in terms if not _is(term, 0.0)]
    total = left[0] if left else 0.0
    for term in left[1:]:
        total = total + term
    return total


def _where(condition: Any, a: Any, b: Any) -> Any:
    same = not isinstance(a, Symbol) and _is(b, a)
    return a if same else ops.where(condition, a, b)
