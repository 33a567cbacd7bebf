"""What is in the folder of a race: its document, its records, or those of several races."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .. import frames
from ..errors import ThalwegError, UsageError
from ..records import (
    Damaged,
    RaceDocument,
    RacesDocument,
    RunRecord,
    Store,
    folder_name,
    read_race,
)
from . import unfinished


@dataclass(frozen=True)
class Found:
    """A race as it lies in a folder.

    Attributes:
        folder: its own.
        document: of the race; of one that is not finished, what its records tell.
        records: of its runs, by identity.
        notes: what a reader should know: that it is not finished, that files are damaged.
        finished: whether its document is that of a finished race.
    """

    folder: Path
    document: RaceDocument
    records: Mapping[str, RunRecord]
    notes: list[str] = field(default_factory=list)
    finished: bool = True


@dataclass(frozen=True)
class Folder:
    """Everything in a folder.

    Attributes:
        races: one, or several of the same optimizers on different tasks.
        together: what several say together; None for one.
        inside: of a folder that only holds folders of races, what is in each; a text says why one
            cannot be read.
    """

    races: list[Found]
    together: RacesDocument | None = None
    inside: list[tuple[Path, Folder | str]] = field(default_factory=list)


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
    if isinstance(document, RacesDocument):
        single = [(place, _document(place)) for place in _places(folder)]
        places = {d.task: place for place, d in single if isinstance(d, RaceDocument)}
        races = [_found(places.get(race.task), race, folder) for race in document.races]
        return Folder(races, document)
    if document is not None or (folder / "records").is_dir():
        return Folder([_found(folder, document, folder)])
    there = _places(folder)
    if not there:
        raise UsageError(
            f"there is no race in {folder}: neither race.json nor records; give the folder that "
            "`thalweg race` named, as races/digits-mlp"
        )
    inside = [(place, _tried(place)) for place in there]
    races = [race for _, each in inside if isinstance(each, Folder) for race in each.races]
    return Folder(races, inside=inside)


def read_several(places: Sequence[Path]) -> list[Found]:
    """The races in several folders, to be shown side by side.

    Args:
        places: two or more, of a race each.

    Raises:
        UsageError: one is no folder of a single race, or is named twice.
        ThalwegError: what is there cannot be read, or is damaged.
    """
    found = []
    known: set[Path] = set()
    for place in places:
        if place.resolve() in known:
            raise UsageError(f"{place} is named twice; name different races")
        known.add(place.resolve())
        races = read(place).races
        if len(races) != 1:
            raise UsageError(
                f"{place} holds {len(races)} races; name the folder of a single one, as "
                f"{place / (races[0].folder.name if races else 'digits-mlp')}"
            )
        found += races
    return found


def _tried(place: Path) -> Folder | str:
    """What is in a folder, or why it cannot be read."""
    try:
        return read(place)
    except ThalwegError as error:
        return str(error)


def _places(folder: Path) -> list[Path]:
    """The folders of single races in a folder of several."""
    return sorted(
        p
        for p in folder.iterdir()
        if p.is_dir() and ((p / "race.json").is_file() or (p / "records").is_dir())
    )


def _document(folder: Path) -> RaceDocument | RacesDocument | None:
    """The document in a folder, if there is one."""
    try:
        return read_race(folder / "race.json")
    except FileNotFoundError:
        return None
    except Damaged as error:
        raise ThalwegError(
            f"{error}; delete it to see what the records tell, or give the same `thalweg race` "
            "command again, which runs only what is missing"
        ) from error


def _found(place: Path | None, document: RaceDocument | None, folder: Path) -> Found:
    finished = document is not None
    store = Store(None if place is None else place / "records")
    notes = [f"{path} is damaged or no record, and left out" for path in store.damaged]
    if document is None:
        runs = frames.runs(None, store.runs)
        if not runs:
            raise UsageError(f"there is no finished run in {folder}; let the race run longer")
        task = runs[0].run.task
        others = {each.run.task for each in runs} - {task}
        runs = [each for each in runs if each.run.task == task]
        notes += [f"records of {other} are in the same folder, and left out" for other in others]
        document = unfinished.document(runs)
        notes.append(document.verdict.sentence)
    else:
        known = document.record_ids or []
        absent = sum(i not in store.runs for i in known)
        if absent:
            notes.append(
                f"{document.task}: {absent} of {len(known)} records are missing from "
                f"{place or folder}"
            )
    own = folder / folder_name(document.task) if place is None else place
    return Found(own, document, store.runs, notes, finished)
