"""A surface's value and derivatives on NumPy arrays, from the program of its formula."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..program import GRADIENT, THETA, Operand, Program

Array = np.ndarray[Any, np.dtype[np.float64]]

# NumPy has the other operations of the tape by their own names.
_NAMES = {
    "sub": "subtract",
    "mul": "multiply",
    "div": "divide",
    "pow": "power",
    "neg": "negative",
    "gt": "greater",
    "lt": "less",
    "ge": "greater_equal",
    "le": "less_equal",
    "eq": "equal",
    "ne": "not_equal",
    "and": "logical_and",
    "or": "logical_or",
}


def evaluate(program: Program, x: Any, y: Any) -> list[Array]:
    """The outputs of a program of `formula.derivatives`, in order.

    Args:
        program: of a function of two variables.
        x, y: numbers or arrays that broadcast against each other to a shape S.

    Returns:
        A float64 array of shape S per output. Poles and overflows give infinities and NaN.
    """
    pair = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
    values: dict[Operand, Any] = {THETA: pair[0], GRADIENT: pair[1]}
    with np.errstate(all="ignore"):
        for target, operation, operands in program.lines:
            function = getattr(np, _NAMES.get(operation, operation))
            values[target] = function(*(values.get(o, o) for o in operands))
    shape = pair[0].shape
    results = (np.broadcast_to(values.get(o, o), shape) for _, o in program.outputs)
    return [np.array(result, np.float64) for result in results]
