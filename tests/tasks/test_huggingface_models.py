"""Models of Hugging Face, built from a configuration: their inputs, their outputs, their loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import thalweg as tw
from executed import complete, train
from thalweg.tasks import Task, examine, losses
from thalweg.training.runs import Regime, Run, method

transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.usefixtures("one_thread")

DRAW = np.random.default_rng(0)
IDS = DRAW.integers(5, 30, (60, 6))
LENGTHS = DRAW.integers(2, 7, 60)
MASK = (np.arange(6) < LENGTHS[:, None]).astype(np.int64)
Y = (IDS[:, 0] > 17).astype(np.int64)
TOKENS = {"input_ids": IDS, "attention_mask": MASK}
REGIME = Regime(epochs=2, batch_size=12, evaluations=2)
SMALL = {"vocab_size": 30, "bos_token_id": 0, "eos_token_id": 0}


def bert() -> nn.Module:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.BertConfig(
        vocab_size=30, intermediate_size=16, max_position_embeddings=8, num_labels=2, **sizes
    )
    return transformers.BertForSequenceClassification(config)


def gpt2() -> nn.Module:
    sizes = {"n_positions": 8, "n_embd": 8, "n_layer": 1, "n_head": 2}
    config = transformers.GPT2Config(**sizes, loss_type="ForCausalLM", **SMALL)
    return transformers.GPT2LMHeadModel(config)


def task(train: Any, model: Any = bert, **more: Any) -> Task:
    return Task(**{"model": model, "train": train, "batch_size": 12, **more})


def runs(count: int) -> list[Run]:
    return [Run(method("adam"), {"lr": 0.01}, seed) for seed in range(count)]


def own_loss(model: nn.Module, inputs: dict[str, Tensor], labels: Tensor) -> Tensor:
    return model(**inputs, labels=labels).loss


@pytest.mark.parametrize("inside", [False, True], ids=["targets beside", "labels inside"])
def test_a_classifier_has_the_loss_that_it_computes_itself(inside: bool) -> None:
    made = task({**TOKENS, "labels": Y} if inside else (TOKENS, Y))
    examine(made)
    assert made.metric is losses.ACCURACY
    assert {v.dtype for v in made.train[0].values()} == {torch.int64}
    model = made.model().eval()
    loss = made.objective(model, *made.train)
    # Two ways to the same float32 sum.
    torch.testing.assert_close(loss, own_loss(model, *made.train), rtol=1e-6, atol=0)
    with torch.no_grad():
        scores = made.outputs(model, made.train[0])
    torch.testing.assert_close(scores, model(**made.train[0]).logits, rtol=0, atol=0)


def test_a_classifier_learns_alike_in_lanes_and_alone() -> None:
    # transformers looks into a mask of padding to leave it out, which lanes cannot do.
    made = task(({"input_ids": IDS, "token_type_ids": MASK}, Y))
    together = train(made, runs(2), REGIME, test=True)
    alone = complete(made, runs(2), REGIME, 1, test=True)
    for one, two in zip(together, alone, strict=True):
        # Ten steps of Adam on float32, whose sums are taken in different orders.
        assert one.validation_loss == pytest.approx(two.validation_loss, rel=1e-4)


def test_a_language_model_shifts_its_labels_itself() -> None:
    made = task({"input_ids": IDS, "labels": IDS}, gpt2)
    examine(made)
    assert "the model's own" in made.notes[0]
    assert made.judged_by_loss
    model = made.model().eval()
    loss = made.objective(model, *made.train)
    torch.testing.assert_close(loss, own_loss(model, *made.train), rtol=1e-6, atol=0)
    logits = model(input_ids=made.train[0]["input_ids"]).logits
    unshifted = losses.cross_entropy(logits, made.train[1])
    assert abs(float((loss - unshifted).detach())) > 1e-3
    (found,) = complete(made, runs(1), REGIME, 1, test=True)
    assert found.failed is None
    assert found.validation_loss[-1] < found.validation_loss[0]


def test_a_race_of_a_classifier_from_its_call() -> None:
    found = tw.race(bert, TOKENS, Y, optimizers=["adam", "momentum"], budget=2, seeds=2, epochs=1)
    assert {entry.name for entry in found.result.optimizers} == {"adam", "momentum"}
