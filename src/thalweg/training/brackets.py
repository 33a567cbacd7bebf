"""A group of runs trained to its end; the runs of a bracket until they fall behind the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from .context import TrainingContext
from .halving import RUNGS, Standing, configs_to_stop, configuration
from .runs import Result, Run, kind_of
from .train import Session

_DIVERGED = (-math.inf, -math.inf)


@dataclass(frozen=True)
class Isolation:
    """How runs are kept apart so that one whose model fails leaves the others alone.

    Attributes:
        failed: gives the result of a run whose model raised.
        entering: called with the number of a run each time before its model computes anything.
        doomed: the results of runs that are not trained, by their numbers.
    """

    failed: Callable[[Run, Exception], Result]
    entering: Callable[[int], None] = lambda number: None
    doomed: Mapping[int, Result] = field(default_factory=dict)


def train_group(
    context: TrainingContext, runs: Sequence[Run], isolation: Isolation | None = None
) -> list[Result]:
    """Train a group of runs, those in brackets until they fall behind, the others to their end.

    Args:
        context: what they have in common.
        runs: of one kind; brackets whole.
        isolation: trains each run in a lane of its own and takes care of those that fail, which
            then stand in their bracket as diverged; without it, errors are the caller's.

    Returns:
        A result per run, in their order.
    """
    alone = isolation is not None or any(kind_of(run.method) == "torch" for run in runs)
    parts = _parts(runs, 1 if alone else context.lanes)
    found: dict[int, Result] = {}
    if any(run.bracket for run in runs):
        lanes = [_Lanes(context, part, runs, isolation) for part in parts]
        for share in RUNGS:
            for some in lanes:
                some.advance(share)
            _halve(context, runs, lanes, share)
        for some in lanes:
            found |= some.finish()
    else:
        for part in parts:  # one after the other: no more models in memory than must be
            found |= _Lanes(context, part, runs, isolation).finish()
    return [found[k] for k in range(len(runs))]


class _Lanes:
    """Runs that train in the same lanes, or the result of a run whose model raised.

    Args:
        context: what all runs have in common.
        part: the numbers of the runs.
        runs: all there are.
        isolation: as in `train_group`.

    Attributes:
        places: for each run, the number that it has in the session.
        session: their training; None once the model raised.
        stopped: the numbers of the runs that train no further.
    """

    def __init__(
        self,
        context: TrainingContext,
        part: Sequence[int],
        runs: Sequence[Run],
        isolation: Isolation | None,
    ) -> None:
        self.context, self.part, self.isolation = context, part, isolation
        self.runs = [runs[k] for k in part]
        self.session: Session | None = None
        self.left: Result | None = None
        self.stopped: set[int] = set()
        self.places = dict.fromkeys(part, 0)
        if isolation is not None and part[0] in isolation.doomed:
            self._lose(isolation.doomed[part[0]])
        else:
            self._attempt(self._begin)

    def _begin(self) -> None:
        self.session = self.context.session(self.runs)
        self.places = {self.part[run]: k for k, run in enumerate(self.session.order)}

    def advance(self, share: float | None = None) -> None:
        """Train to the rung at this share of the steps, by default to the end."""
        session = self.session
        if session is None:
            return
        until = None if share is None else session.rung(share)
        self._attempt(lambda: session.advance(until, self.context.progress))

    def _attempt(self, work: Callable[[], None]) -> None:
        if self.isolation is None:
            work()
            return
        self.isolation.entering(self.part[0])
        try:
            work()
        except Exception as error:
            self._lose(self.isolation.failed(self.runs[0], error))

    def _lose(self, left: Result) -> None:
        """Go on without a session; the steps that it has not taken count as done."""
        taken = self.session.taken if self.session is not None else 0
        self.context.progress(self.context.steps(self.runs) - taken)
        self.left, self.session = left, None

    def score(self, run: int, sign: float) -> tuple[float, float]:
        """Metric and loss of a run at the rung, signed so that larger is better."""
        return _DIVERGED if self.session is None else _score(self.session, self.places[run], sign)

    def stop(self, reasons: Mapping[int, str]) -> None:
        """Train some runs no further than the rung.

        Args:
            reasons: what each fell behind, after the steps that were taken.
        """
        self.stopped.update(reasons)
        session = self.session
        if session is None or session.taken == session.steps:
            return  # of very few steps a rung may be the last
        after = f"after {session.taken} of {session.steps} steps"
        session.stop({self.places[k]: f"{after} {why}" for k, why in reasons.items()})
        self.context.progress(len(reasons) * (session.steps - session.taken))

    def finish(self) -> dict[int, Result]:
        """Train to the end; the results of the runs, by their numbers."""
        self.advance()
        if self.left is not None:
            return {self.part[0]: self.left}
        assert self.session is not None
        return dict(zip(self.part, self.session.results(), strict=True))


def _halve(
    context: TrainingContext, runs: Sequence[Run], lanes: Sequence[_Lanes], share: float
) -> None:
    """Stop the runs that have fallen behind at a rung."""
    metric = context.task.metric
    sign = 1.0 if metric.higher_is_better else -1.0
    lanes_of = {k: own for own in lanes for k in own.part}
    rates: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        rates.setdefault(_bracket(run), []).append(run.scalars["lr"])
    alive = [k for k, own in lanes_of.items() if runs[k].bracket and k not in own.stopped]
    stops: dict[_Lanes, dict[int, str]] = {}
    alive.sort(key=lambda k: _bracket(runs[k]))
    for name, group in groupby(alive, key=lambda k: _bracket(runs[k])):
        members: dict[Hashable, list[int]] = {}
        for k in group:
            members.setdefault(configuration(runs[k]), []).append(k)
        seeds = list(members.values())
        standings = [_standing(runs, lanes_of, each, sign) for each in seeds]
        best = sign * max(s.score[0] for s in standings)
        middle = math.sqrt(min(rates[name]) * max(rates[name]))
        for number in configs_to_stop(
            standings, metric.margin_beside(best), share == RUNGS[0], middle
        ):
            for k in seeds[number]:
                stops.setdefault(lanes_of[k], {})[k] = (
                    f"its validation {metric.name} "
                    f"was {sign * standings[number].score[0]:.4g} on average over its seeds, "
                    f"behind the better half of the {len(standings)} configurations that were "
                    f"left, of which the best had {best:.4g}"
                )
    for own, reasons in stops.items():
        own.stop(reasons)


def _bracket(run: Run) -> tuple[str, str]:
    return run.method.name, run.bracket or ""


def _standing(
    runs: Sequence[Run], lanes_of: Mapping[int, _Lanes], own: Sequence[int], sign: float
) -> Standing:
    scores = [lanes_of[k].score(k, sign) for k in own]
    metrics, losses = zip(*scores, strict=True)
    score = (sum(metrics) / len(scores), sum(losses) / len(scores))
    return Standing(score, runs[own[0]].scalars["lr"])


def _score(session: Session, number: int, sign: float) -> tuple[float, float]:
    curves = session.curves[number]
    score = sign * curves["validation_metric"][-1], -curves["validation_loss"][-1]
    sound = session.diverged_at[number] is None and all(map(math.isfinite, score))
    return score if sound else _DIVERGED


def _parts(runs: Sequence[Run], together: int) -> list[list[int]]:
    """The numbers of the runs that train in the same lanes: of one batch size, evenly many."""
    sizes: dict[int | None, list[int]] = {}
    for k, run in enumerate(runs):
        sizes.setdefault(run.recipe.batch_size, []).append(k)
    parts = []
    for own in sizes.values():
        count = -(-len(own) // together)
        parts += [own[len(own) * k // count : len(own) * (k + 1) // count] for k in range(count)]
    return parts
