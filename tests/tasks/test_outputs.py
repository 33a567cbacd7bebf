"""Models whose outputs are more than a tensor: where the scores are, and where the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from executed import complete
from thalweg.errors import UsageError
from thalweg.tasks import Metric, Task, examine, losses
from thalweg.training import population
from thalweg.training.runs import Regime, Result, Run, method

pytestmark = pytest.mark.usefixtures("one_thread")

DRAW = np.random.default_rng(0)
A = DRAW.normal(size=(60, 3)).astype(np.float32)
B = DRAW.normal(size=(60, 2)).astype(np.float32)
Y = np.arange(60) % 3
REGIME = Regime(epochs=2, batch_size=10, evaluations=2)


class Beside(nn.Linear):
    """The two inputs side by side in one."""

    def __init__(self) -> None:
        super().__init__(5, 3)


def task(train: Any, model: Any, **more: Any) -> Task:
    return Task(**{"model": model, "train": train, "batch_size": 10, **more})


def runs() -> list[Run]:
    return [Run(method("adam"), {"lr": 0.01}, seed) for seed in range(3)]


def agree(one: list[Result], two: list[Result]) -> None:
    """The same computation on tensors cut otherwise: float32 in another order of summation."""
    for first, second in zip(one, two, strict=True):
        assert first.train_loss[1:] == pytest.approx(second.train_loss[1:], rel=1e-5)
        assert first.validation_loss == pytest.approx(second.validation_loss, rel=1e-5)
        assert first.test_metric == pytest.approx(second.test_metric, rel=1e-5)


@dataclass
class Output:
    logits: Tensor
    hidden: Tensor
    loss: Tensor | None = None
    cache: Any = None


class Opaque:
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


def returning(how: Callable[[Tensor], Any]) -> Callable[[], nn.Module]:
    class Returning(Beside):
        def forward(self, x: Tensor) -> Any:
            return how(super().forward(x))

    return Returning


RETURNED: dict[str, Callable[[Tensor], Any]] = {
    "object": Opaque,
    "dataclass": lambda o: Output(o, o.exp(), cache=object()),
    "dict": lambda o: {"hidden": o.exp(), "logits": o},
    "tuple": lambda o: (o, (o.exp(), None)),
}
SINGLE = np.concatenate([A, B], 1), Y


def by_hand(outputs: Any, targets: Tensor) -> Tensor:
    found = outputs["logits"] if isinstance(outputs, dict) else outputs
    found = found.logits if isinstance(found, Output) else found
    return functional.cross_entropy(found[0] if isinstance(found, tuple) else found, targets)


@pytest.mark.parametrize("lanes", [1, 3], ids=["alone", "lanes"])
@pytest.mark.parametrize("kind", RETURNED)
def test_scores_are_found_in_what_a_model_returns(
    kind: str, lanes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = complete(task(SINGLE, Beside), runs(), REGIME, lanes, test=True)
    made = task(SINGLE, returning(RETURNED[kind]))
    examine(made)
    agree(complete(made, runs(), REGIME, lanes, test=True), expected)
    if kind == "object":
        return
    # A loss of one's own gets everything; where data are measured in parts, these are put together.
    mine = replace(made, loss=by_hand, metric=None, metrics=["accuracy", "loss"])
    agree(complete(mine, runs(), REGIME, lanes, test=True), expected)
    monkeypatch.setattr(population, "evaluation_size", lambda task, most: (2, 5))
    agree(complete(mine, runs(), REGIME, lanes, test=True), expected)


class Modelled(Beside):
    """Computes its own loss where it is given labels, as Hugging Face's models do."""

    def forward(self, a: Tensor, b: Tensor, labels: Tensor | None = None) -> Any:  # type: ignore[override]
        logits = super().forward(torch.cat([a, b], -1))
        loss = None if labels is None else functional.cross_entropy(logits, labels) * 2
        return Output(logits, logits, loss)


@pytest.mark.parametrize("lanes", [1, 3], ids=["alone", "lanes"])
def test_the_models_own_loss(lanes: int) -> None:
    inside = task({"a": A, "b": B, "labels": Y}, Modelled)
    assert "the model's own" in inside.notes[0]
    assert inside.metric is losses.ACCURACY
    named = task(({"a": A, "b": B}, Y), Modelled, loss="model")
    twice = task(
        ({"a": A, "b": B}, Y),
        Modelled,
        loss=lambda o, t: 2 * functional.cross_entropy(o.logits, t),
        metric="accuracy",
    )
    expected = complete(twice, runs(), REGIME, lanes, test=True)
    for made in (inside, named):
        examine(made)
        agree(complete(made, runs(), REGIME, lanes, test=True), expected)
    plain = task(({"a": A, "b": B}, Y), Modelled)  # targets of their own: the loss of the logits
    assert plain.step is None
    examine(plain)


class Contrastive(Beside):
    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return a @ self.weight[:, :3].T, b @ self.weight[:, 3:].T


def distance(outputs: tuple[Tensor, Tensor], targets: Any) -> Tensor:
    return (outputs[0] - outputs[1]).square().mean() + 0 * targets[0].sum()


def test_several_inputs_without_targets_and_several_targets() -> None:
    alone = task(((A, B), None), Contrastive, loss=distance)
    agree(
        complete(alone, runs(), REGIME, 3, test=True), complete(alone, runs(), REGIME, 1, test=True)
    )

    several = task(
        ((A, B), {"x": A, "k": Y}), Contrastive, loss=lambda o, t: (o[0] - t["x"]).abs().mean()
    )
    assert several.train[1]["k"].dtype == torch.int64
    agree(
        complete(several, runs(), REGIME, 3, test=True),
        complete(several, runs(), REGIME, 1, test=True),
    )


# What is refused.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": returning(lambda o: {"hidden": o})},
            "the model returns dict with hidden; a loss",
        ),
        (
            {"model": returning(lambda o: object())},
            "the model returns object; a loss or metric by name",
        ),
        ({"model": returning(Opaque), "loss": by_hand}, "fails on its first mini-batch"),
        ({"loss": "model"}, "labels"),
        ({"loss": "model", "step": lambda m, b: m(b[0]).mean()}, "loss='model' and step are both"),
    ],
)
def test_outputs_without_scores_or_loss_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        examine(task(SINGLE, **{"model": Beside, **changes}))
    assert message in str(error.value)


def test_a_metric_of_ones_own_cannot_take_apart_what_has_no_tensor() -> None:
    made = task(
        SINGLE, returning(Opaque), metrics=Metric("m", True, lambda o, t: o.logits.mean(), 0)
    )
    with pytest.raises(UsageError, match="returns Opaque, in which no tensor is found"):
        examine(made)
