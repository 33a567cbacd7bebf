"""How a race is executed: measured once, and kept for as long as it is continued."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from ..records import settle, write_json
from ..training.execute import Execution, fitting
from ..training.runs import Regime, Run, count
from .spec import Spec


class Listener(Protocol):
    """Is told what takes time, and what is worth a line."""

    def stage(self, text: str) -> None:
        """A stage begins."""

    def say(self, text: str) -> None:
        """Something worth a line happened."""


@dataclass(frozen=True)
class Way:
    """How a race is executed.

    The last digits of a result depend on how many runs share a matrix product, and which runs are
    stopped early on whether a bracket fits into memory, so records of one race should not mix:
    whoever comes first to a folder decides, and the others, later or at the same time, follow.

    Attributes:
        execution: of its groups.
        fits: how many models may be in memory at once.
    """

    execution: Execution
    fits: int


def decide(
    spec: Spec,
    runs: Sequence[Run],
    out: Path | None,
    listener: Listener,
    choose: Callable[[Any, Sequence[Run], Regime], Execution],
) -> Way:
    """The way that the folder of a race knows; else the fastest one measured.

    Args:
        spec: the race.
        runs: those that it begins with.
        out: its folder, if it has one.
        listener: is told that it is measured.
        choose: measures it.

    Raises:
        ThalwegError: it cannot be written down.
    """
    path = None if out is None else out / "execution" / f"{spec.setting}.json"
    damaged = False
    if path is not None and path.exists():
        try:
            return _read(path)
        except (ValueError, TypeError, KeyError):
            damaged = True
            listener.say(f"{path} is damaged; the fastest way to run is measured again")
    listener.stage("measuring the fastest way to run")
    # Only runs of one batch size train together.
    usual = [replace(run, recipe=replace(run.recipe, batch_size=None)) for run in runs]
    way = Way(choose(spec.task, usual, spec.regime), fitting(spec.task))
    if path is None:
        return way
    document = {**vars(way.execution), "fits": way.fits}
    if damaged:
        write_json(path, document)
    else:
        settle(path, document)
    return _read(path)


def _read(path: Path) -> Way:
    document = dict(json.loads(path.read_text(encoding="utf-8")))
    fits = document.pop("fits")
    count("fits", fits)
    return Way(Execution(**document), fits)
