"""The kernels of a program: one that takes the step and, where it reduces, those that sum before.

A tensor is cut into blocks: its channels, or pieces of equal size where nothing is summed per
channel. `measure_s` sums, for every block, what stage s + 1 needs; `finish_s` adds the blocks of
each tensor up, `model_totals_s` the tensors of each model; `step` goes over the elements a last
time. All sums are float64, in an order that does not depend on the GPU's scheduling.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum

from ...tape import CHANNEL, MODEL, REDUCTIONS, ROW, SIZES, TENSOR, Instruction, Program
from ..codegen import indent, operand
from ..formats import BLOCK
from ..stages import Stages
from ..tables import Chunk, TensorColumn
from .elements import Elements
from .pieces import PieceChunk
from .text import call, cell, function, line

# Full tiles need no mask, so that their elements come 16 bytes at a time.
_TILES = """\
full = {begin} + ({end} - {begin}) // TILE * TILE
for at in range({begin}, full, TILE):
    i = at + lanes
{whole}
if full < {end}:
    i = full + lanes
{tail}
"""

_BLOCKS = f"""\
first_block = tl.arange(0, TILE // {BLOCK})[:, None]
for at in range(start, stop, TILE):
    block = at // {BLOCK} + first_block
    i = block * {BLOCK} + tl.arange(0, {BLOCK})[None, :]
    if at + TILE <= stop:
{{whole}}
    else:
{{tail}}
"""

_TABLES = ("tensors", "channels", "totals", "model_totals")
_SETTINGS = ("TILE: tl.constexpr", "ALIGNED: tl.constexpr")


def row_values(program: Program) -> list[str]:
    """The values of a row that the elements and the middle read: the table of constants."""
    rows = {*program.scalars, *(i.target for i in program.prologue)}
    read = (o for m in program.middle for o in m.operands)
    return [str(v) for v in dict.fromkeys((*program.constants, *read)) if v in rows]


class Passes:
    """Writes the kernels that go over elements, and the sums between them.

    Args:
        program: the program.
        elements: how its elements are read and written.
    """

    def __init__(self, program: Program, elements: Elements) -> None:
        self.program, self.elements, self.names = program, elements, elements.names
        self.stages = Stages(program)
        self.inside = {**self.names} | {c: f"c_{self.names[c]}" for c in program.constants}
        self.row_values = row_values(program)

    def source(self) -> list[str]:
        """All kernels but the prologue."""
        code: list[str] = []
        for stage in range(self.stages.depth):
            code += [
                *self._measure(stage),
                *self._finish(stage + 1),
                *self._model_totals(stage + 1),
            ]
        return [*code, *self._step()]

    def _step(self) -> list[str]:
        """The last pass: tiles of equal size, which disregard channels."""
        elements, names = self.elements, self.names
        stage = self.stages.at(self.stages.depth)
        channel = self._of(stage.constants, CHANNEL)
        known = [c for c in stage.constants if c not in channel]
        within = self.stages.middle(channel, CHANNEL)
        shared = elements.addresses(elements.touched)
        shared += [f"noise_{names[a]}" for a in elements.drawn]
        shared += [f"c_{names[c]}" for c in known]
        shared += ["channels", "first", "width"] if within else []
        shared += [names[b] for b in self._below(within)]
        blocks = ["block", "present"] if elements.scaled else []
        tile = elements.read(stage.arrays, last=True)
        tile += ["own = first + i // width"] if within else []
        tile += [*self._middle(within, "inside"), *self._casts(channel)]
        tile += [line(b, elements.number, self.inside) for b in stage.body]
        tile += elements.write(self.inside)
        body = _head(Chunk)
        body += ["start = tl.multiple_of(start, 16)", *elements.bases(elements.touched)]
        body += [*elements.noises(), *self._known(known, within)]
        body += [_of_tensor("first"), _of_tensor("width")] if within else []
        if blocks:
            whole = call("step_tile", ["i", "None", "block", "None", *shared])
            tail = call("step_tile", ["i", "i < stop", "block", f"block * {BLOCK} < stop", *shared])
            body += _filled(_BLOCKS, 2, whole=whole, tail=tail)
        else:
            body += ["lanes = tl.arange(0, TILE)"]
            whole = call("step_tile", ["i", "None", *shared])
            tail = call("step_tile", ["i", "i < stop", *shared])
            body += _filled(_TILES, 1, begin="start", end="stop", whole=whole, tail=tail)
        tables = _TABLES if self.program.middle else ()
        parameters = ["pointers", "chunks", "scalars", "constants", "seed", *tables, *_SETTINGS]
        return [
            *function("step_tile", ["i", "inside", *blocks, *shared], tile),
            *function("step", parameters, body),
        ]

    def _measure(self, number: int) -> list[str]:
        """A pass that sums: block by block, each in tiles."""
        elements, names, name = self.elements, self.names, f"measure_{number}"
        stage = self.stages.at(number)
        channel = self._of(stage.constants, CHANNEL)
        within = self.stages.middle(channel, CHANNEL)
        shared = elements.addresses(stage.arrays) + [f"c_{names[c]}" for c in stage.constants]
        tile = elements.read(stage.arrays, last=False)
        tile += [line(b, elements.number, self.inside) for b in stage.body]
        wide = [
            f"({operand(value, elements.number, self.inside)}).to(tl.float64)"
            for value in stage.sums
        ]
        tile += ["return " + ", ".join(wide)]
        sums = [f"sum_{k}" for k in range(len(wide))]
        added = [f"add_{k}" for k in range(len(wide))]
        takes = ", ".join(added) + " = "
        whole = call(f"{name}_tile", ["i", "None", *shared], takes)
        whole += [f"{s} += {a}" for s, a in zip(sums, added, strict=True)]
        tail = call(f"{name}_tile", ["i", "i < end", *shared], takes)
        tail += [f"{s} += tl.where(i < end, {a}, 0.0)" for s, a in zip(sums, added, strict=True)]
        known = [c for c in stage.constants if c not in channel]
        by_channel = self.program.sums("channel_sum")
        body = _head(PieceChunk)
        body += [] if by_channel else ["start = tl.multiple_of(start, 16)"]
        body += [*elements.bases(stage.arrays), *self._known(known, within)]
        body += [*([_of_tensor("first")] if within else []), _of_tensor("width")]
        block = ["end = tl.minimum(begin + width, stop)", *self._middle(within)]
        block += self._casts(channel)
        block += [f"{s} = tl.zeros((TILE,), tl.float64)" for s in sums]
        block += _filled(_TILES, 1, begin="begin", end="end", whole=whole, tail=tail)
        block += [
            f"tl.store(partials + {len(self.stages.partial)} * piece"
            f" + {self.stages.partial[value]}, tl.sum({s}))"
            for value, s in zip(stage.sums, sums, strict=True)
        ]
        block += ["piece += 1"]
        body += ["lanes = tl.arange(0, TILE)"]
        if within:
            block = ["own = first + begin // width", *block]
        # The last chunk of a channel that is cut ends before the channel's next begins.
        body += ["for begin in range(start, stop, width):", *indent(block, 1)]
        parameters = ["pointers", "chunks", "scalars", "constants", "seed", *_TABLES, "partials"]
        return [
            *function(f"{name}_tile", ["i", "inside", *shared], tile),
            *function(name, [*parameters, *_SETTINGS], body),
        ]

    def _finish(self, stage: int) -> list[str]:
        """What one tensor's blocks amount to at this stage."""
        totals = self.stages.reductions(stage, "sum", "all_sum")
        peaks = self.stages.reductions(stage, "max")
        if not totals and not peaks:
            return []
        partial, total = self.stages.partial, self.stages.total
        body = ["tensor = tl.program_id(0).to(tl.int64)"]
        body += [_of_tensor("row"), _of_tensor("first"), _of_tensor("blocks")]
        body += ["lanes = tl.arange(0, TILE)"]
        for r in totals:
            place = f"channels + {len(partial)} * (first + i) + {partial[r.operands[0]]}"
            body += [
                "sum_0 = tl.zeros((TILE,), tl.float64)",
                "for at in range(0, blocks, TILE):",
                "    i = at + lanes",
                f"    sum_0 += tl.load({place}, mask=i < blocks, other=0.0)",
                f"tl.store(totals + {len(total)} * tensor + {total[r.target]}, tl.sum(sum_0))",
            ]
        if totals and peaks:
            body += ["tl.debug_barrier()"]  # what other threads have stored is read next
        for r in peaks:
            within = self.stages.middle(r.operands, CHANNEL)
            value = self.names[r.operands[0]]
            body += self._known([], within)
            body += [
                "largest = tl.full((TILE,), -inf, tl.float64)",
                "broken = tl.zeros((TILE,), tl.int32)",
                "for at in range(0, blocks, TILE):",
                "    inside = at + lanes < blocks",
                "    own = first + at + lanes",
                *indent(self._middle(within, "inside"), 1),
                f"    broken = tl.where(inside & ({value} != {value}), 1, broken)",
                f"    larger = inside & ({value} > largest)",
                f"    largest = tl.where(larger, {value}, largest)",
                "found = tl.where(tl.max(broken) == 1, float('nan'), tl.max(largest))",
                f"tl.store(totals + {len(total)} * tensor + {total[r.target]}, found)",
            ]
        return function(f"finish_{stage}", ["constants", *_TABLES, _SETTINGS[0]], body)

    def _model_totals(self, stage: int) -> list[str]:
        """What one model's tensors amount to at this stage."""
        found = self.stages.reductions(stage, "all_sum")
        if not found:
            return []
        width, model = len(self.stages.total), TensorColumn.MODEL
        body = ["model, count = tl.program_id(0), tl.load(every)", "lanes = tl.arange(0, TILE)"]
        for r in found:
            column = self.stages.total[r.target]
            body += [
                "sum_0 = tl.zeros((TILE,), tl.float64)",
                "for at in range(0, count, TILE):",
                "    i = at + lanes",
                f"    whose = tl.load({cell('tensors', 'i', model)}, mask=i < count, other=-1)",
                f"    sum_0 += tl.load(totals + {width} * i + {column}, "
                "mask=whose == model, other=0.0)",
                f"tl.store(model_totals + {width} * model + {column}, tl.sum(sum_0))",
            ]
        arguments = ["tensors", "totals", "model_totals", "every", _SETTINGS[0]]
        return function(f"model_totals_{stage}", arguments, body)

    def _of(self, values: Iterable[str], *levels: int) -> list[str]:
        return [v for v in values if self.program.levels.get(v, ROW) in levels]

    def _below(self, within: Sequence[Instruction]) -> list[str]:
        """The values below a channel's level that its instructions read."""
        read = (o for m in within if m.operation not in REDUCTIONS for o in m.operands)
        names = dict.fromkeys(o for o in read if isinstance(o, str))
        return self._of(names, ROW, MODEL, TENSOR)

    def _known(self, constants: Sequence[str], within: Sequence[Instruction]) -> list[str]:
        """The values of a tensor that its elements and channels need."""
        wanted = [*constants, *self._below(within)]
        middle = self.stages.middle(wanted, MODEL, TENSOR)
        read = {o for m in middle if m.operation not in REDUCTIONS for o in m.operands}
        rows = [v for v in self.row_values if v in read or v in wanted]
        code = [f"{self.names[v]} = {self._kept(v)}" for v in rows]
        if any(m.operation == "all_sum" for m in middle):
            code += [_of_tensor("model")]
        code += [self._read(m) for m in middle]
        flags = [self.names[v] for v in self._below(within) if v in self.program.flags]
        return [*code, *(f"{v} = flag({v})" for v in flags), *self._casts(constants)]

    def _kept(self, value: str) -> str:
        text = f"number(constants, {len(self.row_values)} * row + {self.row_values.index(value)})"
        return f"{text} != 0.0" if value in self.program.flags else text

    def _middle(self, lines: Iterable[Instruction], mask: str = "") -> list[str]:
        return [self._read(m, mask) for m in lines]

    def _read(self, m: Instruction, mask: str = "") -> str:
        """An instruction of the middle, a reduction read where it lies."""
        target, total, partial = self.names[m.target], self.stages.total, self.stages.partial
        if m.operation == "all_sum":
            return f"{target} = number(model_totals, {len(total)} * model + {total[m.target]})"
        if m.target in total:
            return f"{target} = number(totals, {len(total)} * tensor + {total[m.target]})"
        if m.operation in REDUCTIONS:
            place = f"channels, {len(partial)} * own + {partial[m.operands[0]]}"
            return f"{target} = load({place}, {mask or None})"
        if m.operation in SIZES:
            return _of_tensor(m.operation, target) + ".to(tl.float64)"
        return line(m, "float64", self.names)

    def _casts(self, constants: Iterable[str]) -> list[str]:
        cast = {True: "flag({0})", False: f"{{0}}.to(tl.{self.elements.number})"}
        names, flags = self.names, self.program.flags
        return [f"c_{names[c]} = {cast[c in flags].format(names[c])}" for c in constants]


def _of_tensor(column: str, target: str = "") -> str:
    place = cell("tensors", "tensor", TensorColumn[column.upper()])
    return f"{target or column} = tl.load({place})"


def _head(columns: type[IntEnum]) -> list[str]:
    """What is read of a chunk, under the names that the kernels give it."""
    names = {"FIRST": "start"}
    return [
        "chunk = tl.program_id(0).to(tl.int64)",
        *(
            f"{names.get(column.name, column.name.lower())} = "
            f"tl.load({cell('chunks', 'chunk', column)})"
            for column in columns
        ),
    ]


def _filled(
    template: str, depth: int, whole: list[str], tail: list[str], **words: str
) -> list[str]:
    """A template of loops with the statements for whole tiles and for the last."""
    texts = {k: "\n".join(indent(v, depth)) for k, v in (("whole", whole), ("tail", tail))}
    return template.format(**words, **texts).splitlines()
