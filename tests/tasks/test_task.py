"""What a task refuses, what its fingerprint tells apart, and what it shows of itself."""

from __future__ import annotations

import dataclasses
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from thalweg import tasks
from thalweg.errors import UsageError
from thalweg.tasks import Metric, Task, losses


def tiny(**changes: object) -> Task:
    """A user's task of ten samples, valid as it stands."""
    x, y = torch.arange(20.0).reshape(10, 2), torch.arange(10.0).reshape(10, 1)
    given = {
        "name": "mine",
        "model": linear,
        "train": (x, y),
        "validation": (x[:3], y[:3]),
        "test": (x[3:5], y[3:5]),
        "loss": losses.mse,
        "metric": losses.R_SQUARED,
        "batch_size": 4,
        "epochs": 2,
    }
    return Task(**{**given, **changes})  # type: ignore[arg-type]


def linear() -> torch.nn.Module:
    return torch.nn.Linear(2, 1)


class Tanh(torch.nn.Module):
    """Shows no more in its repr than Relu does; only `forward` tells them apart."""

    def __init__(self) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(2, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x @ self.w).tanh()


class Relu(Tanh):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x @ self.w).relu()

    def _get_name(self) -> str:
        return "Tanh"


# --- what a task refuses ------------------------------------------------------------------------

X, Y = torch.zeros(10, 2), torch.zeros(10, 1)
NAN = torch.tensor([[1.0, math.nan], [math.inf, 0.0]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 11}, "batch_size=11 must be a whole number from 1 to 10"),
        ({"batch_size": 0}, "batch_size=0 must be a whole number from 1 to 10"),
        ({"batch_size": 2.0}, "batch_size=2.0 must be a whole number"),
        ({"batch_size": True}, "batch_size=True must be a whole number"),
        ({"epochs": 0}, "epochs=0 must be a whole number >= 1"),
        ({"floor": math.nan}, "floor=nan must be finite"),
        ({"model": "mlp"}, "model must be a function that builds a new model"),
        ({"loss": 3}, "loss=3 is no function"),
        ({"metric": 3}, "is no Metric"),
        ({"train": X}, "train has inputs and no targets, but validation has both"),
        ({"test": X}, "test has inputs and no targets, but train has both"),
        ({"train": (X, Y, Y)}, "train must be a pair"),
        ({"train": (X, Y[:7])}, "train has 10 inputs but 7 targets"),
        ({"test": (X[:0], Y[:0])}, "test inputs of shape (0, 2) hold no sample"),
        ({"train": (torch.tensor(1.0), Y)}, "train inputs of shape () hold no sample"),
        ({"validation": (X[:, :1], Y)}, "validation inputs are float32 1, but those of train are"),
        ({"validation": (X.double(), Y)}, "validation inputs are float64 2, but those of train"),
        ({"test": (NAN, Y[:2])}, "test inputs contain 2 NaN or infinite values"),
        ({"train": (X.half(), Y)}, "train inputs are float16"),
        ({"train": (X, Y.bool())}, "train targets are bool"),
        ({"train": (X + 0j, Y)}, "train inputs are complex64"),
    ],
)
def test_a_task_that_cannot_work_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as error:
        tiny(**changes)
    assert message in str(error.value)
    assert "'mine'" in str(error.value)


def test_a_model_that_is_none_or_has_no_parameter_is_refused() -> None:
    with pytest.raises(UsageError, match="no trainable parameter"):
        tiny(model=torch.nn.Identity).parameters()
    with pytest.raises(UsageError, match=r"must return a torch\.nn\.Module, not int"):
        tiny(model=lambda: 3).parameters()


@pytest.mark.parametrize("margin", [-0.1, math.nan, math.inf])
def test_a_metric_needs_a_margin(margin: float) -> None:
    with pytest.raises(UsageError, match=f"margin={margin}"):
        Metric("accuracy", True, losses.accuracy, margin)
    with pytest.raises(UsageError, match=f"relative_margin={margin}"):
        Metric("accuracy", True, losses.accuracy, 0.0, relative_margin=margin)


