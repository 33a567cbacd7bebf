"""A Python function of plain numbers as JavaScript: one expression, read from its source."""

from __future__ import annotations

import ast
import inspect
import math
import textwrap
from collections.abc import Callable
from typing import Any

from ..errors import UsageError
from .javascript import distinct, literal

_SIGNS: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Pow: "**",
}
_FUNCTIONS = {math.cos: "Math.cos", math.sin: "Math.sin", math.exp: "Math.exp"}


def arithmetic(function: Callable[..., float]) -> str:
    """A function that returns one expression, as a JavaScript function expression.

    `//` is the floor of a quotient, which is exact for whole numbers below 2⁵³. Names that are no
    arguments are numbers of the function's module, and are written as such.

    Raises:
        UsageError: the function is more than one expression of arithmetic.
    """
    if not inspect.isfunction(function):
        raise UsageError(f"{function!r} is no function written in Python")
    source = textwrap.dedent(inspect.getsource(function))
    definition = ast.parse(source).body[0]
    if not isinstance(definition, ast.FunctionDef):
        raise UsageError(f"{function.__name__} is no def")
    last = definition.body[-1]
    if not isinstance(last, ast.Return) or last.value is None or len(definition.body) > 2:
        raise UsageError(f"{function.__name__} is more than one expression")
    arguments = dict(distinct(argument.arg for argument in definition.args.args))
    outside = inspect.getclosurevars(function)
    written = _write(last.value, arguments, {**outside.globals, **outside.nonlocals})
    return f"({', '.join(arguments.values())}) => {written}"


def _write(node: ast.expr, arguments: dict[str, str], scope: dict[str, Any]) -> str:
    match node:
        case ast.Constant(value=int() | float() as value):
            return literal(float(value))
        case ast.Name(id=name) if name in arguments:
            return arguments[name]
        case ast.BinOp(left, ast.FloorDiv(), right):
            a, b = _write(left, arguments, scope), _write(right, arguments, scope)
            return f"Math.floor({a} / {b})"
        case ast.BinOp(left, sign, right) if type(sign) in _SIGNS:
            a, b = _write(left, arguments, scope), _write(right, arguments, scope)
            return f"({a} {_SIGNS[type(sign)]} {b})"
        case ast.UnaryOp(ast.USub(), operand):
            return f"(-{_write(operand, arguments, scope)})"
        case ast.Call(called, [argument], []) if _value(called, scope) in _FUNCTIONS:
            return f"{_FUNCTIONS[_value(called, scope)]}({_write(argument, arguments, scope)})"
    value = _value(node, scope)
    if isinstance(value, int | float):
        return literal(float(value))
    raise UsageError(f"{ast.unparse(node)!r} is no arithmetic that JavaScript has")


def _value(node: ast.expr, scope: dict[str, Any]) -> Any:
    """What a name of the module, or an attribute of a module, stands for."""
    if isinstance(node, ast.Name):
        return scope.get(node.id)
    if isinstance(node, ast.Attribute):
        return getattr(_value(node.value, scope), node.attr, None)
    return None
