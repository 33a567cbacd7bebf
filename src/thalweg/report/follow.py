"""A race's page while it runs: a process of its own draws it from the records, again and again.

`python -P -m thalweg.report.follow FOLDER PAGE` reads what the race says on stdin, a JSON object a
line (`stage`, `done`, `total`, `note`, `finished`), until the race closes it or is gone. It runs at
the lowest priority and rests twenty times as long as a drawing took.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .. import frames
from ..errors import ThalwegError
from ..records import Store
from ..records import write_to as put
from . import html, text, unfinished

REFRESH = 5
"""Seconds after which a browser reads the page again."""
_RESTS = 20  # times as long as a drawing took
_NOTES = 5  # lines of the race's that are shown
_CHUNK = 2**16  # bytes read at once


class Live(NamedTuple):
    """What a live page says of the race.

    Attributes:
        stage: what it does.
        percent: how much of it is done; None where that is not known.
        left: about how long it will take.
        notes: the last lines that it said.
        refresh: seconds after which a browser reads the page again; 0 for a race that has ended.
        title: of the page while there is no run to show.
    """

    stage: str
    percent: float | None = None
    left: str = ""
    notes: tuple[str, ...] = ()
    refresh: int = REFRESH
    title: str = "race"


@dataclass
class Heard:
    """What the race has said so far."""

    stage: str = "starting"
    done: int = 0
    total: int = 0
    notes: list[str] = field(default_factory=list)
    finished: bool = False
    started: float = field(default_factory=time.monotonic)
    rest: bytes = b""

    def take(self, data: bytes) -> None:
        """Understand what was read; a line that is not yet whole waits for the rest of it."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "note" in said:
                self.notes = [*self.notes, said["note"]][-_NOTES:]
            self.stage = said.get("stage", self.stage)
            self.done, self.total = said.get("done", self.done), said.get("total", self.total)
            self.finished = said.get("finished", self.finished)

    def live(self, title: str) -> Live:
        """The same for the page."""
        share = self.done / self.total if self.total else None
        left = ""
        if share:
            seconds = (time.monotonic() - self.started) * (1 / share - 1)
            left = f"about {text.duration(max(0.0, seconds))} left"
        percent = None if share is None else 100 * min(1.0, share)
        return Live(self.stage, percent, left, tuple(self.notes), title=title)


def follow(folder: Path, page: Path, source: int) -> None:
    """Draw the page until the race ends; it is replaced whole each time.

    A finished race draws its own page then.

    Args:
        folder: of the race.
        page: the file.
        source: descriptor that the race writes to.

    Raises:
        ThalwegError: the page cannot be written.
    """
    heard, drawn, due = Heard(), "", 0.0
    while True:
        state = f"{heard} {_recorded(folder)}"
        if state != drawn and time.monotonic() >= due:
            began = time.monotonic()
            _draw(folder, page, heard.live(folder.name))
            drawn = state
            due = time.monotonic() + max(REFRESH / 2, _RESTS * (time.monotonic() - began))
        if select.select([source], [], [], 1.0)[0]:
            data = os.read(source, _CHUNK)
            if not data:
                break
            heard.take(data)
            time.sleep(0.2)  # a race says much at once
    if not heard.finished:
        ended = "The race has ended before it was finished; the same command goes on from here."
        _draw(folder, page, heard.live(folder.name)._replace(stage=ended, left="", refresh=0))


def _recorded(folder: Path) -> int:
    """How many files of records there are."""
    try:
        return sum(1 for _ in os.scandir(folder / "records"))
    except FileNotFoundError:
        return 0


def _draw(folder: Path, page: Path, live: Live) -> None:
    """Draw the race as far as its records tell, or only what it says where there are none."""
    runs = frames.runs(None, (store := Store(folder / "records")).runs)
    if not runs:
        put(page, html.waiting(live))
        return
    runs = [each for each in runs if each.run.task == runs[-1].run.task]
    html.write(unfinished.document(runs), page, store.runs, live=live)


def main() -> int:
    """Follow the race that started this process; errors go to stderr, which the race reads."""
    os.nice(19)
    folder, page = map(Path, sys.argv[1:])
    try:
        follow(folder, page, sys.stdin.fileno())
    except ThalwegError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
