"""Trained by skorch, as a scikit-learn estimator: the losses and weights that torch.optim gives."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from torch import nn

from framework_cases import CASES, FlowerNet, assert_same, optimizer_class

skorch = pytest.importorskip("skorch", reason="skorch is not installed: pip install thalweg[dev]")
callbacks = pytest.importorskip("skorch.callbacks")

EPOCHS = 4
EVERY = pytest.mark.parametrize("case", CASES)


def flowers() -> tuple[Any, Any]:
    """Fisher's irises, standardized."""
    x, y = load_iris(return_X_y=True)
    return (x - x.mean(0)) / x.std(0), y.astype(np.int64)


def classifier(library: str, case: str, **options: Any) -> Any:
    """An estimator whose optimizer is of one of the libraries."""
    given = {f"optimizer__{key}": x for key, x in CASES[case][1].items() if key != "lr"}
    usual = {"max_epochs": EPOCHS, "batch_size": 30, "train_split": None, "verbose": 0}
    return skorch.NeuralNetClassifier(
        FlowerNet,
        criterion=nn.CrossEntropyLoss,
        optimizer=optimizer_class(library, case),
        lr=CASES[case][1]["lr"],
        **{**usual, **given, **options},
    )


def learned(net: Any) -> dict[str, Any]:
    """The loss of every batch, and the weights."""
    losses = net.history[:, "batches", :, "train_loss"]
    return {"losses": losses, **net.module_.state_dict()}


@EVERY
def test_trains_as_with_torch(case: str) -> None:
    found = {}
    for library in ("torch", "thalweg"):
        net = classifier(
            library,
            case,
            optimizer__param_groups=[("2.*", {"lr": 0.002, "weight_decay": 0.05})],
            callbacks=[
                callbacks.GradientNormClipping(0.3),
                callbacks.LRScheduler(torch.optim.lr_scheduler.ExponentialLR, gamma=0.8),
            ],
        )
        found[library] = learned(net.fit(*flowers()))
    losses = found["torch"]["losses"]
    assert np.mean(losses[-1]) < np.mean(losses[0])
    assert_same(found["thalweg"], found["torch"])


@EVERY
def test_goes_on_after_pickling(case: str) -> None:
    x, y = flowers()
    whole = classifier("torch", case).fit(x, y)
    net = classifier("thalweg", case, max_epochs=EPOCHS // 2).fit(x, y)
    again = pickle.loads(pickle.dumps(net)).partial_fit(x, y)
    assert_same(learned(again), learned(whole))


@EVERY
@pytest.mark.parametrize("writer", ["torch", "thalweg"])
def test_goes_on_from_saved_parameters_of_either(case: str, writer: str, tmp_path: Path) -> None:
    x, y = flowers()
    whole = classifier("torch", case).fit(x, y)
    files = {"f_params": tmp_path / "weights.pt", "f_optimizer": tmp_path / "optimizer.pt"}
    classifier(writer, case, max_epochs=EPOCHS // 2).fit(x, y).save_params(**files)
    again = classifier("thalweg", case, max_epochs=EPOCHS // 2).initialize()
    again.load_params(**files)
    again.partial_fit(x, y)
    assert_same(again.module_.state_dict(), whole.module_.state_dict())


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_grid_search_finds_what_it_finds_with_torch(processes: int) -> None:
    x, y = flowers()
    grid = {"lr": [1e-4, 1e-3, 0.02], "optimizer__momentum_decay": [4e-3, 0.5]}
    found = {}
    for library, jobs in (("torch", 1), ("thalweg", processes)):
        search = GridSearchCV(classifier(library, "nadam"), grid, cv=3, n_jobs=jobs)
        found[library] = search.fit(x, y)
    assert found["torch"].best_params_["lr"] == 0.02
    assert found["thalweg"].best_params_ == found["torch"].best_params_
    scores = [found[k].cv_results_["mean_test_score"] for k in ("thalweg", "torch")]
    np.testing.assert_array_equal(*scores)
    assert_same(learned(found["thalweg"].best_estimator_), learned(found["torch"].best_estimator_))


def test_options_are_set_and_cloned() -> None:
    net = clone(classifier("thalweg", "nadam")).set_params(lr=0.5, optimizer__momentum_decay=0.25)
    (group,) = net.initialize().optimizer_.param_groups
    assert (group["lr"], group["momentum_decay"]) == (0.5, 0.25)
    net.set_params(optimizer__weight_decay=0.125)  # builds the optimizer again
    assert net.optimizer_.param_groups[0]["weight_decay"] == 0.125
