"""The pages of what is in folders: one per race, one for several, and lists of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from ..errors import UsageError
from ..records import read_head
from . import across, comparison, html, index
from .folders import Folder, Found

# In the head of every page; older ones have the other instead.
_MARKS = (b'<meta name="generator" content="thalweg">', b'<span class="brand">thalweg <span>race')
_HEAD = 2**16  # bytes within which they stand


def check(page: Path, *, overwrite: bool = False) -> None:
    """Refuse to replace a file that is no page of ours.

    Args:
        page: the file that is to be made or replaced; pipes and devices are written to.
        overwrite: whether it may be replaced all the same.

    Raises:
        UsageError: it is something else.
        ThalwegError: it cannot be read.
    """
    if overwrite or not page.is_file() or not page.stat().st_size:
        return
    head = read_head(page, _HEAD)
    if not any(mark in head for mark in _MARKS):
        raise UsageError(
            f"{page} is no page of thalweg's and is left as it is; move it, or replace it with "
            "--overwrite"
        )


def write(found: Folder, page: Path, *, overwrite: bool = False) -> list[Path]:
    """Write the pages.

    Args:
        found: from `folders.read`.
        page: the file of the one race, of what several say together, or of the list of those in a
            folder; the page of each of these is report.html in its own folder.
        overwrite: replace files that are no pages of ours.

    Returns:
        The files, the one that was named first.

    Raises:
        UsageError: the folder of `page` is missing, or a file there is no page of ours.
    """
    alone = len(found.races) == 1 and found.together is None and not found.inside
    _check_place(page)
    for file in [page] if alone else [page, *map(_page, found.races)]:
        check(file, overwrite=overwrite)
    if alone:
        (race,) = found.races
        html.write(race.document, page, race.records)
        return [page]
    if found.inside:
        return _listed(found, page, overwrite=overwrite)
    written, addresses = [], {}
    for race in found.races:
        own = _page(race)
        html.write(race.document, own, race.records)
        written.append(own)
        addresses[race.document.task] = _address(own, page)
    if found.together is not None:
        across.write(found.together, page, addresses)
        written.insert(0, page)
    return written


def _listed(found: Folder, page: Path, *, overwrite: bool) -> list[Path]:
    """Write the page of everything in a folder of folders, and the list of them."""
    written, entries = [], []
    for place, each in found.inside:
        if isinstance(each, str):
            entries.append(index.not_shown(place.name, each))
            continue
        own = place / ("index.html" if each.inside else "report.html")
        written += write(each, own, overwrite=overwrite)
        address = _address(own, page)
        if each.together is not None:
            entries.append(index.entry(place.name, address, each.together, done=True))
        else:
            entries += [
                index.entry(
                    _label(place, race), _address(_page(race), page), race.document, race.finished
                )
                for race in each.races
            ]
    index.write(entries, page.parent.resolve().name, page)
    return [page, *written]


def _label(place: Path, race: Found) -> str:
    """A race's folder, as seen from the folder that holds `place`."""
    return os.path.relpath(race.folder, place.parent).replace(os.sep, "/")


def compare(races: Sequence[Found], page: Path, *, overwrite: bool = False) -> Path:
    """Write the page of several races side by side.

    Args:
        races: two or more, from `folders.read_several`.
        page: the file.
        overwrite: replace a file that is no page of ours.

    Returns:
        The file.

    Raises:
        UsageError: its folder is missing, or a file there is no page of ours.
    """
    _check_place(page)
    check(page, overwrite=overwrite)
    names = comparison.named([race.folder for race in races])
    sides = [
        comparison.Side(
            name,
            race.document,
            race.notes,
            _address(_page(race), page) if _page(race).is_file() else "",
        )
        for name, race in zip(names, races, strict=True)
    ]
    comparison.write(sides, page)
    return page


def _check_place(page: Path) -> None:
    if not page.parent.is_dir():
        raise UsageError(f"out={page}: there is no folder {page.parent}")
    if page.is_dir():
        raise UsageError(f"out={page} is a folder; name a file, as {page / 'report.html'}")


def _address(page: Path, seen_from: Path) -> str:
    """The relative address of a page."""
    return quote(os.path.relpath(page, seen_from.parent).replace(os.sep, "/"))


def _page(race: Found) -> Path:
    return race.folder / "report.html"
