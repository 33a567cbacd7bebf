"""The folder of compiled kernels: the user's own, to which no other user can write."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from ..atomic import replacing

# A source or machine code by the digest in its name; and the draft of one, which `replacing` makes.
_FILE = re.compile(r"[A-Za-z0-9_-]+-[0-9a-f]{16}\.(?:py|o)")
_DRAFT = re.compile(rf"\.{_FILE.pattern}\.[0-9a-f]{{8}}")
_ABANDONED = 3600.0  # seconds after which a draft is one that a crash left behind


def folder() -> Path:
    """The folder of compiled kernels: $THALWEG_CACHE, else thalweg/ in the user's cache folder.

    Raises:
        RuntimeError: the user has no home folder.
    """
    if chosen := os.environ.get("THALWEG_CACHE"):
        return Path(chosen).expanduser().absolute()
    general = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(general) if general.startswith("/") else Path.home() / ".cache"
    return home / "thalweg"


def prepare() -> tuple[Path, str]:
    """Make the folder, private to the user, if it is not there.

    Returns:
        The folder; and why it cannot be used, empty if it can.
    """
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


def keep(path: Path, content: bytes) -> str:
    """Write a file unless it holds this already; a reader finds it whole at any moment.

    Returns:
        Why it could not be written; empty if it was.
    """
    try:
        if path.exists() and path.read_bytes() == content:
            return ""
        with replacing(path) as draft:
            draft.write_bytes(content)
    except OSError as error:
        return f"{error.strerror}: {path.parent}"
    return ""


def files() -> Iterator[Path]:
    """The files in the folder that this package wrote: kernels, and drafts left by a crash.

    Raises:
        RuntimeError: the user has no home folder.
        OSError: the folder cannot be read.
    """
    place = folder()
    if not place.is_dir():
        return
    for path in sorted(place.iterdir()):
        if path.is_file() and (
            _FILE.fullmatch(path.name) or (_DRAFT.fullmatch(path.name) and _is_abandoned(path))
        ):
            yield path


def clear() -> tuple[int, int]:
    """Remove these files: how many, and how many bytes they had.

    A program that uses a kernel has it in memory, and one that looks for it compiles it anew.

    Raises:
        RuntimeError, OSError: as for `files`, or one cannot be removed.
    """
    removed = freed = 0
    for path in files():
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            continue  # another process cleared it
        removed, freed = removed + 1, freed + size
    return removed, freed


def _is_abandoned(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > _ABANDONED
    except FileNotFoundError:
        return False
