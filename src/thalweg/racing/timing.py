"""How long one training step takes with each method, alone on the machine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import median

from ..training.runs import Method, Run
from ..training.train import Session
from .spec import Spec

_STEPS = 30


def milliseconds_per_step(spec: Spec, chosen: Mapping[Method, float]) -> dict[str, float]:
    """The median time of a whole training step of one run: forward, backward, update.

    The methods take turns, step by step, so that what else the machine does hits all alike.

    Args:
        spec: the race.
        chosen: the learning rate of each method.
    """
    sessions = {
        m.name: iter(Session(spec.task, [Run(m, {"lr": lr}, 0)], spec.regime))
        for m, lr in chosen.items()
    }
    taken: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(min(_STEPS, spec.steps)):
        for name, session in sessions.items():
            start = time.perf_counter()
            next(session)
            taken[name].append(time.perf_counter() - start)
    return {name: 1e3 * median(times) for name, times in taken.items()}