def test_the_margin_of_a_loss_is_a_share_of_it() -> None:
    assert losses.OWN_LOSS.margin_beside(0.22) == pytest.approx(0.0022)
    assert losses.OWN_LOSS.margin_beside(-40.0) == pytest.approx(0.4)
    assert losses.ACCURACY.margin_beside(0.9) == 0.005
    assert losses.LOSS.margin_beside(1e-9) == 1e-6
    assert losses.LOSS.margin_in_words == "1e-06 and 1 %"
    assert Metric("m", True, losses.accuracy, 0.0).margin_in_words == "any"


def test_a_metric_needs_a_function() -> None:
    with pytest.raises(UsageError, match="function='accuracy' is no function"):
        Metric("accuracy", True, "accuracy", 0.1)  # type: ignore[arg-type]


# --- fingerprint, description -------------------------------------------------------------------


def test_fingerprint_is_the_same_in_another_process_and_scikit_learn_is_loaded_late() -> None:
    code = (
        "import sys, thalweg.tasks as t; assert 'sklearn' not in sys.modules; "
        "print(t.find('digits-cnn').fingerprint, t.find('quadratic:noise=1').fingerprint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = [tasks.find(name).fingerprint for name in ("digits-cnn", "quadratic:noise=1")]
    assert done.stdout.split() == here


def test_fingerprint_tells_tasks_apart() -> None:
    one, x = tiny(), tiny().train[0].clone()
    x[4, 1] += 1
    others = [
        tiny(name="other"),
        tiny(train=(x, one.train[1])),
        tiny(test=(x[3:5], one.test[1])),
        tiny(model=lambda: torch.nn.Linear(2, 1, bias=False)),
        tiny(model=Tanh),
        tiny(model=Relu),
        tiny(loss=losses.binary_cross_entropy),
        tiny(metric=dataclasses.replace(one.metric, function=losses.mse)),
        tiny(metric=dataclasses.replace(one.metric, higher_is_better=False)),
    ]
    prints = [task.fingerprint for task in (one, *others)]
    assert len(set(prints)) == len(prints)
    assert tiny().fingerprint == one.fingerprint
    # How long it is trained, and in what batches, is the run's own business.
    assert tiny(epochs=9, batch_size=1).fingerprint == one.fingerprint
    assert len({tasks.find(name).fingerprint for name in tasks.registry()}) == len(tasks.registry())


def test_fingerprint_covers_the_weights_that_a_model_reads(tmp_path: Path) -> None:
    file, read = tmp_path / "weights.pt", Reads(tmp_path / "weights.pt")
    torch.save(linear().state_dict(), file)
    before = tiny(model=read).fingerprint
    assert tiny(model=read).fingerprint == before
    torch.save({name: value + 1 for name, value in linear().state_dict().items()}, file)
    assert tiny(model=read).fingerprint != before


def test_a_model_with_other_weights_at_every_call_has_one_fingerprint() -> None:
    assert tiny(model=drifting).fingerprint == tiny(model=drifting).fingerprint


class Reads:
    """Builds a model with the weights of a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __call__(self) -> torch.nn.Module:
        model = linear()
        model.load_state_dict(torch.load(self.file))
        return model


def drifting() -> torch.nn.Module:
    """A model with weights from a source that nobody seeds."""
    model = linear()
    torch.nn.init.constant_(next(model.parameters()), int.from_bytes(os.urandom(3)))
    return model


def test_looking_at_a_task_moves_no_random_number() -> None:
    task = tasks.find("digits-cnn")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    _ = task.fingerprint, task.parameters(), task.describe(), repr(task)
    assert torch.equal(torch.rand(3), expected)


def test_description_shows_sizes() -> None:
    task = tasks.find("digits-cnn")
    text = task.describe()
    for part in (
        "1,898 parameters",
        "1,078 samples",
        "359 samples",
        "360 samples",
        "1×8×8",
        "cross_entropy",
        "accuracy, higher is better",
        "of 64, 20 epochs",
        task.fingerprint[:16],
    ):
        assert part in text
    assert "1 sample;" in tasks.find("quadratic").describe()
    assert "never below 0" in tasks.find("quadratic").describe()
    assert repr(task) == (
        "<Task 'digits-cnn': 1078/359/360 train/validation/test samples, batches of 64, 20 epochs>"
    )
    assert "a&lt;b" in tiny(title="a<b")._repr_html_()
