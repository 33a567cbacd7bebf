"""Runs in groups that train, and are recorded, together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from .runs import RandomSearch, Run

if TYPE_CHECKING:
    from .execute import Execution


def grouped(runs: Sequence[Run], way: Execution) -> list[list[Run]]:
    """The runs in groups that train together: random search apart, brackets whole, in order."""
    groups: list[list[Run]] = []
    for searching in (False, True):
        kind = [run for run in runs if isinstance(run.method, RandomSearch) == searching]
        alike = groupby(enumerate(kind), key=lambda pair: _company(*pair))
        companies = [[run for _, run in own] for _, own in alike]
        if way.mode == "lanes" and way.processes > 1:
            groups += _evenly(companies, len(kind), way)
        else:
            groups += _filled(companies, way.group)
    return groups


def _filled(companies: Sequence[Sequence[Run]], size: int) -> list[list[Run]]:
    """Groups of up to so many runs, or of one company that has more."""
    groups: list[list[Run]] = []
    room = 0
    for company in companies:
        if room < len(company):
            groups.append([])
            room = size
        groups[-1] += company
        room -= len(company)
    return groups


def _evenly(companies: Sequence[Sequence[Run]], total: int, way: Execution) -> list[list[Run]]:
    """Groups of about as many runs each, as many for one process as for another."""
    rounds = -(-total // (way.lanes * way.processes))
    count = rounds * way.processes
    groups: list[list[Run]] = [[] for _ in range(count)]
    before = 0
    for company in companies:
        middle = before + len(company) / 2
        groups[int(middle * count / total)] += company
        before += len(company)
    return [group for group in groups if group]


def _company(number: int, run: Run) -> tuple[str, str] | int:
    """What names those that a run must be together with."""
    return number if run.bracket is None else (run.method.name, run.bracket)
