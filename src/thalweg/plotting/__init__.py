"""The common parts of all figures: line styles, names at the ends of lines, writing to files."""

from __future__ import annotations

from .files import FORMATS, check_file, new_figure, save
from .films import FILMS, PATH, check_film, save_film
from .labels import END, LINE, End, height_for, label_curves, label_points, safe, spread
from .styles import LOOKS, Look, looks, numbered, style

__all__ = [
    "END",
    "FILMS",
    "FORMATS",
    "LINE",
    "LOOKS",
    "PATH",
    "End",
    "Look",
    "check_file",
    "check_film",
    "height_for",
    "label_curves",
    "label_points",
    "looks",
    "new_figure",
    "numbered",
    "safe",
    "save",
    "save_film",
    "spread",
    "style",
]
