"""What a program that reduces must sum, pass by pass, and where the sums are kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..tape import CHANNEL, REDUCTIONS, Instruction, Operand, Program
from .codegen import needed


class Pass(NamedTuple):
    """One pass over the elements.

    Attributes:
        sums: the values whose elements it adds up; none in the last pass.
        body: the instructions per element.
        constants: the values below an element's level that these read.
        arrays: the arrays that they read.
    """

    sums: list[Operand]
    body: list[Instruction]
    constants: list[str]
    arrays: list[str]


class Stages:
    """The passes of a program: pass s sums what stage s + 1 needs, the last one takes the step.

    Attributes:
        partial: the column of each summed value in the sums per block.
        total: the column of each reduction in those per tensor, and per model.
        depth: how many passes sum.
    """

    def __init__(self, program: Program) -> None:
        self.program, reductions = program, program.reductions
        summed = [r.operands[0] for r in reductions if r.operation != "max"]
        self.partial = {value: k for k, value in enumerate(dict.fromkeys(summed))}
        lowest = [r for r in reductions if REDUCTIONS[r.operation] != CHANNEL]
        self.total = {r.target: k for k, r in enumerate(lowest)}
        self.depth = max(program.stages.values(), default=0)

    def reductions(self, stage: int, *operations: str) -> list[Instruction]:
        """The reductions of these kinds that are known once this stage is."""
        stages = self.program.stages
        own = [r for r in self.program.reductions if stages[r.target] == stage]
        return [r for r in own if r.operation in operations]

    def at(self, stage: int) -> Pass:
        """The pass that ends a stage."""
        program = self.program
        kinds = ("sum", "channel_sum", "all_sum")
        next_ones = [] if stage == self.depth else self.reductions(stage + 1, *kinds)
        sums = list(dict.fromkeys(r.operands[0] for r in next_ones))
        wanted = [value for _, value in program.outputs] if stage == self.depth else sums
        body = needed(program.body, wanted)
        read = {o for b in body for o in b.operands} | set(wanted)
        constants = [c for c in program.constants if c in read]
        return Pass(sums, body, constants, [a for a in program.arrays if a in read])

    def middle(self, wanted: Iterable[Operand], *levels: int) -> list[Instruction]:
        """The instructions of some levels between row and element that these values need."""
        lines = needed(self.program.middle, wanted)
        return [m for m in lines if self.program.levels[m.target] in levels]
