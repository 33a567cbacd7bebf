"""The page of `thalweg play` in a browser."""

from __future__ import annotations

from .base import recorded, source


def play() -> str:
    """How long the page takes to compute its paths anew."""
    found = recorded("play")
    rows = found["rows"]
    fastest, slowest = (pick(rows, key=lambda row: row["milliseconds"]) for pick in (min, max))
    return (
        f"The paths of {len(found['rules'])} rules over {found['steps']:,} steps are computed anew "
        f"in {fastest['milliseconds']:.1f} to {slowest['milliseconds']:.1f} ms, by surface "
        f"({found['browser'].partition(' built')[0]}). {source('play')}"
    )
