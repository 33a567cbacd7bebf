"""A kernel in C with the tables it reads."""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np

from thalweg.atomic import replacing
from thalweg.engines import cache
from thalweg.engines.base import HostLaunch, KernelCache
from thalweg.engines.formats import Format
from thalweg.engines.tables import Ints
from thalweg.errors import ThalwegError
from thalweg.tape import Program

from .lift import source

# No contraction: a product and a sum are rounded one by one, as the eager engine rounds them.
_COMMAND = ["cc", "-std=gnu11", "-O1", "-fPIC", "-shared", "-ffp-contract=off"]
_ARGUMENTS = (ctypes.c_int64, *[ctypes.c_void_p] * 4)


class Selection(NamedTuple):
    """The chunks to step, and the rows of scalars that move; None if all do."""

    chunks: Ints
    moving: Ints | None


class CLaunch(HostLaunch):
    """A kernel in C with its tables; the arguments are as of `Launch`."""

    def __init__(
        self,
        program: Program,
        formats: str | Sequence[str],
        shapes: Sequence[Sequence[int]],
        rows: Ints,
        models: Ints | None = None,
    ) -> None:
        super().__init__(program, formats, shapes, rows, models)
        self._kernel = KERNELS.get(program, formats)
        self.only(np.arange(len(shapes)))

    def _selection(self, tensors: Ints) -> Selection:
        chunks = self.chunks_of(tensors, self.blocks.chunks)
        return Selection(chunks, self.rows_that_move(tensors))

    def _select(self, selection: Selection) -> None:
        self._chunks, self.moving = selection

    def _run(self, threads: int) -> None:
        tables = (self._chunks, self.pointers, self.scalars, self.updates)
        self._kernel(len(self._chunks), *(table.ctypes.data for table in tables))


def _compile(name: str, program: Program, formats: tuple[Format, ...]) -> Callable[..., Any]:
    """Compile a program; its source and its library stay in the cache folder."""
    text = source(program, formats)
    place, trouble = cache.prepare()
    if trouble:
        raise ThalwegError(f"no place for a kernel in C: {trouble}")
    plain = re.sub(r"[^A-Za-z0-9-]+", "_", name)[-60:]
    file = place / f"{plain}-{sha256(text.encode()).hexdigest()[:16]}.c"
    if trouble := cache.keep(file, text.encode()):
        raise ThalwegError(f"no place for a kernel in C: {trouble}")
    library = file.with_suffix(".so")
    if not library.exists():
        with replacing(library) as draft:
            command = [*_COMMAND, str(file), "-o", str(draft), "-lm"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise ThalwegError(f"cc cannot compile {file}: {done.stderr.strip()}")
    kernel = ctypes.CDLL(str(library)).kernel
    kernel.argtypes, kernel.restype = _ARGUMENTS, None
    return kernel


KERNELS = KernelCache(_compile)
