"""What is told how a race goes."""

from __future__ import annotations

import logging
import sys
from typing import Protocol

_LOG = logging.getLogger("thalweg")


class Watcher(Protocol):
    """Is told how a race goes; the command line draws it."""

    def stage(self, text: str, run_steps: int = 0, later: int = 0) -> None:
        """A stage begins, with this many run-steps to do, and about so many after it."""

    def advance(self, run_steps: int) -> None:
        """This many were done."""

    def say(self, text: str) -> None:
        """Something worth a line happened."""


class Silence:
    """Watches and says nothing."""

    def stage(self, text: str, run_steps: int = 0, later: int = 0) -> None:
        """Nothing."""

    def advance(self, run_steps: int) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""


class Log:
    """Writes what was decided about a race where no terminal shows it.

    It goes to the logger `thalweg`, at level INFO, and to stderr where that level is not logged.
    Stages go to the logger alone.
    """

    def stage(self, text: str, run_steps: int = 0, later: int = 0) -> None:
        """A stage begins."""
        _LOG.info(text)

    def advance(self, run_steps: int) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Something worth a line happened."""
        if _LOG.isEnabledFor(logging.INFO) and _LOG.hasHandlers():
            _LOG.info(text)
        else:
            print(text, file=sys.stderr)
