"""The looks of optimizers as classes of a page's style sheet: those of the figures in files."""

from __future__ import annotations

from collections.abc import Iterable

from ..plotting import LOOKS, Look, looks

_WIDTH = 1.9  # px, of the lines whose dashes these are


def style_sheet() -> str:
    """A class per colour, in both themes, and one per dash."""
    colours = {look.colour: look for look in LOOKS}
    dashes = {look.pattern: look.dash for look in LOOKS}
    return "\n".join(
        [
            *(f".c{k}{{--c:light-dark({x.light},{x.dark})}}" for k, x in colours.items()),
            *(
                f".d{k}{{stroke-dasharray:{' '.join(f'{_WIDTH * part:g}' for part in dash)}}}"
                for k, dash in dashes.items()
                if dash
            ),
        ]
    )


def classes(names: Iterable[str]) -> list[str]:
    """The classes of every optimizer of a page, as `c2 d1`."""
    listed = list(names)
    found = looks(listed)
    return [_classes(found[name]) for name in listed]


def series() -> list[str]:
    """The classes of lines that are no optimizers, by number."""
    return [_classes(look) for look in LOOKS]


def _classes(look: Look) -> str:
    return f"c{look.colour} d{look.pattern}" if look.pattern else f"c{look.colour}"
