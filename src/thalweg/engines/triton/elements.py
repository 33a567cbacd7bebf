"""The part of GPU kernels that reads and writes elements, in every number format."""

from __future__ import annotations

from collections.abc import Iterable

from ...tape import ELEMENT, Operand
from ..codegen import Arrays, Names, operand
from ..formats import BLOCK, Format

# What the names of this module begin with, before an array's own.
PREFIXES = ("at_", "at2_", "noise_", "scale_", "new_", "kept_")

_KINDS = {"bfloat16": "uint16"}  # what memory holds, where that is not the part's own name


class Elements(Arrays):
    """Writes the statements about a program's arrays.

    `i` are the elements of a tile, `inside` says which of them there are (None: all). Where an
    array that is stepped has 8-bit codes, a tile is of shape (blocks, elements of one), `block` are
    its blocks' numbers and `present` says which of them there are.

    What it is made from is as of `Arrays`.
    """

    def bases(self, arrays: Iterable[str]) -> list[str]:
        """The addresses of these arrays of the current tensor."""
        code = []
        for a in arrays:
            for part, kind in enumerate(self.format[a].parts):
                index = f"{self.columns} * tensor + {self.column[a] + part}"
                pointed = f"tl.{_KINDS.get(kind, kind)}"
                code.append(
                    f"{_at(self.names[a], part)} = array(pointers, {index}, {pointed}, ALIGNED)"
                )
        return code

    def addresses(self, arrays: Iterable[str]) -> list[str]:
        """The names that `bases` gives."""
        return [
            _at(self.names[a], part) for a in arrays for part in range(len(self.format[a].parts))
        ]

    def noises(self) -> list[str]:
        """What the random bits of the current tensor come from: seed, step, tensor, array."""
        if not self.drawn:
            return []
        width = len(self.program.scalars)
        step = f"number(scalars, {width} * row + {width - 1})"
        code = [f"key = mix(mix(tl.load(seed), {step}.to(tl.int64)), tensor)"]
        for a in self.drawn:
            index = self.program.arrays.index(a)
            code.append(f"noise_{self.names[a]} = mix(key, tl.full((), {index}, tl.int64))")
        return code

    def read(self, arrays: Iterable[str], last: bool) -> list[str]:
        """These arrays' elements, in the pass that takes the step or in one that measures."""
        code = []
        for a in arrays:
            name, storage = self.names[a], self.format[a]
            if storage.blockwise:
                where = "block, present" if last else f"i // {BLOCK}, inside"
                code.append(f"scale_{name} = load(at2_{name}, {where})")
            code.append(f"{name} = {self._element(name, storage)}")
        return code

    def _element(self, name: str, storage: Format) -> str:
        loaded = f"load(at_{name}, i, inside)"
        if storage.blockwise:
            value, own = f"decoded({loaded}, scale_{name})", "float32"
        elif storage.parts[0] == "bfloat16":
            value, own = f"from_bfloat16({loaded})", "float32"
        else:
            value, own = loaded, storage.parts[0]
        value = value if own == self.number else f"{value}.to(tl.{self.number})"
        if storage.compensated:
            lost = f"from_bfloat16(load(at2_{name}, i, inside))"
            value += f" + {lost if own == self.number else f'{lost}.to(tl.{self.number})'}"
        return value

    def write(self, value_of: Names) -> list[str]:
        """Every array that the program changes."""
        # The threads of a tile share scales: all have read them before any is replaced.
        code = ["tl.debug_barrier()"] if self.scaled else []
        for a, value in self.program.outputs:
            code += self._write(self.names[a], self.format[a], self._new(value, value_of))
        return code

    def _new(self, value: Operand, value_of: Names) -> str:
        """A value as one number for every element of the tile."""
        text = operand(value, self.number, value_of)
        arrays, levels = self.program.arrays, self.program.levels
        if value in arrays or (isinstance(value, str) and levels.get(value) == ELEMENT):
            return text
        return f"tl.broadcast_to({text}, i.shape)"

    def _write(self, name: str, storage: Format, new: str) -> list[str]:
        if storage.blockwise:
            return [
                f"new_{name} = {new}.to(tl.float32)",
                f"scale_{name} = scale_of(new_{name}, inside)",
                f"store(at2_{name}, block, scale_{name}, present)",
                f"kept_{name} = encoded(new_{name}, scale_{name}, mix(i, noise_{name}))",
                f"store(at_{name}, i, kept_{name}, inside)",
            ]
        if storage.compensated:
            return [
                f"kept_{name} = to_bfloat16({new})",
                f"store(at_{name}, i, kept_{name}, inside)",
                f"new_{name} = {new} - from_bfloat16(kept_{name}).to(tl.{self.number})",
                f"store(at2_{name}, i, to_bfloat16(new_{name}), inside)",
            ]
        if storage.stochastic:
            return [
                f"store(at_{name}, i, to_bfloat16_stochastic({new}, mix(i, noise_{name})), inside)"
            ]
        if storage.parts[0] == "bfloat16":
            return [f"store(at_{name}, i, to_bfloat16({new}), inside)"]
        cast = "" if storage.parts[0] == self.number else f".to(tl.{storage.parts[0]})"
        return [f"store(at_{name}, i, {new}{cast}, inside)"]


def _at(name: str, part: int) -> str:
    return f"at{'2' * part}_{name}"
