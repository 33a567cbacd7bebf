"""Training loops as a person writes them with torch, for comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch.optim import lr_scheduler as schedulers

from thalweg.tasks import Task
from thalweg.training.population import build
from thalweg.training.runs import Recipe, Regime, batches


def in_double(task: Task) -> Task:
    """The task in float64, where rounding hides nothing."""
    sets = {
        name: (getattr(task, name)[0].double(), getattr(task, name)[1])
        for name in ("train", "validation", "test")
    }
    return replace(task, model=lambda: task.model().double(), **sets)


def trained_by_torch(
    task: Task,
    seed: int,
    regime: Regime,
    make: Callable[[Any], torch.optim.Optimizer],
    recipe: Recipe = Recipe(),  # noqa: B008
) -> list[torch.Tensor]:
    """The parameters after the loop that a person would write."""
    model = build(task, seed)
    regime = regime.under(recipe)
    optimizer, (x, y) = make(model.parameters()), task.train
    steps = regime.steps(len(x))
    warm = round(recipe.schedule.warmup * steps)
    shapes: dict[str, Callable[[int], schedulers.LRScheduler]] = {
        "constant": lambda n: schedulers.ConstantLR(optimizer, factor=1.0),
        "step": lambda n: schedulers.StepLR(optimizer, step_size=-(-n // 3), gamma=0.1),
        "cosine": lambda n: schedulers.CosineAnnealingLR(optimizer, T_max=n),
        "linear": lambda n: schedulers.LinearLR(optimizer, 1.0, 0.0, total_iters=n),
    }
    if warm:
        first = schedulers.LinearLR(optimizer, 1 / (warm + 1), 1.0, total_iters=warm)
        then = shapes[recipe.schedule.kind](steps - warm)
        scheduler: Any = schedulers.SequentialLR(optimizer, [first, then], [warm])
    else:
        scheduler = shapes[recipe.schedule.kind](steps)
    for index in batches(len(x), regime, seed):
        optimizer.zero_grad()
        task.loss(model(x[index]), y[index]).backward()
        if recipe.clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step()
        scheduler.step()
    return [p.detach() for p in model.parameters()]
