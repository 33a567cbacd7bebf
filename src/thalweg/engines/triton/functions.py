"""The functions that generated GPU kernels call: arithmetic, and how numbers lie in memory.

They mean bit for bit what those of the CPU engine mean. Division and square roots are rounded as
IEEE asks, which `/` and `tl.sqrt` are not in float32 on a GPU.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ..formats import MIXING, POSITIVE, SIGNED

inf = tl.constexpr(float("inf"))

_POSITIVE, _SIGNED = tl.constexpr(1.0 / POSITIVE), tl.constexpr(1.0 / SIGNED)
_SHIFT_1, _FACTOR_1 = (tl.constexpr(x) for x in MIXING[0])
_SHIFT_2, _FACTOR_2 = (tl.constexpr(x) for x in MIXING[1])
_SHIFT_3, _FACTOR_3 = (tl.constexpr(x) for x in MIXING[2])
_TINY = tl.constexpr(2.0**-126)  # below it a reciprocal is infinite


@triton.jit
def float32(x: tl.constexpr):
    """A literal."""
    return tl.full((), x, tl.float32)


@triton.jit
def float64(x: tl.constexpr):
    """A literal."""
    return tl.full((), x, tl.float64)


@triton.jit
def flag(x):
    """The same condition, one for all elements; of numbers alone the interpreter makes numbers."""
    return x.to(tl.int32) != 0


@triton.jit
def root(x):
    """The square root, correctly rounded."""
    if x.dtype == tl.float32:
        y = tl.sqrt_rn(x)
    else:
        y = tl.sqrt(x)
    return y


@triton.jit
def divide(x, y):
    """The quotient, correctly rounded."""
    if y.dtype == tl.float32:
        z = tl.div_rn(x, y)
    else:
        z = x / y
    return z


@triton.jit
def power(x, y):
    """x to the power y, computed in float64 as exp(y log|x|).

    Its relative error is at most 2^-52 (|y log x| + 2), as log and exp err by one unit in the last
    place: a decay rate to the power of the step differs from the processor's by a few units.
    """
    base, wanted = tl.broadcast(x.to(tl.float64), y.to(tl.float64))
    # 1 to any power, and anything to the power 0, is 1; log would make NaN of 1 and infinity.
    trivial = (base == 1.0) | (wanted == 0.0)
    size = tl.exp(tl.where(trivial, 0.0, wanted * tl.log(tl.abs(base))))
    whole = tl.floor(wanted) == wanted
    odd = whole & (tl.floor(wanted * 0.5) != wanted * 0.5)
    size = tl.where((base < 0.0) & odd, -1.0 * size, size)
    return tl.where((base < 0.0) & (whole == 0), float("nan"), size).to(x.dtype)


@triton.jit
def sine(x):
    """The sine; in float64, as what GPUs have in float32 fails away from zero."""
    return tl.sin(x.to(tl.float64)).to(x.dtype)


@triton.jit
def cosine(x):
    """The cosine, in float64."""
    return tl.cos(x.to(tl.float64)).to(x.dtype)


@triton.jit
def tanh(x):
    """The hyperbolic tangent, in float64: by exp, and near zero by its series."""
    wide = x.to(tl.float64)
    size = tl.abs(wide)
    far = 1.0 - 2.0 / (tl.exp(2.0 * size) + 1.0)
    square = size * size
    near = size * (1.0 - square * (1.0 / 3 - square * (2.0 / 15 - square * (17.0 / 315))))
    y = tl.where(size < 0.02, near, far)
    return tl.where(wide < 0.0, -1.0 * y, tl.where(wide == 0.0, wide, y)).to(x.dtype)


@triton.jit
def number(place, index):
    """The float64 in a table."""
    return tl.load(place + index)


@triton.jit
def array(pointers, index, kind: tl.constexpr, aligned: tl.constexpr):
    """The array whose address is in the table; if aligned, at a multiple of 16 bytes."""
    at = tl.load(pointers + index).to(tl.pointer_type(kind))
    if aligned:
        at = tl.multiple_of(at, 16)
    return at


@triton.jit
def load(at, i, inside):
    """Elements i; where not all are inside, 0 for the others."""
    if inside is None:
        x = tl.load(at + i)
    else:
        x = tl.load(at + i, mask=inside, other=0)
    return x


@triton.jit
def store(at, i, x, inside):
    """Store elements i, those that are inside."""
    if inside is None:
        tl.store(at + i, x)
    else:
        tl.store(at + i, x, mask=inside)


@triton.jit
def mix(x, y):
    """32 bits that look random, made of the low 32 bits of both."""
    bits = x.to(tl.uint32) ^ y.to(tl.uint32)
    bits = (bits ^ (bits >> _SHIFT_1)) * _FACTOR_1
    bits = (bits ^ (bits >> _SHIFT_2)) * _FACTOR_2
    return (bits ^ (bits >> _SHIFT_3)) * _FACTOR_3


@triton.jit
def from_bfloat16(bits):
    """bfloat16, of which memory has the bits, as float32."""
    return (bits.to(tl.uint32) << 16).to(tl.float32, bitcast=True)


@triton.jit
def to_bfloat16(x):
    """The bits of the nearest bfloat16; of two, those of the even one."""
    word = x.to(tl.float32).to(tl.uint32, bitcast=True)
    return _round_to_upper_half(word, ((word >> 16) & 1) + 0x7FFF)


@triton.jit
def to_bfloat16_stochastic(x, bits):
    """The bits of a bfloat16 beside x, by 16 random bits: x itself on average."""
    return _round_to_upper_half(x.to(tl.float32).to(tl.uint32, bitcast=True), bits & 0xFFFF)


@triton.jit
def _round_to_upper_half(word, added):
    """Round by a number added to the lower half, which may carry; NaN stays NaN."""
    size = word & 0x7FFFFFFF
    special = tl.where(size > 0x7F800000, tl.full((), 0x7FC00000, tl.uint32), word)
    return (tl.where(size < 0x7F800000, word + added, special) >> 16).to(tl.uint16)


@triton.jit
def scale_of(x, inside):
    """Of whole blocks, (blocks, elements): the largest magnitude, below zero if any has a minus."""
    word = x.to(tl.uint32, bitcast=True)
    if inside is not None:
        word = tl.where(inside, word, 0)
    top = tl.max(word & 0x7FFFFFFF, axis=1, keep_dims=True)
    minus = tl.max(word >> 31, axis=1, keep_dims=True)
    return (top | (minus << 31)).to(tl.float32, bitcast=True)


@triton.jit
def decoded(code, scale):
    """The number that an 8-bit code stands for."""
    positive = _level(code.to(tl.int32) & 255, float32(_POSITIVE)) * scale
    size = _level(code.to(tl.int32), float32(_SIGNED)) * scale
    # -0 says that the block has signs, should it be encoded.
    return tl.where(scale >= 0, positive, tl.where(code <= 0, size, -1.0 * size))


@triton.jit
def encoded(x, scale, bits):
    """The code of a number, rounded stochastically to one of the two codes around it."""
    unit = tl.where(scale >= 0, float32(_POSITIVE), float32(_SIGNED))
    codes = tl.where(scale >= 0, float32(1.0 / _POSITIVE), float32(1.0 / _SIGNED))
    top, size = tl.abs(scale), tl.abs(x)
    usable = (top > _TINY) & (top < inf)
    safe = tl.where(usable, top, float32(1.0))
    one_over = tl.where(usable, tl.div_rn(safe * 0.0 + 1.0, safe), float32(0.0))
    share = tl.sqrt_rn(tl.sqrt_rn(size * one_over)) * codes
    code = tl.where(share == share, share, float32(0.0)).to(tl.int32)
    below, above = _level(code, unit) * top, _level(code + 1, unit) * top
    draw = (bits >> 8).to(tl.int32).to(tl.float32) * float32(2.0**-24)
    code += (size - below > (above - below) * draw).to(tl.int32)
    return tl.where((x < 0) & (scale < 0), -code, code).to(tl.int8)


@triton.jit
def _level(code, unit):
    """The share of the scale that a code stands for; all of it for the last."""
    share = code.to(tl.float32) * unit
    square = share * share
    return square * square


@triton.jit
def gather(pieces, partials, channels, WIDTH: tl.constexpr, TILE: tl.constexpr):
    """The sums of a channel whose elements are summed in several pieces."""
    channel = tl.program_id(0).to(tl.int64)
    first, count = tl.load(pieces + 2 * channel), tl.load(pieces + 2 * channel + 1)
    lanes = tl.arange(0, TILE)
    for column in range(WIDTH):
        found = tl.zeros((TILE,), tl.float64)
        for at in range(0, count, TILE):
            i = at + lanes
            place = partials + WIDTH * (first + i) + column
            found += tl.load(place, mask=i < count, other=0.0)
        tl.store(channels + WIDTH * channel + column, tl.sum(found))
