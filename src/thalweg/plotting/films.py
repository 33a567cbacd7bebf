"""Figures whose lines grow, written as animations."""

from __future__ import annotations

import io
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..atomic import replacing
from ..errors import UsageError
from .files import check_file
from .labels import END

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILMS = (".gif", ".mp4")
"""The endings of files that animations are written to."""

PATH = "path"
"""The gid of the lines that grow; each has a point per step."""

_RATE = 20  # frames per second
_FRAMES = 100  # at most: of longer paths some steps are left out
_COLOURS = 256
_PAUSE = 20  # frames that the last one stays


def save_film(figure: Figure, file: str | os.PathLike[str], dpi: float = 80) -> Path:
    """Write a figure as an animation in which its lines grow from their first point to their last.

    Lines whose gid is `PATH` grow, each with its marker at its newest point; what has the gid `END`
    shows in the last frame, which stays. A file of that name is replaced at once or not at all.

    Args:
        figure: the figure; it is left as it was.
        file: where to; .gif, or .mp4 where ffmpeg is installed.
        dpi: pixels per inch.

    Returns:
        The file's path.

    Raises:
        UsageError: the ending is no animation's, no file can be made there, or ffmpeg is missing.
        OSError: writing failed on the way, as on a full disk; nothing is left behind.
    """
    path = check_film(file)
    import numpy as np
    from matplotlib import rc_context
    from matplotlib.animation import FFMpegWriter
    from matplotlib.lines import Line2D

    lines = [_Growing(a) for a in figure.findobj(Line2D) if a.get_gid() == PATH]
    ends = [artist for artist in figure.findobj() if artist.get_gid() == END]
    steps = max((line.count for line in lines), default=1)
    shown = np.unique(np.linspace(1, steps, min(steps, _FRAMES)).round().astype(int))
    writer: Any = _Gif() if path.suffix.lower() == ".gif" else FFMpegWriter(fps=_RATE)
    figure.draw_without_rendering()
    layout = figure.get_layout_engine()
    figure.set_layout_engine("none")  # panels stay where they are from frame to frame
    try:
        with tempfile.TemporaryDirectory() as folder, rc_context({"savefig.bbox": None}):
            draft = Path(folder) / f"film{path.suffix.lower()}"
            with writer.saving(figure, str(draft), dpi):
                for end in ends:
                    end.set_visible(False)
                for step in shown:
                    for line in lines:
                        line.show(int(step))
                    writer.grab_frame()
                for end in ends:
                    end.set_visible(True)
                for _ in range(1 if isinstance(writer, _Gif) else _PAUSE):
                    writer.grab_frame()
            with replacing(path) as beside:
                shutil.copyfile(draft, beside)
    finally:
        for line in lines:
            line.restore()
        for end in ends:
            end.set_visible(True)
        figure.set_layout_engine(layout)
    return path


def check_film(file: str | os.PathLike[str], argument: str = "out") -> Path:
    """The path of an animation to be written, if its ending, its folder and the programs will do.

    Args:
        file: where to; the ending (.gif, .mp4) says in which format.
        argument: what the person calls it, for the message.

    Raises:
        UsageError: the ending is no format, the folder is missing or closed to writing, or an .mp4
            is wanted and ffmpeg is not installed.
        MissingPackage: matplotlib is not installed.
    """
    path = check_file(file, argument, FILMS)
    if path.suffix.lower() == ".mp4":
        from matplotlib.animation import FFMpegWriter

        if not FFMpegWriter.isAvailable():
            raise UsageError(
                f"{argument}={str(file)!r} needs the program ffmpeg, which is not installed; "
                "install it, or write a .gif"
            )
    return path


class _Gif:
    """Writes frames as a GIF whose last frame stays for a while.

    matplotlib's writer gives every frame colours of its own, which drops those of thin lines and
    makes files several times as large, because what stands still changes its colour too.
    """

    @contextmanager
    def saving(self, figure: Figure, file: str, dpi: float) -> Iterator[None]:
        """Collect the frames that are grabbed inside, then write them."""
        self.figure, self.dpi = figure, dpi
        self.frames: list[Any] = []
        yield
        self._write(file)

    def grab_frame(self) -> None:
        """Draw the figure as it is now."""
        from PIL import Image

        stream = io.BytesIO()
        self.figure.savefig(stream, format="png", dpi=self.dpi)
        self.frames.append(Image.open(stream).convert("RGB"))

    def _write(self, file: str) -> None:
        from PIL import Image

        # The default method has no colours for what is small, as a thin line; without `kmeans`
        # large areas lose theirs.
        palette = self.frames[-1].quantize(_COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=2)
        plain = Image.Dither.NONE
        first, *rest = [f.quantize(palette=palette, dither=plain) for f in self.frames]
        durations = [1000 // _RATE] * len(rest) + [1000 * _PAUSE // _RATE]
        options = {"duration": durations, "loop": 0, "optimize": True}
        first.save(file, save_all=True, append_images=rest, **options)


class _Growing:
    """A line of which the first points are shown, on flat or on three-dimensional axes."""

    def __init__(self, line: Any) -> None:
        self.line = line
        self.solid = hasattr(line, "get_data_3d")
        self.data: Sequence[Any] = line.get_data_3d() if self.solid else line.get_data()
        self.every = line.get_markevery()

    @property
    def count(self) -> int:
        return len(self.data[0])

    def show(self, points: int) -> None:
        """Show that many points, and the marker at the last one that can be drawn."""
        self._set([d[:points] for d in self.data])
        drawn = [k for k in range(points) if all(math.isfinite(d[k]) for d in self.data)]
        self.line.set_markevery(drawn[-1:])

    def restore(self) -> None:
        self._set(self.data)
        self.line.set_markevery(self.every)

    def _set(self, data: Sequence[Any]) -> None:
        if self.solid:
            self.line.set_data_3d(*data)
        else:
            self.line.set_data(*data)
