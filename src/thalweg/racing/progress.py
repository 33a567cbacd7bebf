"""Progress of a race while it runs, in a terminal or a notebook."""

from __future__ import annotations

import sys
import time
import warnings
from importlib.util import find_spec
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from ..durations import clock


class _Console(Console):
    """One whose reader may leave: then it falls silent, and the race goes on."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


class _Left(ProgressColumn):
    """The time until the end of the whole race, at the pace of all of it so far."""

    def render(self, task: Task) -> Text:
        """The time as a clock shows it."""
        taken, done = task.fields.get("taken", 0.0), task.completed
        known = task.total is not None and done > 0 and taken > 0
        left = max(0.0, ((task.total or 0.0) - done) * taken / done) if known else None
        return Text(f"{clock(left)} left in all", style="progress.remaining")


class Progress:
    """Follows a race: one bar for the whole of it on a terminal, a line per stage elsewhere.

    A RuntimeWarning, as of a run that fails or a worker that died, is a line of it.

    Args:
        stream: where to; a terminal or not.
    """

    def __init__(self, stream: TextIO) -> None:
        self.console = _Console(file=stream)
        # In a notebook a bar is a widget, which needs a package of its own: lines do without.
        widgets = self.console.is_jupyter and find_spec("ipywidgets") is not None
        self.live = self.console.is_terminal or widgets
        self.bars = Bars(
            TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True)),
            BarColumn(24),
            TextColumn("{task.percentage:>3.0f} %"),
            _Left(),
            console=self.console,
            transient=True,
            expand=True,
            disable=not self.live,
        )
        self.warnings = warnings.catch_warnings()
        self.whole: TaskID | None = None
        self.done = 0
        self.training_since: float | None = None

    def __enter__(self) -> Progress:
        self.bars.start()
        self.warnings.__enter__()
        show = warnings.showwarning

        def say(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, RuntimeWarning):
                self.say(str(message))
            else:
                show(message, category, *place, **more)

        warnings.showwarning = say
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.warnings.__exit__(kind, error, trace)
        self.bars.stop()

    def stage(self, text: str, run_steps: int = 0, later: int = 0) -> None:
        """A stage begins, with this many run-steps to do, and about so many after it."""
        if not self.live:
            self.say(text)
            return
        if self.whole is None:
            self.whole = self.bars.add_task(text, total=None)
        if run_steps and self.training_since is None:
            self.training_since = time.monotonic()
        # Rounds that turn out not to be needed shorten the race.
        total = self.done + run_steps + later
        self.bars.update(self.whole, description=text, total=total or None)

    def advance(self, run_steps: int) -> None:
        """This many were done."""
        self.done += run_steps
        if self.whole is not None:
            taken = time.monotonic() - (self.training_since or time.monotonic())
            self.bars.update(self.whole, completed=self.done, taken=taken)

    def say(self, text: str) -> None:
        """Something worth a line happened."""
        self.console.print(text, highlight=False, style="dim", markup=False, soft_wrap=True)


def wanted() -> bool:
    """Whether somebody watches: a terminal or a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules
