"""Every size of batch that a race will use is tried before it trains."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import thalweg as tw
from thalweg.errors import UsageError
from thalweg.tasks import Task, examine, examine_batches

pytestmark = pytest.mark.usefixtures("one_thread")

DRAW = np.random.default_rng(0)
X, Y = DRAW.normal(size=(55, 3)), np.arange(55) % 3  # 33 of them to train on, 11 and 11 to judge by
SHORT: dict[str, Any] = {"optimizers": ["sgd"], "budget": 4, "seeds": 1, "epochs": 1}


def normalized() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))


class Picky(nn.Linear):
    """Takes some numbers of samples only; of what it saw, the sizes are kept."""

    refused: tuple[int, ...] = ()
    seen: list[tuple[bool, int]] = []

    def __init__(self) -> None:
        super().__init__(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        Picky.seen.append((self.training, len(x)))
        if len(x) in self.refused:
            raise ValueError(f"not {len(x)}")
        return super().forward(x)


@pytest.fixture(autouse=True)
def taking_everything() -> None:
    Picky.seen, Picky.refused = [], ()


def test_a_last_mini_batch_of_one_is_found_before_anything_is_trained() -> None:
    with pytest.raises(UsageError) as error:
        tw.race(normalized, X, Y, batch_size=8, **SHORT)
    message = str(error.value)
    assert (
        "the last mini-batch of an epoch, at batch_size=8, inputs float32 of shape (1, 3)"
        in message
    )
    assert "Expected more than 1 value per channel" in message
    assert message.endswith("leave it out with drop_last=True")
    assert (
        tw.race(normalized, X, Y, batch_size=8, drop_last=True, **SHORT).result.setting.steps == 4
    )
    tw.race(normalized, X, Y, batch_size=16, drop_last=True, **SHORT)
    with pytest.raises(UsageError, match="at batch_size=16"):
        tw.race(normalized, X, Y, batch_size=16, **SHORT)


def test_every_batch_size_of_a_search_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Task(model=normalized, train=(X, Y), batch_size=6)  # 33 samples: 5·6 + 3, 11·3, 2·12 + 9
    assert made.samples == 33
    tuned = {**SHORT, "tune": ["lr", "batch_size"]}
    tw.race(made, **tuned)
    doubled = Task(model=normalized, train=(X, Y), batch_size=8)
    # At 8 and at 16 one sample is left.
    with pytest.raises(UsageError, match=r"at batch_size=8, .*drop_last=True"):
        tw.race(doubled, **tuned)
    Picky.refused = (12,)
    with pytest.raises(UsageError, match=r"fails on mini-batches of 12, .*not 12.*; take another"):
        tw.race(Task(model=Picky, train=(X, Y), batch_size=6), **tuned)
    Picky.refused = (9,)
    with pytest.raises(UsageError, match=r"not 9.*; leave it out with drop_last"):
        tw.race(Task(model=Picky, train=(X, Y), batch_size=6), **tuned)


def test_the_sizes_are_those_of_training_and_of_evaluation() -> None:
    made = Task(model=Picky, train=(X, Y), batch_size=6)
    examine_batches(made, [6, 11], drop_last=False, evaluated=4)
    assert {size for training, size in Picky.seen if training} == {6, 3, 11}
    assert {size for training, size in Picky.seen if not training} == {4, 3}
    Picky.refused = (3,)
    with pytest.raises(UsageError, match="fails on validation data, which is evaluated 3 samples"):
        examine_batches(made, [6], drop_last=True, evaluated=4)
    Picky.refused = (11,)
    with pytest.raises(UsageError, match="fails on validation data, which is evaluated 11 samples"):
        tw.race(made, **SHORT)


def test_trying_leaves_random_numbers_alone() -> None:
    made = Task(
        model=lambda: nn.Sequential(nn.Dropout(), nn.Linear(3, 3)), train=(X, Y), batch_size=8
    )
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    examine(made)
    examine_batches(made, [8], drop_last=False, evaluated=100)
    assert torch.equal(torch.rand(2), expected)


def test_a_single_sample_and_a_part_without_samples() -> None:
    one = Task(
        model=lambda: nn.Linear(3, 3), train=(X[:1], Y[:1]), validation=(X[:1], Y[:1]), test=(X, Y)
    )
    assert tw.race(one, **SHORT).result.setting.train == 1
    with pytest.raises(UsageError, match=r"validation inputs of shape \(0, 3\) hold no sample"):
        Task(model=normalized, train=(X, Y), validation=(X[:0], Y[:0]))
