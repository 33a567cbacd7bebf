"""The page over a folder of races: what each was, what it found, and where its page is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .._version import __version__
from ..records import RaceDocument, RacesDocument
from ..records import write_to as put
from . import html, text


class Entry(NamedTuple):
    """A race in the folder, or what lies in its place.

    Attributes:
        name: of its folder.
        address: of its page, as seen from this one; empty where there is none.
        sentence: its verdict, or why it cannot be read.
        first: who is first or tied for first.
        facts: runs, time, date.
        state: `finished`, `unfinished` or `not shown`.
    """

    name: str
    address: str = ""
    sentence: str = ""
    first: str = ""
    facts: Sequence[str] = ()
    state: str = "finished"


def entry(name: str, address: str, document: RaceDocument | RacesDocument, done: bool) -> Entry:
    """A race, or a race of several tasks, as a line of the page."""
    seconds, date = document.seconds, (document.environment.date or "")[:10]
    facts = [
        f"{text.count(document.runs)} runs",
        *([text.duration(seconds)] if seconds is not None else []),
        *([date] if date else []),
    ]
    first = ", ".join(document.verdict.best) if isinstance(document, RaceDocument) else ""
    state = "finished" if done else "unfinished"
    return Entry(name, address, document.verdict.sentence, first, facts, state)


def not_shown(name: str, reason: str) -> Entry:
    """What cannot be read, as a line of the page."""
    return Entry(name, sentence=reason, state="not shown")


def write(entries: Sequence[Entry], title: str, path: Path) -> None:
    """Write the page.

    Args:
        entries: a line each.
        title: of the page, as the folder's name.
        path: the file to make or replace.

    Raises:
        ThalwegError: the page cannot be written.
    """
    put(path, render(entries, title))


def render(entries: Sequence[Entry], title: str) -> str:
    """The page as a string; see `write`."""
    return html.page(
        "index.html",
        ("index.js",),
        title=title,
        entries=entries,
        version=__version__,
        data=html.embedded({}),
        drawing=html.embedded({}),
    )
