"""The page of `thalweg play` in a browser."""

from __future__ import annotations

from .base import recorded, source


def play() -> str:
    """How long the page takes to compute its paths anew, to draw them, and to play them."""
    found = recorded("play")
    rows = found["rows"]
    fastest, slowest = (pick(rows, key=lambda row: row["milliseconds"]) for pick in (min, max))
    drawn = {row["view"]: row["slider"] for row in found["page"]}
    frames = {row["view"]: row["frame"] for row in found["page"]}
    browser = found["browser"].partition(" built")[0]
    return (
        f"The paths of {len(found['rules'])} rules over {found['steps']:,} steps are computed anew "
        f"in {fastest['milliseconds']:.1f} to {slowest['milliseconds']:.1f} ms, by surface "
        f"({browser}). The whole page, with map, charts and formula, is then drawn anew in "
        f"{drawn['map']:.0f} ms, and in three dimensions in {drawn['3d']:.0f} ms; while it plays "
        f"there is a frame every {frames['map']:.1f} and {frames['3d']:.1f} ms. "
        f"{source('play')}"
    )
