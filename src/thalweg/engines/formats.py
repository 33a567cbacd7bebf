"""Number formats of arrays in memory. Arithmetic on them is in float32, or in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UsageError

BLOCK = 256  # numbers that share a scale


@dataclass(frozen=True)
class Format:
    """A number format of arrays in memory.

    Attributes:
        name: in kernels and options.
        parts: the element types of the one or two arrays in memory that it takes.
        stochastic: whether numbers are rounded stochastically: to the upper neighbour with the
            probability of their place between the two, so that the mean is exact.
        compensated: whether the second part holds the rounding error of the first.
        blockwise: whether the second part holds a scale for every `BLOCK` numbers.
    """

    name: str
    parts: tuple[str, ...]
    stochastic: bool = False
    compensated: bool = False
    blockwise: bool = False

    @property
    def bytes(self) -> float:
        """Per number."""
        first, *rest = (_SIZES[part] for part in self.parts)
        return first + sum(rest) / (BLOCK if self.blockwise else 1)


_SIZES = {"int8": 1, "float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}

FLOAT32 = "float32"
STOCHASTIC = "bfloat16~"
COMPENSATED = "bfloat16+"
INT8 = "int8"

FORMATS = {
    storage.name: storage
    for storage in (
        *(Format(name, (name,)) for name in ("float16", "bfloat16", FLOAT32, "float64")),
        Format(STOCHASTIC, ("bfloat16",), stochastic=True),
        Format(COMPENSATED, ("bfloat16", "bfloat16"), compensated=True),
        Format(INT8, ("int8", "float32"), stochastic=True, blockwise=True),
    )
}

# An 8-bit code c stands for (c/n)^4 of its block's scale, the block's largest magnitude: moments
# range over decades, and the small ones need a grid as fine as theirs. Where no number of a block
# has a minus n is 255, as it is for averages of squares; else the code has a sign, n is 127, and
# the scale is kept with a minus to say so. A code of zero is then -0, so that a block that is
# decoded and encoded again is the same.
POSITIVE, SIGNED = 255, 127

# Random bits are a function of (seed, step, tensor, array, element) alone, the same in every engine
# and on any number of threads: the mixing of `lowbias32` (Wellons 2018), shifts and factors.
MIXING = ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1))


def resolve_formats(formats: str | Sequence[str], arrays: int) -> tuple[Format, ...]:
    """The format of every array.

    Args:
        formats: one name for all, or one for each.
        arrays: how many there are.

    Raises:
        UsageError: a name is unknown, or there are too many or too few.
    """
    names = [formats] * arrays if isinstance(formats, str) else list(formats)
    if len(names) != arrays:
        raise UsageError(f"formats={formats!r} must name one for each of {arrays} arrays")
    for name in names:
        if name not in FORMATS:
            raise UsageError(f"format {name!r} is unknown; choose from {', '.join(FORMATS)}")
    return tuple(FORMATS[name] for name in names)


def arithmetic(formats: Sequence[Format]) -> str:
    """The number type that a kernel over these formats computes in."""
    return "float64" if any(storage.name == "float64" for storage in formats) else FLOAT32
