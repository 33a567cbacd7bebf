"""Functions over memory: in Python by ctypes, and as instructions of LLVM."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from llvmlite import ir

WORD, DOUBLE, _HALF = ir.IntType(64), ir.DoubleType(), ir.IntType(32)

EMITTERS: dict[str, Callable[..., Any]] = {}


def _emitted_as(emit: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register how a call of a function is written for LLVM: from the builder and its arguments."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        EMITTERS[function.__name__] = emit
        return function

    return register


def _place(builder: Any, address: Any, kind: ir.Type) -> Any:
    return builder.inttoptr(address, kind.as_pointer())


def _load(kind: ir.Type, widen: str = "") -> Callable[..., Any]:
    def emit(builder: Any, address: Any) -> Any:
        found = builder.load(_place(builder, address, kind), align=1)
        wide = DOUBLE if kind == ir.FloatType() else WORD
        return getattr(builder, widen)(found, wide) if widen else found

    return emit


def _store(kind: ir.Type, narrow: str = "") -> Callable[..., Any]:
    def emit(builder: Any, address: Any, value: Any) -> None:
        kept = getattr(builder, narrow)(value, kind) if narrow else value
        builder.store(kept, _place(builder, address, kind), align=1)

    return emit


def _call(result: ir.Type) -> Callable[..., Any]:
    def emit(builder: Any, function: Any, *args: Any) -> Any:
        kind = ir.FunctionType(result, [WORD] * len(args))
        found = builder.call(_place(builder, function, kind), args)
        return found if result == WORD else builder.sext(found, WORD)

    return emit


def _count_up(builder: Any, address: Any) -> None:
    place = _place(builder, address, _HALF)
    builder.atomic_rmw("add", place, ir.Constant(_HALF, 1), "monotonic")


def _prefetch(builder: Any, address: Any) -> None:
    place = _place(builder, address, ir.IntType(8))
    kind = ir.FunctionType(ir.VoidType(), [place.type, _HALF, _HALF, _HALF])
    module, name = builder.module, "llvm.prefetch.p0"
    function = module.globals.get(name) or ir.Function(module, kind, name)
    read, nearest, data = (ir.Constant(_HALF, k) for k in (0, 3, 1))
    builder.call(function, [place, read, nearest, data])


@_emitted_as(_prefetch)
def prefetch(address: int) -> None:
    """Have the processor fetch the memory at an address, without waiting for it."""


@_emitted_as(_load(WORD))
def integer_at(address: int) -> int:
    """The int64 at an address."""
    return ctypes.c_int64.from_address(address).value


@_emitted_as(_load(_HALF, "sext"))
def short_at(address: int) -> int:
    """The int32 at an address."""
    return ctypes.c_int32.from_address(address).value


@_emitted_as(_load(ir.FloatType(), "fpext"))
def single_at(address: int) -> float:
    """The float32 at an address."""
    return ctypes.c_float.from_address(address).value


@_emitted_as(_load(DOUBLE))
def double_at(address: int) -> float:
    """The float64 at an address."""
    return ctypes.c_double.from_address(address).value


@_emitted_as(_store(WORD))
def put_integer(address: int, value: int) -> None:
    """Write an int64."""
    ctypes.c_int64.from_address(address).value = value


@_emitted_as(_store(ir.FloatType(), "fptrunc"))
def put_single(address: int, value: float) -> None:
    """Write a float32."""
    ctypes.c_float.from_address(address).value = value


@_emitted_as(_store(DOUBLE))
def put_double(address: int, value: float) -> None:
    """Write a float64."""
    ctypes.c_double.from_address(address).value = value


@_emitted_as(_count_up)
def count_up(address: int) -> None:
    """Add 1 to the uint32 at an address, whichever thread else does so."""
    ctypes.c_uint32.from_address(address).value += 1


@_emitted_as(_call(_HALF))
def call(function: int, *args: int) -> int:
    """What a C function of words that returns an int says."""
    kind = ctypes.PYFUNCTYPE(ctypes.c_int32, *[ctypes.c_int64] * len(args))
    return kind(function)(*args)


@_emitted_as(_call(WORD))
def call_for_word(function: int, *args: int) -> int:
    """What a C function of words that returns a pointer says."""
    kind = ctypes.PYFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * len(args))
    return kind(function)(*args)
