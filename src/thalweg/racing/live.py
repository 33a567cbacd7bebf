"""A page that shows a race while it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from ..errors import UsageError
from ..report import pages
from .watcher import Watcher

_PAUSE = 1.0  # seconds between two reports of progress
_PATIENCE = 60.0  # seconds that the last drawing may take


class Live:
    """Tells a process of its own how a race goes, which draws the page from the records.

    That process has the lowest priority, and the race never waits for it: a line for which its pipe
    has no room is dropped.

    Args:
        watcher: is told the same.
        folder: of the race; the page is its report.html.
        overwrite: whether a file there may be replaced that is no page of ours.

    Raises:
        UsageError: there is no folder, or a file there is no page of ours.
    """

    def __init__(self, watcher: Watcher, folder: Path | None, *, overwrite: bool = False) -> None:
        if folder is None:
            raise UsageError("live=True shows the page in the race's folder; name one as out")
        self.watcher, self.folder = watcher, folder
        self.page = folder / "report.html"
        pages.check(self.page, overwrite=overwrite)
        self.done = self.total = 0
        self.due = 0.0

    def __enter__(self) -> Live:
        self.folder.mkdir(parents=True, exist_ok=True)
        # -P keeps files in the working folder from standing in for modules.
        command = [sys.executable, "-P", "-m", "thalweg.report.follow"]
        places = [str(self.folder.resolve()), str(self.page.resolve())]
        self.process = subprocess.Popen(
            [*command, *places],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the race, which then ends this one
        )
        assert self.process.stdin is not None
        self.pipe = self.process.stdin.fileno()
        os.set_blocking(self.pipe, False)
        self.watcher.say(f"live page: {self.page}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tell(finished=error is None)
        if error is not None:
            # It reads that the race is over and draws the last page; nothing waits for that.
            for pipe in (self.process.stdin, self.process.stderr):
                assert pipe is not None
                pipe.close()
            return
        try:
            _, said = self.process.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            _, said = self.process.communicate()
        if self.process.returncode:
            self.watcher.say(f"the live page could not be drawn: {said.decode().strip()[-500:]}")

    def stage(self, text: str, run_steps: int = 0, later: int = 0) -> None:
        """A stage begins, with this many run-steps to do, and about so many after it."""
        self.watcher.stage(text, run_steps, later)
        self.total = self.done + run_steps + later
        self._tell(stage=text, done=self.done, total=self.total)

    def advance(self, run_steps: int) -> None:
        """This many were done."""
        self.watcher.advance(run_steps)
        self.done += run_steps
        if time.monotonic() >= self.due:
            self.due = time.monotonic() + _PAUSE
            self._tell(done=self.done, total=self.total)

    def say(self, text: str) -> None:
        """Something worth a line happened."""
        self.watcher.say(text)
        self._tell(note=text)

    def _tell(self, **what: object) -> None:
        """Write a line, unless the pipe is full or its reader is gone."""
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self.pipe, json.dumps(what).encode() + b"\n")
