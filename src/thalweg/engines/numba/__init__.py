"""The engine of the CPU: kernels compiled by numba, one launch for all tensors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ...tape import Program
from ..base import Engine, Launch
from ..tables import Ints

if TYPE_CHECKING:
    from ..base import Device


class NumbaEngine(Engine):
    """Steps tensors of the CPU."""

    name = "numba"
    devices = frozenset({"cpu"})

    def trouble_with_device(self, device: Device) -> str:
        if not _is_installed():
            return "numba is not installed (pip install numba)"
        return super().trouble_with_device(device)

    def source(self, program: Program, formats: str | Sequence[str]) -> str:
        from .lift import source

        return source(program, formats)

    def launch(
        self,
        program: Program,
        formats: str | Sequence[str],
        shapes: Sequence[Sequence[int]],
        rows: Ints,
        models: Ints | None = None,
        seed: int = 0,
        device: Device = "cpu",
    ) -> Launch:
        from . import launch

        return launch.NumbaLaunch(program, formats, shapes, rows, models, seed)


@cache
def _is_installed() -> bool:
    return find_spec("numba") is not None
