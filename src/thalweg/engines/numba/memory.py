"""The few machine operations that generated kernels use and numba does not offer itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import cfunc, types
from numba.extending import intrinsic

from .conversions import ELEMENT_TYPES, cast

# Contraction to fused multiply-add is all the freedom the compiler gets: no reordering, and NaN
# and infinity mean what they mean. Division follows IEEE instead of raising.
entry = cfunc(types.void(types.int64), error_model="numpy", fastmath={"contract"})


def _peek(number: Any) -> Callable[..., Any]:
    @intrinsic
    def peek(typing_context: Any, base: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load(_element(context, builder, number, *args))

        return number(types.int64, types.int64), generate

    return peek


integer = _peek(types.int64)  # integer(base, index): the int64 there
real = _peek(types.float64)  # real(base, index): the float64 there


@intrinsic
def put(typing_context: Any, base: Any, index: Any, value: Any) -> Any:
    """put(base, index, value): write a float64 there."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _element(context, builder, types.float64, *args[:2]))

    return types.void(types.int64, types.int64, types.float64), generate


@intrinsic
def claim(typing_context: Any, counter: Any) -> Any:
    """claim(counter): the counter's number, and count on; no two threads get the same."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        address = builder.inttoptr(args[0], word.as_pointer())
        return builder.atomic_rmw("add", address, ir.Constant(word, 1), "monotonic")

    return types.int64(types.int64), generate


@intrinsic
def accumulate(typing_context: Any, total: Any, value: Any) -> Any:
    """accumulate(total, value): their float64 sum, which the compiler may reorder in a loop.

    The order is fixed when the kernel is compiled; only here may the compiler choose it, or no
    sum would be vectorized.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fadd(*args, flags=("reassoc", "nsz", "contract"))

    return types.float64(types.float64, types.float64), generate


def array(
    dtype: str, slot: int, slots: int, number: str = "", stochastic: bool = False
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Load and store for one of a kernel's arrays: load(base, i) and store(base, i, value).

    The arrays of a kernel never overlap. Saying so to the compiler, as alias scopes, spares it
    the run-time checks that it gives up on from five arrays up, and with them vectorization.

    Args:
        dtype: the elements' type.
        slot: which array of the kernel this is.
        slots: how many the kernel has.
        number: the type of values that are loaded and stored, where it is another.
        stochastic: whether store takes random bits as well, and rounds by them.
    """
    element, value_type = ELEMENT_TYPES[dtype], getattr(types, number or dtype)

    def mark(module: Any, instruction: Any) -> Any:
        domain = module.add_metadata([ir.MetaDataString(module, "thalweg")])
        scopes = [
            module.add_metadata([ir.MetaDataString(module, f"array {k}"), domain])
            for k in range(slots)
        ]
        instruction.set_metadata("alias.scope", module.add_metadata([scopes[slot]]))
        others = scopes[:slot] + scopes[slot + 1 :]
        instruction.set_metadata("noalias", module.add_metadata(others))
        return instruction

    @intrinsic
    def load(typing_context: Any, base: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place = _pointer(builder, element.memory, *args)
            kept = mark(builder.module, builder.load(place))
            return cast(builder, element.read(builder, kept), context.get_value_type(value_type))

        return value_type(types.int64, types.int64), generate

    def write(builder: Any, base: Any, index: Any, value: Any, *bits: Any) -> None:
        kept = element.write(builder, cast(builder, value, element.value), *bits)
        mark(builder.module, builder.store(kept, _pointer(builder, element.memory, base, index)))

    @intrinsic
    def store(typing_context: Any, base: Any, index: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            write(builder, *args)

        return types.void(types.int64, types.int64, value_type), generate

    @intrinsic
    def store_by(typing_context: Any, base: Any, index: Any, value: Any, bits: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            write(builder, *args)

        return types.void(types.int64, types.int64, value_type, types.int64), generate

    return load, store_by if stochastic else store


def _element(context: Any, builder: Any, number: Any, base: Any, index: Any) -> Any:
    return _pointer(builder, context.get_value_type(number), base, index)


def _pointer(builder: Any, memory: Any, base: Any, index: Any) -> Any:
    pointer = builder.inttoptr(base, memory.as_pointer())
    return builder.gep(pointer, [index], inbounds=True)
