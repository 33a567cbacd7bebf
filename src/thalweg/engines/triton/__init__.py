"""The GPU engine: kernels in Triton from the same programs, one launch for all tensors."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from ...tape import Program
from ..formats import Format, spread
from .build import build
from .launch import Launch
from .lift import source

__all__ = ["Launch", "kernels", "source"]

_lock = threading.RLock()
_kernels: dict[tuple[str, tuple[Format, ...]], dict[str, Any]] = {}


def kernels(program: Program, formats: str | Sequence[str]) -> dict[str, Any]:
    """The kernels of a program by name; the same objects for all that ask.

    Args:
        program: what to compute; programs of equal keys share kernels, whatever their names.
        formats: how its arrays are kept, as `Launch` takes it.
    """
    kept = spread(formats, len(program.arrays))
    with _lock:
        key = program.key, kept
        if key not in _kernels:
            names = "-".join(dict.fromkeys(form.name for form in kept))
            _kernels[key] = build(f"{program.name}-{names}", source(program, formats))
        return _kernels[key]
