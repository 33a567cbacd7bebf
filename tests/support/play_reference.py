"""What core.js computes, in Python: its random numbers, step for step, and paths on NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from thalweg.formula.derivatives import differentiate
from thalweg.rules import Rule
from thalweg.surfaces import Surface
from thalweg.surfaces.trajectory import Path, _walk
from thalweg.tape import trace

STEPS = 200

# Operations that IEEE 754 rounds alike everywhere. A sum over two elements is one addition.
EXACT = {
    *("add", "sub", "mul", "div", "neg", "sqrt", "abs", "where", "maximum", "minimum"),
    *("gt", "lt", "ge", "le", "eq", "ne", "and", "or"),
    *("sum", "all_sum", "channel_sum", "max", "count", "channel_count", "ndim"),
}


def exact(rule: Rule, surface: Surface) -> bool:
    """Whether a path of the rule on the surface has the same bits in every language."""
    slopes = differentiate(surface.formula, 1, name=surface.name)
    return {line.operation for line in (*trace(rule).lines, *slopes.lines)} <= EXACT


def paths(
    lanes: list[tuple[Rule, Mapping[str, float]]], surface: Surface, noise: float = 0.0
) -> list[Path]:
    """The rules' own paths on float64 arrays, as `tw.trajectory` walks them."""
    return _walk(lanes, surface, surface.starts[0], np.zeros((STEPS, 2)))


# --- xoshiro128** of a state by SplitMix32, as in random.js ---

_MASK = 2**32 - 1


def generator(seed: int) -> Callable[[], int]:
    """Draws of 32 bits."""
    mixed = seed & _MASK

    def split() -> int:
        nonlocal mixed
        mixed = (mixed + 0x9E3779B9) & _MASK
        z = mixed
        z = (z ^ (z >> 16)) * 0x85EBCA6B & _MASK
        z = (z ^ (z >> 13)) * 0xC2B2AE35 & _MASK
        return z ^ (z >> 16)

    s = [split() for _ in range(4)]

    def rotated(value: int, by: int) -> int:
        return ((value << by) | (value >> (32 - by))) & _MASK

    def draw() -> int:
        result = rotated(s[1] * 5 & _MASK, 7) * 9 & _MASK
        shifted = s[1] << 9 & _MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= shifted
        s[3] = rotated(s[3], 11)
        return result

    return draw


def uniform(draw: Callable[[], int]) -> float:
    """A number in [0, 1) of 53 bits."""
    high, low = draw() >> 5, draw() >> 6
    return (high * 67108864 + low) / 9007199254740992


def normals(seed: int) -> Iterator[float]:
    """Standard normal numbers, by the polar method."""
    draw = generator(seed)
    while True:
        u, v = 2 * uniform(draw) - 1, 2 * uniform(draw) - 1
        size = u * u + v * v
        if 0 < size < 1:
            factor = math.sqrt(-2 * math.log(size) / size)
            yield from (u * factor, v * factor)


def drawn(seed: int, samples: int) -> Iterator[int]:
    """The samples, in a new order in every epoch."""
    draw = generator(seed)
    order = list(range(samples))
    while True:
        for last in range(samples - 1, 0, -1):
            other = math.floor(uniform(draw) * (last + 1))
            order[last], order[other] = order[other], order[last]
        yield from order
