"""An engine of the CPU that is no part of the package: programs in C, compiled by the system's cc.

It is what CONTRIBUTING asks of a new engine and nothing more: one folder, and one call of
`registry.register`. It steps rules that act on each element alone, in float32 or float64.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any

from thalweg.engines.base import Engine, Launch
from thalweg.engines.formats import resolve_formats
from thalweg.engines.tables import Ints
from thalweg.tape import Program

_FORMATS = {"float32", "float64"}


class CEngine(Engine):
    """Steps tensors of the CPU on the thread that asks."""

    name = "c"
    devices = frozenset({"cpu"})

    def trouble_with_device(self, device: Any) -> str:
        if shutil.which("cc") is None:
            return "there is no C compiler (cc) here"
        return super().trouble_with_device(device)

    def trouble_with_program(self, program: Program, formats: str | Sequence[str]) -> str:
        if program.middle:
            return f"{program.name} needs sums or sizes of whole tensors"
        others = {each.name for each in resolve_formats(formats, len(program.arrays))} - _FORMATS
        return f"it does not keep {', '.join(sorted(others))}" if others else ""

    def source(self, program: Program, formats: str | Sequence[str]) -> str:
        from .lift import source

        return source(program, resolve_formats(formats, len(program.arrays)))

    def launch(
        self,
        program: Program,
        formats: str | Sequence[str],
        shapes: Sequence[Sequence[int]],
        rows: Ints,
        models: Ints | None = None,
        seed: int = 0,
        device: Any = "cpu",
    ) -> Launch:
        from .launch import CLaunch

        return CLaunch(program, formats, shapes, rows, models)
