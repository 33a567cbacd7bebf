"""The part of a kernel that reads and writes elements, in every number format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...tape import Program
from ..codegen import Arrays, Names, indent, operand
from ..formats import BLOCK, Format
from .header import Header
from .text import header

# What the names of this module begin with, before an array's own.
_BEGINNINGS = "load_ store_ load2_ store2_ at_ at2_ noise_ scale_ top_ signs_ held_ put_ get_"
PREFIXES = tuple(_BEGINNINGS.split())

_KEY = """\
key = mix({seed}, int64(real(scalars, {width} * own + {last})))
key = mix(key, tensor)
"""


class Elements(Arrays):
    """Writes the statements about a program's arrays.

    An array of 8-bit codes is stepped in blocks: a loop computes a block's new numbers and holds
    them, and once their scale is known, another encodes them.

    What it is made from is as of `Arrays`.
    """

    def __init__(self, program: Program, formats: Sequence[Format], names: Names) -> None:
        super().__init__(program, formats, names)
        written = [a for a, _ in program.outputs]
        self.coded = [a for a in self.scaled if a in written]

    def accessors(self) -> list[str]:
        """The loads and stores of every array in memory, and of the blocks that are held."""
        slots = self.columns + len(self.coded)
        code = []
        for a, storage in self.format.items():
            name, k = self.names[a], self.column[a]
            number = "int64" if storage.blockwise else self.number
            by_bits = storage.stochastic and not storage.blockwise
            code.append(
                f'load_{name}, store_{name} = array("{storage.parts[0]}", {k}, {slots}, "{number}"'
                f"{', True' if by_bits else ''})"
            )
            for part in storage.parts[1:]:
                number = "float32" if storage.blockwise else self.number
                code.append(
                    f'load2_{name}, store2_{name} = array("{part}", {k + 1}, {slots}, "{number}")'
                )
        for k, a in enumerate(self.coded, start=self.columns):
            name = self.names[a]
            code.append(f'get_{name}, put_{name} = array("float32", {k}, {slots}, "float32")')
        return code

    def scratch_blocks(self) -> list[str]:
        """Memory for the blocks that are held, their largest magnitudes and signs."""
        names = [self.names[a] for a in self.coded]
        known = [f"top_{name} = signs_{name} = int32(0)" for name in names]
        return [*(f"held_{name} = scratch()" for name in names), *known]

    def bases(self) -> list[str]:
        """The addresses of the current tensor's arrays, and what its random bits come from."""
        code = []
        for a in self.touched:
            for part in range(len(self.format[a].parts)):
                at, k = f"at{'2' * part}_{self.names[a]}", self.column[a] + part
                code.append(f"{at} = integer(pointers, {self.columns} * tensor + {k})")
        if self.drawn:
            width = len(self.program.scalars)
            code += _KEY.format(seed=header(Header.SEED), width=width, last=width - 1).splitlines()
            number = self.program.arrays.index
            code += [f"noise_{self.names[a]} = mix(key, {number(a)})" for a in self.drawn]
        return code

    def read(self, arrays: Iterable[str], last: bool = True) -> list[str]:
        """Element i of these arrays, in the last loop or in one that measures."""
        return [f"{self.names[a]} = {self._element(a, last)}" for a in arrays]

    def write(self, value_of: Names) -> list[str]:
        """Element i of every array that the program changes, or its place in the held block."""
        code = []
        for a, value in self.program.outputs:
            name, new = self.names[a], operand(value, self.number, value_of)
            if a in self.coded:
                code += [
                    f"put_{name}(held_{name}, i & {BLOCK - 1}, float32({new}))",
                    f"top_{name} = largest_size(top_{name}, float32({new}))",
                    f"signs_{name} = any_negative(signs_{name}, float32({new}))",
                ]
            elif a in self.drawn:
                code.append(f"store_{name}(at_{name}, i, {new}, mix(i, noise_{name}))")
            else:
                code.append(f"store_{name}(at_{name}, i, {new})")
                if self.format[a].compensated:
                    lost = f"{new} - load_{name}(at_{name}, i)"
                    code.append(f"store2_{name}(at2_{name}, i, {lost})")
        return code

    def last_loop(self, loop: Sequence[str], bound: str = "") -> list[str]:
        """The elements from `start` on: to `stop`, or of a block if any array is coded.

        Args:
            loop: what is done to element i.
            bound: where a block must pause as well, if anywhere.
        """
        if not self.scaled:
            return ["for i in range(start, stop):", *indent(loop or ["pass"], 1)]
        scaled = [self.names[a] for a in self.scaled]
        coded = [self.names[a] for a in self.coded]
        begin = [f"top_{name} = signs_{name} = int32(0)" for name in coded]
        return [
            f"end = min(stop, (start | {BLOCK - 1}) + 1{bound and f', {bound}'})",
            *(f"scale_{n} = load2_{n}(at2_{n}, start >> {_SHIFT})" for n in scaled),
            *([f"if start & {BLOCK - 1} == 0:", *indent(begin, 1)] if coded else []),
            "for i in range(start, end):",
            *indent(loop, 1),
            "start = end",
            *([f"if start & {BLOCK - 1} == 0 or start == stop:"] if coded else []),
            *indent([line for name in coded for line in _encode(name)], 1),
        ]

    def _element(self, a: str, last: bool) -> str:
        name, storage = self.names[a], self.format[a]
        loaded = f"load_{name}(at_{name}, i)"
        if storage.blockwise:
            scale = f"scale_{name}" if last else f"load2_{name}(at2_{name}, i >> {_SHIFT})"
            return f"{self.number}(decoded({loaded}, {scale}))"
        return f"{loaded} + load2_{name}(at2_{name}, i)" if storage.compensated else loaded


def _encode(name: str) -> list[str]:
    """The held block of an array, which ends before `start`, kept as codes and a scale."""
    block = f"(start - 1) >> {_SHIFT}"
    return [
        f"scale_{name} = scale_of(top_{name}, signs_{name})",
        f"store2_{name}(at2_{name}, {block}, scale_{name})",
        f"for i in range({block} << {_SHIFT}, start):",
        f"    held = get_{name}(held_{name}, i & {BLOCK - 1})",
        f"    store_{name}(at_{name}, i, encoded(held, scale_{name}, mix(i, noise_{name})))",
    ]


_SHIFT = BLOCK.bit_length() - 1
