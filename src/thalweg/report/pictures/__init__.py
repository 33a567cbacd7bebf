"""A race's figures for papers and slides, as PNG and PDF files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...plotting import save
from ..folders import Folder, Found
from .courses import close_up, curves, diagnostics, expected_best, profile
from .outcomes import pairs, results
from .search import configurations, sensitivity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "close_up",
    "configurations",
    "curves",
    "diagnostics",
    "expected_best",
    "figures",
    "pairs",
    "profile",
    "results",
    "sensitivity",
    "write",
]


def write(folder: Folder, out: Path, formats: Sequence[str] = ("png", "pdf")) -> list[Path]:
    """Write every figure of a race, or of several.

    Args:
        folder: from `folders.read`.
        out: the folder for the files; made if it is missing. Of several races each has one in it.
        formats: endings of the files.

    Returns:
        The files.
    """
    written = []
    for race in folder.races:
        place = out if len(folder.races) == 1 else out / race.folder.name
        written += _save(place, figures(race), formats)
    if folder.together is not None:
        written += _save(out, [("profile", profile(folder.together))], formats)
    return written


def _save(
    out: Path,
    made: Sequence[tuple[str, Figure]] | Iterator[tuple[str, Figure]],
    formats: Sequence[str],
) -> list[Path]:
    out.mkdir(parents=True, exist_ok=True)
    return [save(figure, out / f"{name}.{kind}") for name, figure in made for kind in formats]


def figures(race: Found) -> Iterator[tuple[str, Figure]]:
    """The figures that a race has numbers for, with their names."""
    document = race.document
    drawings: dict[str, Callable[[], Figure | None]] = {
        "curves": lambda: curves(document),
        "curves_close_up": lambda: close_up(document),
        "sensitivity": lambda: sensitivity(document),
        "expected_best": lambda: expected_best(document),
        "results": lambda: results(document),
        "pairs": lambda: pairs(document),
        "configurations": lambda: configurations(document),
        "diagnostics": lambda: diagnostics(race),
    }
    for name, draw in drawings.items():
        figure = draw()
        if figure is not None:
            yield name, figure
