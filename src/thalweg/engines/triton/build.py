"""The kernels of a source: functions that Triton compiles at their first launch."""

from __future__ import annotations

import hashlib
import linecache
import re
import warnings
from functools import cache
from typing import Any

from ..cache import keep, prepare


def build(name: str, source: str) -> dict[str, Any]:
    """The kernels by name.

    Args:
        name: the program's name, for the file to read.
        source: as `lift.source` writes it. It is run from memory, also where Triton asks for the
            text again; a file in the folder is never run.
    """
    plain = re.sub(r"[^A-Za-z0-9-]+", "_", name).strip("_")[-60:]
    stem = f"{plain}-gpu-{hashlib.sha256(source.encode()).hexdigest()[:16]}"
    place, trouble = prepare()
    if not trouble:
        trouble = keep(place / f"{stem}.py", source.encode())
    file = f"<kernels {stem}>" if trouble else str(place / f"{stem}.py")
    if trouble:
        _warn_once(trouble)
    # Without a time of change, the entry is never compared with the disk.
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    scope: dict[str, Any] = {"__name__": f"thalweg_kernels_{plain}"}
    exec(compile(source, file, "exec"), scope)
    return scope


@cache
def _warn_once(trouble: str) -> None:
    warnings.warn(
        f"thalweg keeps no sources of its GPU kernels: {trouble}. "
        "Set THALWEG_CACHE to a folder of your own.",
        RuntimeWarning,
        stacklevel=2,
    )
