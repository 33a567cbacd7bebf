"""What the scripts of a page draw with: looks, and the rules that figures in files follow too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..records import RaceDocument
from . import looks, ranges, units
from .importance import Importance


def of_names(names: list[str]) -> dict[str, Any]:
    """What every page's script has.

    Args:
        names: of the optimizers, in the order of the page.

    Returns:
        `looks`: classes of each optimizer's line; `series`: those of lines that are no optimizers;
        `ranges`: how far an axis goes, and how many of the optimizers a close-up holds.
    """
    return {
        "looks": looks.classes(names),
        "series": looks.series(),
        "ranges": {
            "margin": ranges.MARGIN,
            "beyond": ranges.BEYOND,
            "better": len(ranges.better(names)),
        },
        "log": [],
        "untrained": {},
    }


def of_race(summary: RaceDocument, effects: Sequence[Importance]) -> dict[str, Any]:
    """The same for the page of a race.

    Args:
        summary: of the race.
        effects: of the settings of its optimizers.

    Returns:
        As `of_names`; `usual`: settings where a configuration names none; `log`: the curves that a
        logarithmic axis suits; `untrained`: by curve, what an untrained model scores; `importance`:
        the marginals of settings.
    """
    curves = {name: name for name in (ranges.METRIC, *ranges.LOSSES)}
    curves |= {f"also-{k}": f"also:{m.name}" for k, m in enumerate(summary.setting.also)}
    return of_names([entry.name for entry in summary.optimizers]) | {
        "importance": [{"name": each.name, **each.marginals} for each in effects],
        "usual": units.USUAL,
        "log": [k for k, name in curves.items() if ranges.may_be_logarithmic(summary, name)],
        "untrained": {key: ranges.untrained(summary, name) for key, name in curves.items()},
    }
