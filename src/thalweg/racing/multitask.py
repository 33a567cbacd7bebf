"""Races on several tasks, and what they say together: profiles, mean ranks, time to target."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, Unpack

import numpy as np

from ..durations import seconds_of
from ..errors import UsageError
from ..records import (
    OptimizerResult,
    OverTasks,
    Profile,
    RaceDocument,
    RacesDocument,
    RacesVerdict,
    RankTest,
    check_folder,
    folder_name,
    normalized,
    to_plain,
    write_json,
)
from ..report import pages, terminal
from ..report.folders import Folder
from ..tasks import Task, find
from ..training.execution.ray import Cluster, connected
from .options import Options, completed
from .result import Race
from .signatures import documented
from .start import raced
from .summary import environment

TAUS = (1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)  # where profiles are tabulated
_LEVEL = 0.95


@dataclass(repr=False)
class Races:
    """Finished races of the same optimizers on several tasks.

    Attributes:
        races: one per task.
        result: what they say together, and their documents.
        pages: the reports that were written into their folder, if they have one.
    """

    races: list[Race]
    result: RacesDocument
    pages: list[Path] = field(default_factory=list)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The result as plain data: what `--json` prints."""
        return to_plain(self.result)

    def report(self, path: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write a page of what the races say together, and one of each in a folder beside it.

        Args:
            path: the file, as report.html.
            overwrite: replace files that are no pages of ours.

        Raises:
            UsageError: there is no such folder, or something else at one of the places.
        """
        page = Path(path)
        single = [(page.parent / folder(each.result.task), each) for each in self.races]
        for place, _ in single:
            place.mkdir(exist_ok=True)
        together = Folder([each.found_in(place) for place, each in single], self.result)
        return pages.write(together, page, overwrite=overwrite)

    def __str__(self) -> str:
        return terminal.together(self.result)

    def __repr__(self) -> str:
        tasks = ", ".join(self.result.tasks)
        return f"<Races on {tasks}: {len(self.result.optimizers)} optimizers>"


@documented
def races(tasks: Sequence[Task | str], **options: Unpack[Options]) -> Races:
    """Race the same optimizers on several tasks, one after the other.

    The options are those of `race`, alike for all; each task has a folder of its own in `out`.

    Args:
        tasks: two or more, or their names.
        **options: as in `Options`.

    Raises:
        UsageError: an argument cannot work, or a task is named twice.
    """
    found = [find(task) if isinstance(task, str) else task for task in tasks]
    names = [task.name for task in found]
    if len(found) < 2:
        raise UsageError("races are of two tasks or more; for one there is race")
    if twice := [n for n in dict.fromkeys(names) if names.count(n) > 1]:
        raise UsageError(f"task {twice[0]!r} is named twice")
    chosen = completed(options)
    if chosen["name"] is not None:
        raise UsageError(f"name={chosen['name']!r} is for one task; several keep their own names")
    out, watcher, ray = (chosen[name] for name in ("out", "watcher", "ray"))
    if out is not None:
        check_folder(Path(out), names, overwrite=chosen["overwrite"])
        pages.check(Path(out, "report.html"), overwrite=chosen["overwrite"])
    limit, done = chosen["time_limit"], []
    ends = None if limit is None else time.monotonic() + seconds_of("time_limit", limit)
    with connected(Cluster(ray) if isinstance(ray, str) else ray):
        for number, task in enumerate(found):
            if ends is not None:  # what one race leaves of its share, the others have
                left = max(1.0, ends - time.monotonic())
                chosen["time_limit"] = left / (len(found) - number)
            if watcher is not None:
                watcher.say(f"{task.name}:")
            chosen["out"] = None if out is None else Path(out, folder(task.name))
            done.append(raced(task, None, None, chosen))
    together = Races(done, across([own.result for own in done]))
    if out is not None:
        write_json(Path(out, "race.json"), to_plain(together.result))
        page = Path(out, "report.html")
        together.pages += together.report(page, overwrite=chosen["overwrite"])
    return together


def folder(task: str) -> str:
    """A task's name as a folder's: quadratic:dim=50,noise=0.1 is quadratic-dim=50-noise=0.1."""
    return folder_name(task)


def across(races: Sequence[RaceDocument]) -> RacesDocument:
    """What races of the same optimizers say together, schema `thalweg.races/1`.

    Every pair of a task and a seed is a problem. What an optimizer costs on it is the share of
    its steps after which it met the task's target, a validation loss set from the best that any
    of them reached. Its performance profile is the share of problems that it solved at no more
    than τ times the least cost.

    Args:
        races: their documents, one per task.

    Raises:
        UsageError: the races are of different optimizers.

    Source: Dolan & Moré (2002), Benchmarking Optimization Software with Performance Profiles,
    Mathematical Programming 91; Demšar (2006), Statistical Comparisons of Classifiers over
    Multiple Data Sets, JMLR 7, for mean ranks, Friedman's test and the critical difference.
    """
    entries = [{e.name: e for e in race.optimizers} for race in races]
    names = list(entries[0])
    if any(set(own) != set(names) for own in entries):
        raise UsageError("the races are of different optimizers; compare the same ones")
    ranks = _ranks(races, names)
    costs = {name: [c for own in entries for c in _costs(own[name])] for name in names}
    ratios = _ratios(costs)
    order = sorted(names, key=lambda name: (sum(ranks[name]), name))
    optimizers = [
        OverTasks(
            name=name,
            mean_rank=float(np.mean(ranks[name])),
            ranks=list(ranks[name]),
            first=sum(own[name].tied for own in entries),
            time_to_target=[_median(_costs(own[name])) for own in entries],
            solved=sum(math.isfinite(r) for r in ratios[name]) / max(1, len(ratios[name])),
            ratios=[*sorted(ratios[name])],
            profile=[profile(ratios[name], tau) for tau in TAUS],
        )
        for name in order
    ]
    test = _friedman([ranks[name] for name in order])
    return normalized(
        RacesDocument(
            tasks=[race.task for race in races],
            optimizers=optimizers,
            profile=Profile(
                tau=list(TAUS),
                problems=len(ratios[names[0]]),
                unsolved=len(costs[names[0]]) - len(ratios[names[0]]),
            ),
            ranks=test,
            verdict=RacesVerdict(sentence=_sentence(optimizers, test, len(races))),
            runs=sum(race.runs or 0 for race in races),
            seconds=sum(race.seconds or 0.0 for race in races),
            environment=environment(),
            races=list(races),
        )
    )


def profile(ratios: Sequence[float], tau: float) -> float:
    """The share of problems solved at no more than `tau` times the least cost.

    Args:
        ratios: cost by least cost of each problem, infinity where it was not solved.
        tau: 1 or more.
    """
    return sum(r <= tau for r in ratios) / len(ratios) if ratios else 0.0


def _ranks(races: Sequence[RaceDocument], names: Sequence[str]) -> dict[str, list[float]]:
    """For every optimizer its rank by mean test metric on each task; equals share theirs."""
    from scipy import stats  # takes half a second, which a race of one task need not wait for

    columns = []
    for one in races:
        tests = {e.name: _score(e) for e in one.optimizers}
        sign = -1.0 if one.setting.metric.higher_is_better else 1.0
        columns.append(stats.rankdata([sign * tests[name] for name in names]))
    return {name: [float(own[k]) for own in columns] for k, name in enumerate(names)}


def _score(entry: OptimizerResult) -> float:
    assert entry.test is not None
    assert entry.test.mean is not None
    return entry.test.mean


def _costs(entry: OptimizerResult) -> list[float]:
    """The share of its steps that each seed took to the target; infinity for a miss."""
    assert entry.by_seed is not None
    steps, reached = entry.by_seed.steps, entry.by_seed.steps_to_target
    return [math.inf if r is None else max(r, 1.0) / steps for r in reached]


def _median(costs: Sequence[float]) -> float | None:
    middle = median(costs)
    return middle if math.isfinite(middle) else None


def _ratios(costs: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Cost by least cost of every problem that any optimizer solved."""
    least = [min(own) for own in zip(*costs.values(), strict=True)]
    return {
        name: [c / b for c, b in zip(own, least, strict=True) if math.isfinite(b)]
        for name, own in costs.items()
    }


def _friedman(ranks: Sequence[Sequence[float]]) -> RankTest:
    """Friedman's test that all rank alike, and the difference of mean ranks that matters."""
    optimizers, tasks = len(ranks), len(ranks[0])
    if optimizers < 3 or tasks < 3:
        return RankTest()
    from scipy import stats

    alike = len({tuple(own) for own in ranks}) == 1
    quantile = stats.studentized_range.ppf(_LEVEL, optimizers, np.inf) / math.sqrt(2)
    return RankTest(
        p=1.0 if alike else float(stats.friedmanchisquare(*ranks).pvalue),
        critical_difference=float(
            quantile * math.sqrt(optimizers * (optimizers + 1) / (6 * tasks))
        ),
    )


def _sentence(optimizers: Sequence[OverTasks], test: RankTest, tasks: int) -> str:
    means = [each.mean_rank or 0.0 for each in optimizers]
    first, difference = optimizers[0], test.critical_difference
    text = (
        f"Over {tasks} tasks {first.name} has the best mean rank, {means[0]:.2g} of "
        f"{len(optimizers)}, and is first or tied for first on {first.first}"
    )
    if difference is None:
        return f"{text}; it takes three tasks and three optimizers or more to test that."
    near = sum(mean - means[0] < difference for mean in means[1:])
    if not near:
        return (
            f"{text}; all others rank worse by more than the critical difference {difference:.2g}."
        )
    return (
        f"{text}; {near} of the others cannot be told from it by mean ranks, which must "
        f"differ by {difference:.2g}."
    )
