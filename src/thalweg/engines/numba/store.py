"""The folder where kernels live: their sources, to read, and beside them their machine code."""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

from ..._version import __version__
from ..cache import folder, keep, prepare
from . import native

__all__ = ["folder", "load", "load_words"]

Made = tuple[native.Kernel, bytes | None]

_DIGEST = 32  # bytes at the head of a file of machine code: see `_seal`

# The modules that what is compiled depends on.
_MAKERS = (
    *("memory.py", "conversions.py", "build.py"),
    *("words/memory.py", "words/translate.py", "words/build.py"),
)

# Settings of numba that change what it compiles.
_SETTINGS = ("CPU_NAME", "CPU_FEATURES", "ENABLE_AVX", "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE")


def load(name: str, source: str) -> native.Kernel:
    """The kernel of a source: its machine code from the folder, else compiled now and kept.

    Args:
        name: the kernel's name, for its files.
        source: what to compile; nothing that is read from the folder is ever run as Python.

    A folder that cannot be used costs one warning and the compilation in every process; a file
    that a crash left damaged is made anew.
    """

    def make(file: str) -> Made:
        from .build import build  # numba takes long to import, and a kept kernel does without it

        return build(source, file)

    return _load(name, source, make)


def load_words(name: str, source: str, constants: Mapping[str, int]) -> native.Kernel:
    """The kernel of a source in the language of `words`, kept in the same way.

    Args:
        name: the kernel's name, for its files.
        source: what to compile, with an entry called "kernel".
        constants: what its names of integers mean.
    """

    def make(file: str) -> Made:
        from . import words

        return words.build(words.translate(source, constants, "kernel"))

    return _load(name, f"# {json.dumps(dict(constants))}\n{source}", make)


def _load(name: str, source: str, make: Callable[[str], Made]) -> native.Kernel:
    """The kernel from the folder, else made now, by a function of the file to name in messages."""
    plain = re.sub(r"[^A-Za-z0-9-]+", "_", name).strip("_")[-60:]
    stem = f"{plain}-{_fingerprint(source)}"
    place, trouble = prepare()
    code = None if trouble else _read(place / f"{stem}.o")
    if code is not None:
        keep(place / f"{stem}.py", source.encode())
        return native.link(code)
    if not trouble:
        trouble = keep(place / f"{stem}.py", source.encode())
    kernel, code = make(f"<kernel {plain}>" if trouble else str(place / f"{stem}.py"))
    if code is not None and not trouble:
        trouble = keep(place / f"{stem}.o", _seal(stem, code) + code)
    if trouble:
        _warn_once(trouble)
    return kernel


def _read(path: Path) -> bytes | None:
    """The machine code in a file; None if there is none that is whole and the file's own."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        content, damage = b"", str(error.strerror)
    else:
        damage = "damaged"
    digest, code = content[:_DIGEST], content[_DIGEST:]
    if _seal(path.stem, code) == digest:
        return code
    warnings.warn(f"thalweg compiles {path} anew: {damage}", RuntimeWarning, stacklevel=2)
    return None


def _seal(stem: str, code: bytes) -> bytes:
    """The SHA-256 of machine code and of what it is: a kernel renamed to another is not run."""
    return hashlib.sha256(stem.encode() + b"\0" + code).digest()


@cache
def _fingerprint(source: str) -> str:
    """Changes with the source and with everything that turns it into machine code."""
    own = [Path(__file__).parent.joinpath(name).read_text() for name in _MAKERS]
    settings = [os.environ.get(f"NUMBA_{name}", "") for name in _SETTINGS]
    tools = [__version__, version("numba"), version("llvmlite"), native.machine()]
    parts = ("sealed", source, *own, *settings, *tools)  # not those whose seal lacked the name
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@cache
def _warn_once(trouble: str) -> None:
    warnings.warn(
        f"thalweg compiles its kernels anew in every process: {trouble}. "
        "Set THALWEG_CACHE to a folder of your own.",
        RuntimeWarning,
        stacklevel=2,
    )
