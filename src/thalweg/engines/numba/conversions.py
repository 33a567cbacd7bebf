"""Conversions between the numbers in memory and those that kernels compute with."""

from __future__ import annotations

from math import fabs, inf, sqrt
from typing import Any

from llvmlite import ir
from numba import float32, int32, types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable

from ..formats import BLOCK, MIXING, POSITIVE, SIGNED

_FLOAT, _DOUBLE = ir.FloatType(), ir.DoubleType()
_BYTE, _SHORT, _WORD, _LONG = (ir.IntType(bits) for bits in (8, 16, 32, 64))

_TINY = float32(2.0**-126)  # below it a reciprocal is infinite

# Without contraction to fused multiply-add: a number that a code stands for must encode to it.
_inlined = register_jitable(error_model="numpy")


class Float:
    """Numbers of float32 or float64, kept as they are.

    Attributes:
        memory: the type of an element in memory.
        value: the type that it is read as.
    """

    def __init__(self, kind: Any) -> None:
        self.memory = self.value = kind

    def read(self, builder: Any, element: Any) -> Any:
        """The number that an element in memory stands for."""
        return element

    def write(self, builder: Any, value: Any, *bits: Any) -> Any:
        """The element that stands for a number, by random bits where the format takes any."""
        return value


class Float16:
    """float16, converted by the processor."""

    memory, value = ir.HalfType(), _FLOAT

    def read(self, builder: Any, element: Any) -> Any:
        """The same number."""
        return builder.fpext(element, self.value)

    def write(self, builder: Any, value: Any, *bits: Any) -> Any:
        """Round to nearest even."""
        return builder.fptrunc(value, self.memory)


class BFloat16:
    """bfloat16: the upper half of a float32."""

    memory, value = _SHORT, _FLOAT

    def read(self, builder: Any, element: Any) -> Any:
        """The same number."""
        wide = builder.shl(builder.zext(element, _WORD), _WORD(16))
        return builder.bitcast(wide, _FLOAT)

    def write(self, builder: Any, value: Any, *bits: Any) -> Any:
        """Round to nearest even, or stochastically given random bits; NaN stays NaN."""
        word = builder.bitcast(value, _WORD)
        if bits:
            added = builder.and_(builder.trunc(bits[0], _WORD), _WORD(0xFFFF))
        else:
            odd = builder.and_(builder.lshr(word, _WORD(16)), _WORD(1))
            added = builder.add(odd, _WORD(0x7FFF))
        magnitude = builder.and_(word, _WORD(0x7FFFFFFF))
        infinity = _WORD(0x7F800000)
        finite = builder.icmp_unsigned("<", magnitude, infinity)
        special = builder.select(
            builder.icmp_unsigned(">", magnitude, infinity), _WORD(0x7FC00000), word
        )
        rounded = builder.select(finite, builder.add(word, added), special)
        return builder.trunc(builder.lshr(rounded, _WORD(16)), _SHORT)


class Code8:
    """The 8-bit codes of `encoded`."""

    memory, value = _BYTE, _LONG

    def read(self, builder: Any, element: Any) -> Any:
        """The code, with its sign."""
        return builder.sext(element, _LONG)

    def write(self, builder: Any, value: Any, *bits: Any) -> Any:
        """Its low 8 bits."""
        return builder.trunc(value, _BYTE)


ELEMENT_TYPES: dict[str, Any] = {
    "float16": Float16(),
    "bfloat16": BFloat16(),
    "float32": Float(_FLOAT),
    "float64": Float(_DOUBLE),
    "int8": Code8(),
}


def cast(builder: Any, value: Any, kind: Any) -> Any:
    """A floating-point value as one of another width."""
    if value.type == kind:
        return value
    return (builder.fptrunc if kind == _FLOAT else builder.fpext)(value, kind)


@intrinsic
def mix(typing_context: Any, x: Any, y: Any) -> Any:
    """mix(x, y): 32 bits that look random, made of the low 32 bits of both."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = builder.xor(*(builder.trunc(arg, _WORD) for arg in args))
        for shift, factor in MIXING:
            bits = builder.xor(bits, builder.lshr(bits, _WORD(shift)))
            bits = builder.mul(bits, _WORD(factor)) if factor != 1 else bits
        return builder.zext(bits, _LONG)

    return types.int64(types.int64, types.int64), generate


@intrinsic
def scratch(typing_context: Any) -> Any:
    """scratch(): the address of memory for a block of float32, the kernel's own until it ends."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        memory = cgutils.alloca_once(builder, _FLOAT, size=_WORD(BLOCK))
        return builder.ptrtoint(memory, _LONG)

    return types.int64(), generate


@intrinsic
def largest_size(typing_context: Any, bits: Any, value: Any) -> Any:
    """largest_size(bits, value): the bits of the larger magnitude; those of NaN are largest."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        size = builder.and_(builder.bitcast(args[1], _WORD), _WORD(0x7FFFFFFF))
        return builder.select(builder.icmp_unsigned(">", size, args[0]), size, args[0])

    return types.int32(types.int32, types.float32), generate


@intrinsic
def any_negative(typing_context: Any, seen: Any, value: Any) -> Any:
    """any_negative(seen, value): 1 if the value has a minus, -0 too, or one before it had."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        minus = builder.lshr(builder.bitcast(args[1], _WORD), _WORD(31))
        return builder.or_(args[0], minus)

    return types.int32(types.int32, types.float32), generate


@intrinsic
def scale_of(typing_context: Any, bits: Any, negative: Any) -> Any:
    """scale_of(bits, negative): a block's scale: its largest magnitude, below zero if signed."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(builder.or_(args[0], builder.shl(args[1], _WORD(31))), _FLOAT)

    return types.float32(types.int32, types.int32), generate


@_inlined
def decoded(code, scale):  # type: ignore[no-untyped-def]  # an integer and float32
    """The number that an 8-bit code stands for."""
    if scale >= 0:
        return _level(code & 255, POSITIVE) * scale
    size = _level(code, SIGNED) * scale
    return size if code <= 0 else -size  # -0 says that the block has signs, should it be encoded


@_inlined
def encoded(value, scale, bits):  # type: ignore[no-untyped-def]  # float32, float32 and 32 bits
    """The code of a number, rounded stochastically to one of the two codes around it."""
    codes = POSITIVE if scale >= 0 else SIGNED
    top, size = fabs(scale), fabs(value)
    one_over = float32(1) / top if (top > _TINY) & (top < inf) else float32(0)
    code = int32(sqrt(sqrt(size * one_over)) * float32(codes))
    below, above = _level(code, codes) * top, _level(code + 1, codes) * top
    draw = float32(int32(bits >> 8)) * float32(2.0**-24)
    code += int32(1) if size - below > (above - below) * draw else int32(0)
    return -code if (value < 0) & (scale < 0) else code


@_inlined
def _level(code, codes):  # type: ignore[no-untyped-def]  # integers
    """The share of the scale that a code stands for; all of it for the last."""
    share = float32(int32(code)) * (float32(1) / float32(codes))
    square = share * share
    return square * square
