"""How long one training step takes with each method, alone on the machine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from statistics import median

import torch

from ..training import devices
from ..training.execute import fitting, thread_count
from ..training.runs import Method, Run
from ..training.train import Session
from .space import Configuration
from .spec import Spec

_WARM, _STEPS = 3, 30
_PATIENCE = 20.0  # seconds for all methods together


def milliseconds_per_step(
    spec: Spec, chosen: Mapping[Method, Configuration], threads: int, device: torch.device
) -> dict[str, float]:
    """The median time of a whole training step of one run: forward, backward, update.

    The methods take turns, step by step, so that what else the machine does hits all alike.

    Args:
        spec: the race.
        chosen: the configuration of each method.
        threads: how many may be used.
        device: where.
    """
    methods, together = list(chosen), fitting(spec.task, device=device)
    parts = [methods[k : k + together] for k in range(0, len(methods), together)]
    taken: dict[str, float] = {}
    for part in parts:
        with thread_count(threads):
            own = {m: chosen[m] for m in part}
            taken |= _in_turns(spec, own, _PATIENCE / len(parts), device)
    return taken


def _in_turns(
    spec: Spec, chosen: Mapping[Method, Configuration], patience: float, device: torch.device
) -> dict[str, float]:
    # Measured at the very end alone, so that no step has an evaluation in it.
    regime = replace(spec.regime, evaluations=1, epochs=_WARM + _STEPS + 1)
    sessions = {
        m.name: iter(
            Session(spec.task, [Run(m, dict(c.hyper), 0, c.recipe)], regime, device=device)
        )
        for m, c in chosen.items()
    }
    taken: dict[str, list[float]] = {name: [] for name in sessions}
    started = time.perf_counter()
    for number in range(_WARM + _STEPS):
        for name, session in sessions.items():
            start = time.perf_counter()
            next(session)
            devices.synchronize(device)
            taken[name].append(time.perf_counter() - start)
        if number >= _WARM and time.perf_counter() - started > patience:
            break
    return {name: 1e3 * median(times[_WARM:]) for name, times in taken.items()}
