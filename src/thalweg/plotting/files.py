"""Figures without a plotting backend, and writing them to files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..atomic import replacing
from ..errors import UsageError
from ..extras import needed

if TYPE_CHECKING:
    from matplotlib.figure import Figure


FORMATS = (".png", ".svg", ".pdf")
"""The endings of files that pictures are written to."""


def new_figure(**options: Any) -> Figure:
    """A figure that no plotting backend knows of, so that it is freed when it goes out of use.

    Args:
        **options: of `matplotlib.figure.Figure`.

    Raises:
        MissingPackage: matplotlib is not installed.
    """
    with needed("drawing a figure"):
        from matplotlib.figure import Figure
    return Figure(**options)


def check_file(
    file: str | os.PathLike[str], argument: str = "out", formats: Sequence[str] = FORMATS
) -> Path:
    """The path of a picture to be written, if its ending and its folder will do.

    Args:
        file: where to; the ending (.png, .svg, .pdf) says in which format.
        argument: what the person calls it, for the message.
        formats: the endings that will do.

    Raises:
        UsageError: the ending is no format, or the folder is missing or closed to writing.
        MissingPackage: matplotlib is not installed.
    """
    with needed("drawing a figure"):
        import matplotlib  # noqa: F401

    path = Path(file)
    if path.suffix.lower() not in formats:
        *first, last = formats
        raise UsageError(
            f"{argument}={str(file)!r} must end in a picture's format: {', '.join(first)} or {last}"
        )
    if path.is_dir():
        raise UsageError(f"{argument}={str(file)!r} is a folder; name a file")
    if not path.parent.is_dir():
        raise UsageError(f"{argument}={str(file)!r}: there is no folder {str(path.parent)!r}")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(
            f"{argument}={str(file)!r}: folder {str(path.parent)!r} cannot be written to"
        )
    return path


def save(figure: Figure, file: str | os.PathLike[str]) -> Path:
    """Write a figure; a file of that name is replaced at once or not at all.

    Args:
        figure: the figure.
        file: where to; the ending (.png, .svg, .pdf) says in which format.

    Returns:
        The file's path.

    Raises:
        UsageError: the ending is no format, or no file can be made there.
        OSError: writing failed on the way, as on a full disk; nothing is left behind.
    """
    path = check_file(file)
    kind = path.suffix.lstrip(".").lower()
    options: dict[str, Any] = {"pil_kwargs": {"compress_level": 9}} if kind == "png" else {}
    with replacing(path) as draft:
        try:
            stream = draft.open("xb")
        except OSError as error:
            raise UsageError(f"out={str(file)!r} cannot be written: {error.strerror}") from error
        with stream:
            figure.savefig(stream, format=kind, dpi=100, **options)
    return path
