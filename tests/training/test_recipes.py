"""Schedules, clipping, weight decay and batch sizes of runs, against loops written with torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from executed import train
from thalweg.errors import UsageError
from thalweg.schedules import Schedule
from thalweg.tasks import Task, find
from thalweg.training.runs import RANDOM_SEARCH, Recipe, Regime, Run, method
from thalweg.training.train import Session
from torch_loops import in_double, trained_by_torch

pytestmark = pytest.mark.usefixtures("one_thread")

EPOCHS, BATCH, RATE = 3, 16, 0.02
REGIME = Regime(EPOCHS, BATCH)


@pytest.fixture(scope="module")
def wine() -> Task:
    return in_double(find("wine-mlp"))


TORCH: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
    "adamw": torch.optim.AdamW,
    "asgd": torch.optim.ASGD,
    "rprop": torch.optim.Rprop,
    "nadam": torch.optim.NAdam,
}

RECIPES = [
    Recipe(Schedule("cosine", 0.1)),
    Recipe(Schedule("linear")),
    Recipe(Schedule("step", 0.2), clip=0.5),
    Recipe(clip=0.05),
    Recipe(Schedule("constant", 0.3), clip=1e9),
]


def lanes_of(task: Task, runs: list[Run]) -> list[list[torch.Tensor]]:
    session = Session(task, runs, Regime(EPOCHS, BATCH, evaluations=2))
    session.advance()
    found: list[Any] = [None] * len(runs)
    for lane, original in enumerate(session.order):
        found[original] = [p.detach()[lane] for p in session.population.parameters]
    return found


@pytest.mark.filterwarnings("ignore:The epoch parameter:UserWarning")  # torch's SequentialLR
@pytest.mark.parametrize("together", [True, False])
def test_every_recipe_trains_as_torch_does(wine: Task, together: bool) -> None:
    runs = [
        Run(method(name), {"lr": RATE}, seed, recipe)
        for name in TORCH
        for recipe in RECIPES
        for seed in (0, 1)
    ]
    found = lanes_of(wine, runs) if together else [lanes_of(wine, [run])[0] for run in runs]
    for run, parameters in zip(runs, found, strict=True):
        make = TORCH[run.method.name]
        expected = trained_by_torch(
            wine, run.seed, REGIME, lambda p, make=make: make(p, lr=RATE), run.recipe
        )
        for ours, theirs in zip(parameters, expected, strict=True):
            # Matrix products sum in another order; a sign that flips is magnified by no rule here
            # within so few steps.
            torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ["adam", "sgd", "adamw"])
def test_weight_decay_is_coupled_where_the_rule_has_none_and_clipped_gradients_do_not_hold_it(
    wine: Task, name: str
) -> None:
    recipe = Recipe(clip=0.1)
    run = Run(method(name), {"lr": RATE, "weight_decay": 0.1}, 0, recipe)
    (found,) = lanes_of(wine, [run])
    expected = trained_by_torch(
        wine, 0, REGIME, lambda p: TORCH[name](p, lr=RATE, weight_decay=0.1), recipe
    )
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


def test_a_batch_size_of_ones_own_takes_as_many_steps_as_its_data_needs(wine: Task) -> None:
    (found,) = train(
        wine, [Run(method("sgd"), {"lr": RATE}, 0, Recipe(batch_size=53))], Regime(EPOCHS, BATCH)
    )
    assert found.steps[-1] == EPOCHS * 2  # of 106 samples
    with pytest.raises(ValueError, match="batch sizes cannot train in the same lanes"):
        train(
            wine,
            [Run(method("sgd"), {}, 0, r) for r in (Recipe(), Recipe(batch_size=53))],
            Regime(EPOCHS, BATCH),
        )


def test_random_search_draws_as_wide_as_its_schedule_says(wine: Task) -> None:
    """Where the spread has fallen to a hundredth, what is drawn late is far smaller."""
    drawn: list[float] = []
    session = Session(
        wine,
        [Run(RANDOM_SEARCH, {"lr": 0.1}, 0, Recipe(Schedule("step")))],
        Regime(10, 106, evaluations=1),
    )
    losses = session.population.losses

    def watched(parameters: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        drawn.append(max(float(p.detach().std()) for p in parameters))
        return losses(parameters, x, y)

    session.population.losses = watched  # type: ignore[method-assign]
    session.advance()
    widths = drawn[1::2]  # every other call judges the best so far
    # Ten steps: four at the whole spread, four at a tenth, two at a hundredth. The widest of four
    # tensors' standard deviations is off by a third at most where the smallest has three elements.
    expected = [0.1] * 4 + [0.01] * 4 + [0.001] * 2
    assert all(0.6 < w / e < 2.5 for w, e in zip(widths, expected, strict=True))


@pytest.mark.parametrize("kept", [[0, 3, 4, 8], [5]])
def test_lanes_that_go_on_when_others_stop_train_as_if_nothing_had_happened(
    wine: Task, kept: list[int]
) -> None:
    names = ["adam", "nadam", "asgd"]
    recipe = Recipe(Schedule("cosine"))
    runs = [Run(method(n), {"lr": RATE}, seed, recipe) for n in names for seed in range(3)]
    regime = Regime(EPOCHS, BATCH, evaluations=7)
    whole = train(wine, runs, regime)
    session = Session(wine, runs, regime)
    session.advance(until=6)
    stopped = [k for k in range(9) if session.order[k] not in kept]
    session.stop(dict.fromkeys(stopped, "chosen by a test"))
    assert session.population.lanes == len(kept)
    session.advance()
    for k, (one, other) in enumerate(zip(session.results(), whole, strict=True)):
        if k not in kept:
            assert (one.stopped_at, one.steps) == (6, [0, 3, 6])
        assert one.validation_loss == pytest.approx(other.validation_loss[: len(one.steps)])
        assert len(one.train_loss) == len(one.steps)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"clip": 0.0}, "clip=0.0 must be a norm above 0"),
        ({"clip": float("inf")}, "clip=inf must be"),
        ({"clip": True}, "clip=True must be"),
        ({"batch_size": 0}, "batch_size=0 must be a whole number"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Recipe(**given)
