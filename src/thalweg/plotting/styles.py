"""The line style of every optimizer: the same on pages, in figures and in both themes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ..rules import registry

# On paper and on a dark screen. Any two of a column differ for readers with protanopia, with
# deuteranopia and with tritanopia too (by 0.10 or more in OKLab, after Machado et al. 2009), and
# each has a contrast of 3 or more against the page: tests/surfaces/test_styles.py computes both.
_COLOURS = (
    ("#1f1f1f", "#faebfe"),
    ("#ca2900", "#ff5335"),
    ("#3836be", "#3276e8"),
    ("#037b56", "#58f6ab"),
    ("#d43cde", "#c664a6"),
    ("#ab900e", "#f4ae3b"),
    ("#3f9898", "#51c4d0"),
    ("#6f3374", "#9e94ff"),
)
# Lengths of strokes and gaps, in line widths.
_DASHES: tuple[tuple[float, ...], ...] = (
    (),
    (4, 1.8),
    (1.2, 1.5),
    (6, 1.6, 1.2, 1.6),
    (9, 2.4),
    (4, 1.5, 1.2, 1.5, 1.2, 1.5),
)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")

# Rules that are often drawn together come first and differ in colour; so do families.
_OFTEN = (
    "sgd momentum adam adagrad rmsprop nesterov adadelta adamw "
    "lion nadam asgd radam lars amsgrad adamax lamb"
)
_FIRST = _OFTEN.split()


class Look(NamedTuple):
    """How an optimizer is drawn.

    Attributes:
        colour: its number among the colours.
        light: the colour on a light ground, as #rrggbb.
        dark: the colour on a dark ground.
        dash: lengths of strokes and gaps, in line widths; none for a solid line.
        pattern: the number of the dash among the dashes.
        marker: the shape of its points, as matplotlib names it.
    """

    colour: int
    light: str
    dark: str
    dash: tuple[float, ...]
    pattern: int
    marker: str


LOOKS = tuple(
    Look(k, light, dark, dash, pattern, _MARKERS[(k + 3 * pattern) % len(_MARKERS)])
    for pattern, dash in enumerate(_DASHES)
    for k, (light, dark) in enumerate(_COLOURS)
)
"""All looks: colours first, then dashes. More lines than these begin again."""


def looks(names: Iterable[str]) -> dict[str, Look]:
    """The look of every optimizer of a figure.

    A built-in rule looks the same in every figure; other names take looks that no built-in has, in
    alphabetical order, so that the order of the results does not change them.

    Args:
        names: of all that are drawn together.
    """
    listed = list(dict.fromkeys(names))
    order = _order()
    others = sorted(name for name in listed if name not in order)
    places = {name: k for k, name in enumerate([*order, *others])}
    return {name: LOOKS[places[name] % len(LOOKS)] for name in listed}


def style(name: str, position: int = 0) -> dict[str, Any]:
    """A rule's line style for matplotlib, the same in every figure.

    Args:
        name: the rule's name.
        position: for a rule that is not built in, its position among such rules in the figure.
    """
    order = _order()
    return numbered(order.index(name) if name in order else len(order) + position)


def numbered(i: int) -> dict[str, Any]:
    """The i-th line style for matplotlib; neighbours differ in colour and marker."""
    look = LOOKS[i % len(LOOKS)]
    return {
        "color": look.light,
        "linestyle": (0, look.dash) if look.dash else "-",
        "marker": look.marker,
    }


def _order() -> list[str]:
    return [*_FIRST, *(name for name in registry() if name not in _FIRST)]
