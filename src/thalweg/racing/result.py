"""A finished race, as `race` returns it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import frames
from ..records import (
    RaceDocument,
    RunRecord,
    Store,
    check_folder,
    check_unfinished,
    to_plain,
    write_json,
)
from ..report import pages, terminal
from ..report.folders import Folder, Found
from . import notebook

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@dataclass(repr=False)
class Race:
    """A finished race.

    Attributes:
        result: everything that was found; the report is drawn from it.
        runs: the record of every run, by the identities in the result.
        pages: the report that was written into the folder of the race, if it has one.
    """

    result: RaceDocument
    runs: Mapping[str, RunRecord] = field(default_factory=dict)
    pages: list[Path] = field(default_factory=list)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The result as plain data: what `--json` prints."""
        return to_plain(self.result)

    @cached_property
    def records(self) -> dict[str, dict[str, Any]]:
        """The records of the runs as plain data."""
        return {identity: to_plain(record) for identity, record in self.runs.items()}

    @property
    def best(self) -> list[str]:
        """The optimizers that tie for first; none where nothing trained or seeds cannot tell."""
        return list(self.result.verdict.best)

    @property
    def optimizers(self) -> list[dict[str, Any]]:
        """One entry per optimizer, the best first."""
        return list(self.document["optimizers"])

    def to_frame(self) -> pd.DataFrame:
        """A pandas frame with a row per run; docs/report.md describes its columns.

        Raises:
            ThalwegError: pandas is not installed.
        """
        return frames.frame(frames.rows(self.result, self.runs))

    def report(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the report, one HTML page that needs nothing else.

        Args:
            path: the file, as report.html.
            overwrite: replace a file that is no page of ours.

        Raises:
            UsageError: there is no such folder, or something else at `path`.
        """
        return self._write_page(Path(path), overwrite)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write the race as `out` does: its document, the records of its runs, its report.

        The same call of `race` with `out=folder` then trains nothing again.

        Args:
            folder: is made where there is none.
            overwrite: replace another task's race there.

        Raises:
            UsageError: the folder holds another task's race.
            ThalwegError: something cannot be written.
        """
        place, task = Path(folder), self.result.task
        check_folder(place, [task], overwrite=overwrite)
        pages.check(place / "report.html", overwrite=overwrite)
        store = Store(place / "records")
        check_unfinished(store, task, overwrite=overwrite)
        missing = set(store.missing(list(self.runs)))
        if missing:
            store.add({i: to_plain(record) for i, record in self.runs.items() if i in missing})
        write_json(place / "race.json", to_plain(self.result))
        self._write_page(place / "report.html", overwrite)
        return place

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the metric that judges over the steps, with its 95 % band, for every optimizer.

        Args:
            ax: matplotlib's, to draw on; a new one by default.

        Raises:
            UsageError: matplotlib is not installed.
        """
        from ..report.pictures.courses import judging_metric

        return judging_metric(self.result, ax)

    def found_in(self, folder: Path) -> Found:
        """The race as the report reads it.

        Args:
            folder: in which it lies.
        """
        return Found(folder, self.result, self.runs)

    def _write_page(self, page: Path, overwrite: bool) -> Path:
        (written,) = pages.write(Folder([self.found_in(page.parent)]), page, overwrite=overwrite)
        return written

    def __str__(self) -> str:
        return terminal.table(self.result)

    def __repr__(self) -> str:
        setting, count = self.result.setting, len(self.result.optimizers)
        first = f"first: {', '.join(self.best)}" if self.best else "no ranks"
        return f"<Race {self.result.task!r}: {count} optimizers, {setting.seeds} seeds; {first}>"

    def _repr_html_(self) -> str:
        return notebook.html(self.result)
