"""How long one training step takes with each method, alone on the machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

import torch

from ..training import devices
from ..training.devices import thread_count
from ..training.memory import models_that_fit
from ..training.runs import Run
from ..training.torch_stepper import TorchDescent
from ..training.train import Session
from .spec import Spec

_WARM, _STEPS = 3, 30
PATIENCE = 20.0
"""Seconds that timing all methods may take."""


def milliseconds_per_step(
    spec: Spec,
    runs: Sequence[Run],
    threads: int,
    device: torch.device,
    patience: float = PATIENCE,
) -> dict[str, float]:
    """The median time of a whole training step of one run: forward, backward, update.

    The methods take turns, step by step, so that what else the machine does hits all alike.

    Args:
        spec: the race.
        runs: one of each method, which has trained without an error.
        threads: how many may be used.
        device: where.
        patience: seconds for all methods together, beyond a few steps of each.
    """
    together = models_that_fit(spec.task, device=device)
    parts = [runs[k : k + together] for k in range(0, len(runs), together)]
    taken: dict[str, float] = {}
    for part in parts:
        with thread_count(threads):
            taken |= _in_turns(spec, part, patience / len(parts), device)
    return taken


def _in_turns(
    spec: Spec, runs: Sequence[Run], patience: float, device: torch.device
) -> dict[str, float]:
    # Measured at the very end alone, so that no step has an evaluation in it.
    regime = replace(spec.regime, evaluations=1, epochs=_WARM + _STEPS + 1)
    sessions = {run.method.name: Session(spec.task, [run], regime, device=device) for run in runs}
    steps = {name: iter(session) for name, session in sessions.items()}
    taken: dict[str, list[float]] = {name: [] for name in sessions}
    started = time.perf_counter()
    for number in range(_WARM + _STEPS):
        for name, ahead in steps.items():
            start = time.perf_counter()
            next(ahead)
            devices.synchronize(device)
            taken[name].append(time.perf_counter() - start)
        if number >= _WARM and time.perf_counter() - started > patience:
            break
    return {name: 1e3 * _typical(sessions[name], times) for name, times in taken.items()}


def _typical(session: Session, taken: Sequence[float]) -> float:
    """Seconds per step; where a step of an optimizer is worth several, seconds per gradient."""
    stepper = session.stepper
    if isinstance(stepper, TorchDescent) and stepper.method.closure:
        return sum(taken) / max(stepper.gradients, len(taken))
    return median(taken[_WARM:])
