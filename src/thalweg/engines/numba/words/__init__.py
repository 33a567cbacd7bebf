"""Functions over 64-bit words, written in a little of Python and compiled by LLVM alone.

numba takes a quarter of a second for every function, and seconds for a dozen: too long for a first
step. What is written here is plain enough to be translated statement by statement: functions of
integers that return an integer or nothing; `=`, `+=`, `if`, `while`, `for … in range(n)`, `return`
and `continue`; arithmetic, comparisons, `and`, `or`, `not`; and the functions over memory in
`memory`, which also run in Python as they are.
"""

from .build import build
from .memory import (
    call,
    call_for_word,
    count_up,
    double_at,
    integer_at,
    prefetch,
    put_double,
    put_integer,
    put_single,
    short_at,
    single_at,
)
from .translate import translate

__all__ = [
    "build",
    "call",
    "call_for_word",
    "count_up",
    "double_at",
    "integer_at",
    "prefetch",
    "put_double",
    "put_integer",
    "put_single",
    "short_at",
    "single_at",
    "translate",
]
