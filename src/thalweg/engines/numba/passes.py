"""The body of a kernel whose program reduces: passes over the elements, and between them sums.

A tensor is cut into blocks: its channels, or pieces of equal size where nothing is summed per
channel. Pass s sums, for every block, what stage s+1 needs (`partials`); a finish adds the blocks
of each tensor up (`totals`), and where a norm goes over all tensors, these too (`model_totals`);
the last pass takes the step. All sums are float64, each block is summed by one thread and the
blocks in their order, so the result never depends on the threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...tape import CHANNEL, MODEL, REDUCTIONS, SIZES, TENSOR, Instruction, Operand, Program
from ..codegen import indent, operand
from ..stages import Stages
from ..tables import TensorColumn
from .elements import Elements
from .header import Phase
from .text import cell, largest, line


class Passes:
    """Writes the loops of a program with reductions.

    Args:
        program: the program.
        elements: how its elements are read and written; its constants are called c_ and their name.
    """

    def __init__(self, program: Program, elements: Elements) -> None:
        self.program, self.elements = program, elements
        self.dtype, self.names = elements.number, elements.names
        self.stages = Stages(program)
        self.partial, self.total = self.stages.partial, self.stages.total
        self.depth = self.stages.depth
        self.inside = {**self.names} | {c: f"c_{self.names[c]}" for c in program.constants}

    def source(self) -> list[str]:
        """The statements that do one item of the launch's current phase."""
        code: list[str] = []
        for stage in range(self.depth + 1):
            code += self._if(stage, Phase.PASS, self._pass(stage))
            if stage < self.depth:
                code += self._if(stage, Phase.TENSORS, self._finish(stage + 1) or ["pass"])
                if model_totals := self._model_totals(stage + 1):
                    code += self._if(stage, Phase.MODELS, model_totals)
        return code

    def _if(self, stage: int, phase: Phase, statements: list[str]) -> list[str]:
        return [f"if phase == {len(Phase) * stage + phase}:", *indent(statements, 1)]

    def _pass(self, stage: int) -> list[str]:
        """One pass over the elements of a chunk; the last one stores, the others sum."""
        program, last = self.program, stage == self.depth
        sums, body, constants, arrays = self.stages.at(stage)
        per_tensor = [c for c in constants if program.levels.get(c) in (MODEL, TENSOR)]
        per_channel = [c for c in constants if program.levels.get(c) == CHANNEL]
        before = self._middle([*per_tensor, *per_channel], MODEL, TENSOR)
        within = self._middle(per_channel, CHANNEL)
        loop = self.elements.read(arrays, last)
        loop += [line(b, self.dtype, self.inside) for b in body]
        casts = self._casts(per_channel)
        if last:
            block = self._steps([*within, *casts], loop + self.elements.write(self.inside))
        else:
            block = self._sums([*within, *casts], loop, sums)
        return [*before, *self._casts(per_tensor), "while start < stop:", *indent(block, 1)]

    def _sums(self, begin: list[str], loop: list[str], sums: Sequence[Operand]) -> list[str]:
        """What a block's elements add up to."""
        wide = [f"float64({operand(value, self.dtype, self.inside)})" for value in sums]
        loop += [f"sum_{k} = accumulate(sum_{k}, {value})" for k, value in enumerate(wide)]
        ends = [
            f"put(partials, {len(self.partial)} * block + {self.partial[value]}, sum_{k})"
            for k, value in enumerate(sums)
        ]
        return [
            *begin,
            *(f"sum_{k} = 0.0" for k in range(len(sums))),
            "for i in range(start, min(start + width, stop)):",
            *indent(loop, 1),
            *ends,
            "start += width",
            "block += 1",
        ]

    def _steps(self, begin: list[str], loop: list[str]) -> list[str]:
        """The step of a block's elements, as far as one channel and one block of codes go."""
        if self.elements.scaled:
            bound = "start - start % width + width"
            code = ["block = first + start // width", *begin]
            return [*code, *self.elements.last_loop(loop, bound)]
        return [
            *begin,
            "for i in range(start, min(start + width, stop)):",
            *indent(loop, 1),
            "start += width",
            "block += 1",
        ]

    def _finish(self, stage: int) -> list[str]:
        """What one tensor's blocks amount to at this stage."""
        totals = self.stages.reductions(stage, "sum", "all_sum")
        code = []
        if totals:
            columns = [self.partial[r.operands[0]] for r in totals]
            code += [f"sum_{k} = 0.0" for k in range(len(totals))]
            code += ["for block in range(first, first + blocks):"]
            adds = [
                f"sum_{k} += real(partials, {len(self.partial)} * block + {column})"
                for k, column in enumerate(columns)
            ]
            code += indent(adds, 1)
            code += [
                f"put(totals, {len(self.total)} * tensor + {self.total[r.target]}, sum_{k})"
                for k, r in enumerate(totals)
            ]
        for r in self.stages.reductions(stage, "max"):
            value = r.operands
            keep = f"largest = {largest(self.names[value[0]], 'largest')}"
            code += self._middle(value, MODEL, TENSOR)
            code += ["largest = -inf", "for block in range(first, first + blocks):"]
            code += indent([*self._middle(value, CHANNEL), keep], 1)
            code += [f"put(totals, {len(self.total)} * tensor + {self.total[r.target]}, largest)"]
        return code

    def _model_totals(self, stage: int) -> list[str]:
        """What one model's tensors amount to at this stage."""
        code = []
        for r in self.stages.reductions(stage, "all_sum"):
            column, width = self.total[r.target], len(self.total)
            add = f"sum_0 += real(totals, {width} * tensor + {column})"
            own = f"if {cell('tensors', 'tensor', TensorColumn.MODEL)} == chunk:"
            code += ["sum_0 = 0.0", "for tensor in range(every):", *indent([own], 1)]
            code += [*indent([add], 2), f"put(model_totals, {width} * chunk + {column}, sum_0)"]
        return code

    def _middle(self, wanted: Sequence[Operand], *level: int) -> list[str]:
        """The statements of some levels that these values need, reductions read where they lie."""
        return [self._read(m) for m in self.stages.middle(wanted, *level)]

    def _read(self, m: Instruction) -> str:
        target = self.names[m.target]
        if m.operation == "all_sum":
            return (
                f"{target} = real(model_totals, {len(self.total)} * model + {self.total[m.target]})"
            )
        if m.target in self.total:
            return f"{target} = real(totals, {len(self.total)} * tensor + {self.total[m.target]})"
        if m.operation in REDUCTIONS:
            column = self.partial[m.operands[0]]
            return f"{target} = real(partials, {len(self.partial)} * block + {column})"
        if m.operation in SIZES:
            size = cell("tensors", "tensor", TensorColumn[m.operation.upper()])
            return f"{target} = float64({size})"
        return line(m, "float64", self.names)

    def _casts(self, constants: Iterable[str]) -> list[str]:
        names, flags = self.names, self.program.flags
        return [
            f"c_{names[c]} = {names[c] if c in flags else f'{self.dtype}({names[c]})'}"
            for c in constants
        ]
