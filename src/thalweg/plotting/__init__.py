"""The common parts of all figures: a line style for every optimizer, and writing to files."""

from __future__ import annotations

from .files import check_file, new_figure, save
from .styles import LOOKS, Look, looks, numbered, style

__all__ = ["LOOKS", "Look", "check_file", "looks", "new_figure", "numbered", "save", "style"]
