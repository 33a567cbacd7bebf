"""How many times the work of one process several do at once, timed in worker processes.

Processes share caches, memory and, as hyperthreads, cores: two seldom do twice the work of one.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from statistics import median
from typing import Any

from ...errors import UsageError
from ..context import TrainingContext
from ..runs import Run
from .channel import encode
from .pool import Worker, WorkerPool
from .timing import endless
from .transport import pack
from .worker import greet

_ROUNDS = 3  # in each, one process trains alone and then all train at once
_BURST = 0.3  # seconds that a process trains for; the order to begin takes far less to arrive
_PATIENCE = 60.0  # seconds for processes to start, and for steps to be taken
_TICK = 0.2  # seconds until a process that ended without closing its socket is noticed


def measure_speedup(
    context: TrainingContext, sample: Sequence[Run], processes: int
) -> float | None:
    """How many times the work of one process these do at once; None where that cannot be timed.

    It cannot where processes do not start, or a model fails or takes too long in them. It takes a
    few seconds.

    Args:
        context: what the runs have in common.
        sample: the runs that train in each process, as lanes of one model.
        processes: how many.
    """
    pool = WorkerPool(processes)
    try:
        # The context and the sample travel as a race would send them.
        greeting = greet(context)
        job = encode(("rehearse", pack((endless(context.regime), list(sample)))))
        with suppress(OSError):
            for _ in range(processes):
                pool.start(greeting)
        if len(pool.workers) < processes or not _all(pool, pool.workers, "ready"):
            return None
        for worker in pool.workers:
            worker.channel.send(job)
        if not _all(pool, pool.workers, "rehearsed"):
            return None
        return _timed(pool)
    except UsageError:  # the task cannot be sent
        return None
    finally:
        pool.end()


def _timed(pool: WorkerPool) -> float | None:
    """The speed of all processes at once in units of that of one alone: medians of a few rounds."""
    alone, together = list[float](), list[float]()
    for turn in range(_ROUNDS):
        one = pool.workers[turn % len(pool.workers)]
        for group, rates in (([one], alone), (pool.workers, together)):
            for worker in group:
                worker.channel.send(encode(("burst", _BURST)))
            said = _all(pool, group, "burst")
            if said is None:
                return None
            rates.append(sum(rate for (rate,) in said))
    return median(together) / median(alone)


def _all(pool: WorkerPool, workers: Collection[Worker], kind: str) -> list[Sequence[Any]] | None:
    """What each of these workers sends, once all have sent it; None where that does not happen."""
    found: dict[Worker, Sequence[Any]] = {}
    deadline = time.monotonic() + _PATIENCE
    while len(found) < len(workers):
        if time.monotonic() > deadline:
            return None
        for worker, messages, gone in pool.listen(_TICK):
            for sort, *content in messages:
                if sort == kind:
                    found[worker] = content
                elif sort in ("unfit", "failed"):
                    return None
            if gone:
                return None
    return list(found.values())
