"""A few steps of training, timed with and without lanes and with few and many threads."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import median

import torch

from ...tasks import Task
from ...tasks.user_errors import describe_error
from .. import devices
from ..devices import thread_count
from ..runs import Regime, Run
from ..train import Session
from .recovery import out_of_memory

_BURSTS, _BURST, _PATIENCE = 3, 4, 0.5  # of a candidate: bursts, steps in each, seconds at most
_EPOCHS = 1_000_000  # more than any timing takes
_ENOUGH = 10.0  # seconds of timing after which no candidate gets another burst


def measure(
    task: Task,
    sample: Sequence[Run],
    regime: Regime,
    lanes: int,
    why: list[str],
    place: torch.device = devices.CPU,
) -> dict[tuple[int, int], float]:
    """Microseconds per run and step by (runs together, threads), without what does not work.

    The candidates take turns and each counts by its median burst, so that a load that passes
    decides nothing and a load that stays is seen. One thread is tried too: small models gain
    nothing from more, and on a busy machine threads that wait for each other take a hundred times
    longer.

    Args:
        why: receives the reason why the runs cannot train as lanes, if there is one.
        place: where they train; on a GPU threads make no difference.
    """
    regime, counts = endless(regime), {1, torch.get_num_threads()}
    started = time.perf_counter()
    counts -= {1} if place != devices.CPU and len(counts) > 1 else set()
    steps = iter(Session(task, sample[:1], regime, device=place))
    candidates = {(1, threads): TimedCandidate(steps, 1, threads, place) for threads in counts}
    for candidate in candidates.values():
        candidate.burst()
    while lanes > 1:
        few = few_lanes(lanes, candidates[1, max(counts)].typical)
        # A model that vmap cannot run raises an error of its own choice: then it has no lanes.
        try:
            steps = iter(Session(task, sample[:few], regime, device=place))
            stacked = {
                (lanes, threads): TimedCandidate(steps, few, threads, place) for threads in counts
            }
            for candidate in stacked.values():
                candidate.burst()
            candidates |= stacked
            break
        except Exception as error:
            if not out_of_memory(error):
                why.append(f"no lanes, because the model fails in them: {describe_error(error)}")
                break
            lanes //= 2
        devices.release(place)
    for _ in range(_BURSTS - 1):
        if time.perf_counter() - started > _ENOUGH:
            break  # where a step takes seconds, one burst is enough
        for candidate in candidates.values():
            candidate.burst()
    return {name: timed.typical for name, timed in candidates.items()}


def endless(regime: Regime) -> Regime:
    """The regime without an end, measured only before the first step."""
    return replace(regime, evaluations=1, epochs=_EPOCHS)


def few_lanes(lanes: int, alone: float) -> int:
    """How many lanes are timed: of a big model a step of all of them might take minutes.

    Args:
        lanes: how many there would be.
        alone: microseconds that a step of one run takes.
    """
    return min(lanes, max(2, int(2e6 / alone)))


class TimedCandidate:
    """Steps taken with some number of lanes and threads, and the time that they took.

    Args:
        steps: takes one of all its runs whenever it is asked for the next.
        runs: how many.
        threads: of torch's, that it may use.
        place: where they are taken.
    """

    def __init__(self, steps: Iterator[int], runs: int, threads: int, place: torch.device) -> None:
        self.steps, self.runs, self.threads, self.place = steps, runs, threads, place
        self.taken: list[float] = []

    def burst(self) -> None:
        """Take a few steps: one that warms up, then those that count."""
        with thread_count(self.threads):
            next(self.steps)
            devices.synchronize(self.place)
            start, steps, passed = time.perf_counter(), 0, 0.0
            while steps < _BURST and passed < _PATIENCE:
                next(self.steps)
                devices.synchronize(self.place)
                steps, passed = steps + 1, time.perf_counter() - start
        self.taken.append(passed / steps / self.runs * 1e6)

    @property
    def typical(self) -> float:
        """Microseconds per run and step."""
        return median(self.taken)
