"""What is in the folder of a race: its document, its records, or those of several races."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import frames
from ..errors import ThalwegError, UsageError
from ..records import Store
from . import unfinished

SEVERAL = "thalweg.races/1"


@dataclass(frozen=True)
class Found:
    """A race as it lies in a folder.

    Attributes:
        folder: its own.
        document: of the schema `thalweg.race/1`; of a race that is not finished, what its records
            tell.
        records: of its runs, by identity.
        notes: what a reader should know: that it is not finished, that files are damaged.
    """

    folder: Path
    document: Mapping[str, Any]
    records: Mapping[str, Mapping[str, Any]]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Folder:
    """Everything in a folder.

    Attributes:
        races: one, or several of the same optimizers on different tasks.
        together: what several say together, schema `thalweg.races/1`; None for one.
    """

    races: list[Found]
    together: Mapping[str, Any] | None = None


def read(folder: Path) -> Folder:
    """The race in a folder, or the races.

    Args:
        folder: what was given to `--out`.

    Raises:
        UsageError: there is no such folder, or no race in it.
        ThalwegError: what is there cannot be read, or is damaged.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}; name one that `thalweg race --out` wrote")
    document = _document(folder)
    if document is not None and document.get("schema") == SEVERAL:
        races = document.get("races")
        if not isinstance(races, list) or not all(isinstance(r, Mapping) for r in races):
            raise ThalwegError(f"{folder / 'race.json'} is damaged: it has no 'races'")
        places = {d.get("task"): p for p in _places(folder) if (d := _document(p)) is not None}
        return Folder([_found(places.get(r.get("task")), r, folder) for r in races], document)
    if document is not None or (folder / "records").is_dir():
        return Folder([_found(folder, document, folder)])
    places_there = _places(folder)
    if not places_there:
        raise UsageError(
            f"there is no race in {folder}: neither race.json nor records; give the folder that "
            "`thalweg race` named, as races/digits-mlp"
        )
    return Folder([_found(place, _document(place), place) for place in places_there])


def _places(folder: Path) -> list[Path]:
    """The folders of single races in a folder of several."""
    return sorted(
        p for p in folder.iterdir()
        if p.is_dir() and ((p / "race.json").is_file() or (p / "records").is_dir())
    )  # fmt: skip


def _document(folder: Path) -> dict[str, Any] | None:
    path = folder / "race.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ThalwegError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ThalwegError(
            f"{path} is damaged; delete it to see what the records tell, or give the same "
            "`thalweg race` command again, which runs only what is missing"
        ) from error
    if not isinstance(found, dict):
        raise ThalwegError(f"{path} is damaged: it holds no document")
    return found


def _found(place: Path | None, document: Mapping[str, Any] | None, folder: Path) -> Found:
    store = Store(None if place is None else place / "records")
    notes = [f"{path} is damaged or no record, and left out" for path in store.damaged]
    if document is None:
        runs = frames.runs(None, store.found)
        if not runs:
            raise UsageError(f"there is no finished run in {folder}; let the race run longer")
        document = unfinished.document(runs)
        notes.append(document["verdict"]["sentence"])
    else:
        known = document.get("record_ids", ())
        absent = sum(i not in store.found for i in known)
        if absent:
            notes.append(
                f"{document.get('task')}: {absent} of {len(known)} records are missing from "
                f"{place or folder}"
            )
    own = folder / re.sub(r"[^\w.=-]+", "-", str(document.get("task"))) if place is None else place
    return Found(own, document, store.found, notes)
