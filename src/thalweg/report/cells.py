"""What tables of a page are made of, as data for its templates."""

from __future__ import annotations

from typing import NamedTuple

WIDTH = 72
"""Pixels, of a small bar in a cell."""


class Bar(NamedTuple):
    """A small bar in a cell, in pixels from its left end.

    Attributes:
        beyond: "left" or "right" where all of it lies outside, and an arrow is drawn.
        reference: where the mean of the first is marked.
        span: the ends of the interval.
        dot: where the mean is.
        width: of the whole.
    """

    beyond: str = ""
    reference: float | None = None
    span: tuple[float, float] | None = None
    dot: float | None = None
    width: int = WIDTH


class Cell(NamedTuple):
    """A cell of the table of results.

    Attributes:
        value: what its column is sorted by; None for what has no place.
        text: what it shows.
        kind: its classes in the style sheet.
        title: what is shown when the pointer rests on it.
        beside: what stands smaller beside the text.
        bar: what is drawn in it.
        edge: whether to say that the value lies at the edge of those searched.
    """

    value: float | None
    text: str
    kind: str
    title: str = ""
    beside: str = ""
    bar: Bar | None = None
    edge: bool = False


class Head(NamedTuple):
    """The heading of a column.

    Attributes:
        lines: of its label.
        kind: its classes in the style sheet.
        title: what is shown when the pointer rests on it.
        caption: the ends of its bars' axis.
        unit: a unit in front of the label, which the page lets a person choose.
    """

    lines: tuple[str, ...]
    kind: str
    title: str
    caption: str = ""
    unit: str = ""


class Row(NamedTuple):
    """An optimizer in the table.

    Attributes:
        rank: its place.
        name: its name.
        cells: the others, the one that judges first.
        look: the class of the row.
        line: the classes of its line in the charts.
    """

    rank: Cell
    name: str
    cells: list[Cell]
    look: str
    line: str


class Table(NamedTuple):
    """The table of results."""

    heads: list[Head]
    rows: list[Row]


class Effects(NamedTuple):
    """What settings do.

    Attributes:
        keys: their names.
        rows: of every optimizer name, line, a cell per setting, what is explained, configurations.
    """

    keys: list[str]
    rows: list[tuple[str, str, list[Cell], str, str]]
