"""The folder where kernels live: their sources, to read, and beside them what numba compiled."""

from __future__ import annotations

import hashlib
import linecache
import os
import shutil
import stat
import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import llvmlite
import numba

from ..._version import __version__
from . import memory


def folder() -> Path:
    """Where kernels are kept: $THALWEG_CACHE, else thalweg/ in the user's cache folder."""
    if chosen := os.environ.get("THALWEG_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "thalweg"


def load(name: str, on_disk: str, in_memory: str) -> Any:
    """The compiled entry of a kernel, from the cache where it can be, else compiled now.

    Args:
        name: the kernel's name, for its file.
        on_disk: its source, for a kernel that numba may keep.
        in_memory: the same for one that it may not.

    A folder that cannot be used costs one warning and the compilation of every process; a file
    that another version or a crash left behind is rebuilt. No file's text is ever executed: the
    source runs from memory, the file is for reading and for numba to find its own.
    """
    home = folder() / f"{name}-{_fingerprint(on_disk)}"
    trouble = _prepare(home.parent)
    if not trouble:
        try:
            path = _write(home, on_disk)
        except OSError as error:
            trouble = f"{error.strerror}: {home}"
        else:
            try:
                return _execute(on_disk, path)
            except Exception as error:
                # A damaged entry must not cost the user a step; what is wrong with the kernel
                # itself will be raised again by this second attempt.
                warnings.warn(
                    f"thalweg rebuilds the kernel in {home}: {type(error).__name__}: {error}",
                    RuntimeWarning,
                    stacklevel=2,
                )
                shutil.rmtree(home, ignore_errors=True)
                return _execute(on_disk, _write(home, on_disk))
    _warn_once(trouble)
    path = Path(f"<thalweg kernel {name}>")
    linecache.cache[str(path)] = (len(in_memory), None, in_memory.splitlines(True), str(path))
    return _execute(in_memory, path)


def _execute(source: str, path: Path) -> Any:
    # numba finds a kept kernel's globals through its module's name.
    module = ModuleType(f"thalweg_kernels.{path.parent.name or path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    exec(compile(source, str(path), "exec"), module.__dict__)
    return module.kernel


def _write(home: Path, source: str) -> Path:
    """The source's file, complete at any moment whoever else is writing it."""
    path = home / "kernel.py"
    home.mkdir(mode=0o700, exist_ok=True)
    # numba looks at the time of change: an equal file must stay untouched.
    if path.exists() and path.read_text(encoding="utf-8", errors="replace") == source:
        return path
    handle, draft = tempfile.mkstemp(dir=home, suffix=".py.part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(source)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    return path


def _prepare(place: Path) -> str:
    """Make the folder private; what is wrong with it, if anything is."""
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = place.stat()
    except OSError as error:
        return f"{error.strerror}: {place}"
    if hasattr(os, "getuid") and found.st_uid not in (os.getuid(), 0):
        return f"{place} belongs to another user"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others may write to {place} (chmod 700 it)"
    if not os.access(place, os.W_OK):
        return f"{place} is read-only"
    return ""


@cache
def _fingerprint(source: str) -> str:
    """Changes with the source and with everything that compiles it."""
    parts = (source, Path(memory.__file__).read_text(), __version__, numba.__version__,
             llvmlite.__version__)  # fmt: skip
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@cache
def _warn_once(trouble: str) -> None:
    warnings.warn(
        f"thalweg compiles its kernels anew in every process: {trouble}. "
        "Set THALWEG_CACHE to a folder of your own.",
        RuntimeWarning,
        stacklevel=2,
    )
