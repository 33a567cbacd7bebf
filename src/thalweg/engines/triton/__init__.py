"""The engine of GPUs: kernels in Triton from the same programs, one launch for all tensors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ...tape import Program
from ..base import Engine, Launch, device_type
from ..tables import Ints

if TYPE_CHECKING:
    from ..base import Device

_OLDEST = (8, 0)  # compute capability


class TritonEngine(Engine):
    """Steps tensors of a GPU; under TRITON_INTERPRET=1 those of the CPU, where it is asked for."""

    name = "triton"
    devices = frozenset({"cuda"})
    asynchronous = True

    def trouble_with_device(self, device: Device) -> str:
        interpreted = device_type(device) == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"
        if not interpreted and (trouble := super().trouble_with_device(device)):
            return trouble
        if not _is_installed():
            return "triton is not installed (pip install 'thalweg[gpu]')"
        return "" if interpreted else _trouble_with_gpu(str(device))

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
        device: Device = "cuda",
    ) -> Launch:
        from . import launch

        return launch.TritonLaunch(program, formats, shapes, rows, models, seed, device)


@cache
def _is_installed() -> bool:
    return find_spec("triton") is not None


@cache
def _trouble_with_gpu(device: str) -> str:
    import torch

    capability = torch.cuda.get_device_capability(device)
    if torch.version.hip is None and capability < _OLDEST:
        found, wanted = (".".join(map(str, x)) for x in (capability, _OLDEST))
        return f"its GPU has compute capability {found}; the triton engine needs {wanted}"
    return ""
