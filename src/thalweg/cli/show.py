"""What a race looks like in a terminal: progress while it runs, a table when it is over."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

_NARROWEST = 100  # columns: below this the table wraps instead of losing what it says


class Progress:
    """Follows a race: bars on a terminal, a line per stage elsewhere.

    Args:
        stream: where to; a terminal or not.
    """

    def __init__(self, stream: TextIO) -> None:
        self.console = Console(file=stream)
        self.live = self.console.is_terminal
        self.bars = Bars(
            TextColumn("{task.description:<34}"),
            BarColumn(32),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.live,
        )
        self.current: TaskID | None = None

    def __enter__(self) -> Progress:
        self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bars.stop()

    def stage(self, text: str, run_steps: int) -> None:
        """A stage begins, with this many run-steps to do."""
        if self.live:
            if self.current is not None:
                self.bars.remove_task(self.current)
            self.current = self.bars.add_task(text, total=run_steps or None)
        elif run_steps:
            self.console.print(f"{text}: {run_steps:,} steps of runs", highlight=False)

    def advance(self, run_steps: int) -> None:
        """This many were done."""
        if self.current is not None:
            self.bars.advance(self.current, run_steps)

    def say(self, text: str) -> None:
        """Something worth a line happened."""
        self.console.print(text, highlight=False, style="dim", markup=False)


def table(document: Mapping[str, Any]) -> str:
    """The race as a table with its verdict, as wide as the terminal.

    Args:
        document: of the schema `thalweg.race/1`.
    """
    metric = document["setting"]["metric"]["name"]
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    found.add_column("rank", justify="right")
    found.add_column("optimizer", no_wrap=True)
    for heading in ("learning rate", "good range", f"validation {metric}", f"test {metric}",
                    "steps to target", "diverged", "ms/step"):  # fmt: skip
        found.add_column(heading, justify="right")
    for entry in document["optimizers"]:
        found.add_row(*_row(entry, document), style="bold" if entry["tied"] else "")
    console = Console(
        file=io.StringIO(),
        width=max(_NARROWEST, shutil.get_terminal_size((120, 24)).columns),
        force_terminal=False,
    )
    console.print(found)
    console.print(document["verdict"]["sentence"], markup=False, highlight=False)
    if document["verdict"]["code"]:
        console.print(f"\n    {document['verdict']['code']}\n", markup=False, highlight=False)
    runs, seconds = document["runs"], document["seconds"]
    console.print(f"{runs:,} runs in {seconds:.0f} s; {document['setting']['executor']}",
                  markup=False, highlight=False)  # fmt: skip
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return stream.getvalue().strip("\n")


def _row(entry: Mapping[str, Any], document: Mapping[str, Any]) -> list[str]:
    tied = entry["tied"] and len(document["verdict"]["best"]) > 1
    good = entry["good_range"]
    steps = entry["steps_to_target"]
    return [
        f"{entry['rank']}{'=' if tied else ''}",
        entry["name"],
        f"{entry['learning_rate']:g}{' (edge)' if entry['edge'] else ''}",
        "–" if good is None else f"{good['decades']:.1f} decades",
        _plus_minus(entry["validation"]),
        _plus_minus(entry["test"]),
        "never" if steps is None else f"{steps:g}",
        f"{100 * entry['diverged']:.0f} %",
        f"{entry['ms_per_step']:.2f}",
    ]


def _plus_minus(interval: Mapping[str, float | None]) -> str:
    mean, low, high = interval["mean"], interval["low"], interval["high"]
    if mean is None or low is None or high is None:
        return "–"
    return f"{mean:.4g} ± {(high - low) / 2:.1g}"
