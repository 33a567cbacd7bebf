"""The folder where kernels live: their sources, to read, and beside them their machine code."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
import warnings
from functools import cache
from importlib.metadata import version
from pathlib import Path

from ..._version import __version__
from . import native

_DIGEST = 32  # bytes of SHA-256 at the head of a file of machine code

_MAKERS = ("memory", "forms", "build")  # the modules that what is compiled depends on

# Settings of numba that change what it compiles.
_SETTINGS = ("CPU_NAME", "CPU_FEATURES", "ENABLE_AVX", "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE")


def folder() -> Path:
    """Where kernels are kept: $THALWEG_CACHE, else thalweg/ in the user's cache folder.

    Raises:
        RuntimeError: the user has no home folder.
    """
    if chosen := os.environ.get("THALWEG_CACHE"):
        return Path(chosen).expanduser().absolute()
    general = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(general) if general.startswith("/") else Path.home() / ".cache"
    return home / "thalweg"


def load(name: str, source: str) -> native.Kernel:
    """The kernel of a source: its machine code from the folder, else compiled now and kept.

    Args:
        name: the kernel's name, for its files.
        source: what to compile; nothing that is read from the folder is ever run as Python.

    A folder that cannot be used costs one warning and the compilation in every process; a file
    that a crash left damaged is made anew.
    """
    plain = re.sub(r"[^A-Za-z0-9-]+", "_", name).strip("_")[-60:]
    stem = f"{plain}-{_fingerprint(source)}"
    place, trouble = _prepare()
    code = None if trouble else _read(place / f"{stem}.o")
    if code is not None:
        _keep(place / f"{stem}.py", source.encode())
        return native.link(code)
    from .build import build  # numba takes long to import, and a kept kernel does without it

    if not trouble:
        trouble = _keep(place / f"{stem}.py", source.encode())
    kernel, code = build(source, f"<kernel {plain}>" if trouble else str(place / f"{stem}.py"))
    if code is not None and not trouble:
        trouble = _keep(place / f"{stem}.o", hashlib.sha256(code).digest() + code)
    if trouble:
        _warn_once(trouble)
    return kernel


def _read(path: Path) -> bytes | None:
    """The machine code in a file; None if there is none that is whole."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        content, damage = b"", str(error.strerror)
    else:
        damage = "damaged"
    digest, code = content[:_DIGEST], content[_DIGEST:]
    if hashlib.sha256(code).digest() == digest:
        return code
    warnings.warn(f"thalweg compiles {path} anew: {damage}", RuntimeWarning, stacklevel=2)
    return None


def _keep(path: Path, content: bytes) -> str:
    """Have the file hold this, complete at any moment whoever else writes it; what went wrong."""
    try:
        if path.exists() and path.read_bytes() == content:
            return ""
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(draft).replace(path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
    except OSError as error:
        return f"{error.strerror}: {path.parent}"
    return ""


def _prepare() -> tuple[Path, str]:
    """The folder, made private if it is new; and what is wrong with it, if anything is."""
    try:
        place = folder()
    except RuntimeError as error:
        return Path(), str(error)
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = place.stat()
    except OSError as error:
        return place, f"{error.strerror}: {place}"
    if hasattr(os, "getuid"):
        if found.st_uid not in (os.getuid(), 0):
            return place, f"{place} belongs to another user"
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return place, f"others may write to {place} (chmod 700 it)"
    return place, ""


@cache
def _fingerprint(source: str) -> str:
    """Changes with the source and with everything that turns it into machine code."""
    own = [Path(__file__).with_name(f"{name}.py").read_text() for name in _MAKERS]
    settings = [os.environ.get(f"NUMBA_{name}", "") for name in _SETTINGS]
    tools = [__version__, version("numba"), version("llvmlite"), native.machine()]
    parts = (source, *own, *settings, *tools)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@cache
def _warn_once(trouble: str) -> None:
    warnings.warn(
        f"thalweg compiles its kernels anew in every process: {trouble}. "
        "Set THALWEG_CACHE to a folder of your own.",
        RuntimeWarning,
        stacklevel=2,
    )
