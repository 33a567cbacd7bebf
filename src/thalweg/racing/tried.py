"""What a search has found about one entrant, by configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..training.runs import Run
from .outcome import Outcome, score
from .search import Score
from .space import Configuration

Found = Mapping[Configuration, Sequence[Outcome]]


def by_configuration(runs: Sequence[Run], outcomes: Sequence[Outcome]) -> Found:
    """The outcomes of runs, those of one configuration together.

    Args:
        runs: of an entrant's search.
        outcomes: as many, in the same order.
    """
    found: dict[Configuration, list[Outcome]] = {}
    for run, outcome in zip(runs, outcomes, strict=True):
        tried = Configuration(tuple(run.hyper.items()), run.recipe)
        found.setdefault(tried, []).append(outcome)
    return found


def to_the_end(found: Found) -> Found:
    """The same, with only its end where a configuration was stopped early and trained again."""
    return {
        tried: [o for o in outcomes if o.stopped_at is None] or outcomes
        for tried, outcomes in found.items()
    }


def repeated(found: Found) -> list[Outcome]:
    """The outcomes of runs stopped early whose configuration was trained again to its end."""
    return [
        o
        for outcomes in found.values()
        for o in outcomes
        if o.stopped_at is not None and any(other.stopped_at is None for other in outcomes)
    ]


def scores(found: Found, higher_is_better: bool) -> dict[Configuration, Score]:
    """How good each configuration was on validation; larger is better."""
    scored = {}
    for configuration, outcomes in found.items():
        metric, loss = score(outcomes, higher_is_better)
        scored[configuration] = metric, -loss
    return scored
