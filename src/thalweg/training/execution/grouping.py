"""Runs in groups that train, and are recorded, together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, get_args

from ..runs import Kind, Run, kind_of

if TYPE_CHECKING:
    from .plan import ExecutionPlan


def grouped(runs: Sequence[Run], plan: ExecutionPlan) -> list[list[Run]]:
    """The runs in groups that train together: each kind apart, brackets whole, in order."""
    groups: list[list[Run]] = []
    for name in get_args(Kind):
        kind = [run for run in runs if kind_of(run.method) == name]
        if name == "torch":
            groups += _filled(units(kind), plan.group_of_classes(len(kind)))
        elif plan.mode == "lanes" and plan.processes > 1:
            groups += _evenly(units(kind), len(kind), plan)
        else:
            groups += _filled(units(kind), plan.group)
    return groups


def units(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs in the smallest groups that can train apart: a bracket, or a single run."""
    alike = groupby(enumerate(runs), key=lambda pair: _bracket_key(*pair))
    return [[run for _, run in own] for _, own in alike]


def _filled(units: Sequence[Sequence[Run]], size: int) -> list[list[Run]]:
    """Groups of up to so many runs, or of one unit that has more."""
    groups: list[list[Run]] = []
    room = 0
    for unit in units:
        if room < len(unit):
            groups.append([])
            room = size
        groups[-1] += unit
        room -= len(unit)
    return groups


def _evenly(units: Sequence[Sequence[Run]], total: int, plan: ExecutionPlan) -> list[list[Run]]:
    """Groups of about as many runs each, as many for one process as for another."""
    rounds = -(-total // (plan.lanes * plan.processes))
    count = rounds * plan.processes
    groups: list[list[Run]] = [[] for _ in range(count)]
    before = 0
    for unit in units:
        middle = before + len(unit) / 2
        groups[int(middle * count / total)] += unit
        before += len(unit)
    return [group for group in groups if group]


def _bracket_key(number: int, run: Run) -> tuple[str, str] | int:
    """The same for runs that must train together: those of a bracket; else the run's number."""
    return number if run.bracket is None else (run.method.name, run.bracket)
