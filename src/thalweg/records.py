"""What runs leave on disk: one file per finished group, complete or not there at all."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import pickle
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import ThalwegError

SCHEMA = 1
_DRAFT = re.compile(r"\.[0-9a-f]{24}\.json\.\w{8}")
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)  # says a file system
_PATIENCE = 30  # seconds that a file may need to appear on another machine
_STALE = 24 * 3600  # seconds after which nobody goes on writing a draft


def identity(parts: Mapping[str, Any]) -> str:
    """The digest that names what was run; equal parts give equal names in every process."""
    return hashlib.sha256(json.dumps(plain(parts), sort_keys=True).encode()).hexdigest()[:24]


def plain(value: Any) -> Any:
    """The value as JSON can hold it: numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write(path: Path, text: str, *, first: bool = False) -> None:
    """Put a text in place at once: readers find the old file or the new one, never a part.

    Args:
        path: where; what is no plain file, as /dev/stdout, is written to and not replaced.
        text: what.
        first: leave a file alone that is there.

    Raises:
        ThalwegError: the disk is full or the folder cannot be written; nothing has changed.
    """
    draft = None
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_text(text, encoding="utf-8", errors="replace")
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        draft = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(0o666 & ~_umask())  # a temporary file is private; its result need not be
        if first:
            _link(draft, path)
            draft.unlink(missing_ok=True)
        else:
            draft.replace(path)
    except OSError as error:
        if draft is not None:
            draft.unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise ThalwegError(f"cannot write {path}: {reason}; what was there is unharmed") from error
    except BaseException:
        if draft is not None:
            draft.unlink(missing_ok=True)
        raise


def _link(draft: Path, path: Path) -> None:
    """Have a path name a draft unless it names something: the first of several who try does."""
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if not path.exists():  # of two who come in the same instant the second decides
            draft.replace(path)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Put a JSON document in place at once; numbers that are not finite become null."""
    write(path, _text(document))


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(plain(document), separators=(",", ":"), allow_nan=False) + "\n"


def settle(path: Path, document: Mapping[str, Any]) -> None:
    """Put a JSON document in place unless there is one: of several processes the first decides.

    Raises:
        ThalwegError: it cannot be written; nothing has changed.
    """
    write(path, _text(document), first=True)


def keep(folder: Path, results: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write the record file of a finished group; written twice, it is the same file.

    Args:
        folder: where it goes.
        results: of the group's runs, by their identities.

    Raises:
        ThalwegError: it cannot be written; nothing has changed.
    """
    runs = plain(results)
    path = folder / f"{identity({'runs': sorted(runs)})}.json"
    write_json(path, {"schema": SCHEMA, "digest": identity(runs), "runs": runs})
    return path


class _Compact(MutableMapping[str, Mapping[str, Any]]):
    """Records by identity, held as bytes: as Python's numbers they would take four times as much.

    A race of 100,000 runs has tens of millions of numbers.
    """

    def __init__(self) -> None:
        self._held: dict[str, bytes] = {}

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = pickle.loads(self._held[name])
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._held

    def __setitem__(self, name: str, record: Mapping[str, Any]) -> None:
        self._held[name] = pickle.dumps(record, pickle.HIGHEST_PROTOCOL)

    def __delitem__(self, name: str) -> None:
        del self._held[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)


class Store:
    """The finished runs in a folder.

    Args:
        folder: where the record files are, or will be; None keeps them in memory.

    Attributes:
        found: what every finished run left behind, by its identity.
        damaged: files that are no records, or that something has harmed; they are left alone.

    Raises:
        ThalwegError: the folder cannot be read, or a record was written by a newer version.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.found: MutableMapping[str, Mapping[str, Any]] = _Compact()
        self.damaged: list[Path] = []
        if folder is not None and folder.exists():
            if not folder.is_dir():
                raise ThalwegError(f"{folder} is a file; records need a folder")
            for path in sorted(folder.glob("*.json")):
                self._read(path)
            self._tidy()

    def _tidy(self) -> None:
        """Remove the drafts of processes that were killed as they wrote."""
        for path in self.folder.iterdir() if self.folder else ():
            if _DRAFT.fullmatch(path.name):
                with suppress(OSError):  # another process tidies too
                    if time.time() - path.stat().st_mtime > _STALE:
                        path.unlink()

    def _read(self, path: Path) -> None:
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return  # deleted since the folder was listed
        except OSError as error:
            raise ThalwegError(f"cannot read {path}: {error.strerror or error}") from error
        except (ValueError, RecursionError):
            document = None
        given: dict[str, Any] = document if isinstance(document, dict) else {}
        schema, runs = given.get("schema"), given.get("runs")
        if isinstance(schema, int) and schema > SCHEMA:
            raise ThalwegError(
                f"{path} was written by a newer thalweg (record schema {schema}, this one reads "
                f"up to {SCHEMA}); upgrade, or choose another --out"
            )
        if isinstance(runs, dict) and given.get("digest") == identity(runs):
            self.found.update(runs)
        else:
            self.damaged.append(path)

    def add(self, results: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep the results of a finished group under their identities.

        Raises:
            ThalwegError: they cannot be written.
        """
        # In memory they look as they would after being read back.
        runs = plain(results)
        if self.folder is not None:
            keep(self.folder, runs)
        self.found.update(runs)

    def take(self, path: Path) -> None:
        """Know of a record file that another process wrote into a folder that both see.

        Raises:
            ThalwegError: it is not there, or harmed; a network's folder gets time to show it.
        """
        until = time.monotonic() + _PATIENCE
        while not path.exists() and time.monotonic() < until:
            time.sleep(0.1)
        known = len(self.damaged)
        self._read(path)
        if len(self.damaged) > known or not path.exists():
            raise ThalwegError(
                f"{path} was written by another machine and cannot be read here; all of them must "
                "see the folder under this path"
            )

    def missing(self, identities: Sequence[str]) -> list[str]:
        """Those of the runs that are not finished."""
        return [i for i in identities if i not in self.found]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
