"""What a race can be asked for: an order of samples, learning rates, ranges, no targets."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    SequentialSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import thalweg as tw
from executed import train
from thalweg.cli import main
from thalweg.errors import UsageError
from thalweg.racing import race, run
from thalweg.rules.core import LogRange
from thalweg.rules.ranges import Choice, LinearRange, NearOne
from thalweg.tasks import Task, losses
from thalweg.training.execution.plan import ExecutionPlan
from thalweg.training.runs import Regime, Run, batches, method

pytestmark = pytest.mark.usefixtures("one_thread")

X = torch.linspace(-1, 1, 30)[:, None]
Y = 3 * X + 1


@pytest.fixture(autouse=True)
def lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Races of this file need not measure how to run."""
    monkeypatch.setattr(run, "choose", lambda *args: ExecutionPlan("lanes", 64))


def line(**more: Any) -> Task:
    return Task(
        "line", lambda: nn.Linear(1, 1), (X, Y), (X, Y), (X, Y), batch_size=8, epochs=2, **more
    )


def rates_tried(found: tw.Race) -> dict[str, list[float]]:
    return {e["name"]: [p["learning_rate"] for p in e["sensitivity"]] for e in found.optimizers}


# The order of samples, and the last batch.


def orders(order: Any, seed: int = 0, **more: Any) -> list[list[int]]:
    """The batches of two epochs over ten samples."""
    return [b.tolist() for b in batches(10, Regime(2, 4, **more), seed, order)]


def test_a_given_order_is_kept_and_a_smaller_last_batch_can_be_left_out() -> None:
    assert orders("sequential") == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]] * 2
    assert orders("sequential", drop_last=True) == [[0, 1, 2, 3], [4, 5, 6, 7]] * 2
    assert [len(b) for b in orders("shuffled", drop_last=True)] == [4, 4] * 2
    assert orders("shuffled", drop_last=True) == [b for b in orders("shuffled") if len(b) == 4]


def test_steps_are_counted_without_the_batches_left_out() -> None:
    for size in (1, 3, 4, 5, 10):
        for drop_last in (False, True):
            regime = Regime(3, size, drop_last=drop_last)
            assert regime.steps(10) == len(list(batches(10, regime, 0)))
    task = line(drop_last=True)
    found = race(task, optimizers=["sgd"], budget=2, seeds=2)
    assert found.document["setting"]["steps"] == 2 * (30 // 8)
    assert race(task, optimizers=["sgd"], budget=2, seeds=2, drop_last=False).document["setting"][
        "steps"
    ] == 2 * (30 // 8 + 1)


def test_a_function_orders_the_samples_of_each_epoch() -> None:
    def rising(epoch: int, generator: np.random.Generator) -> Any:
        return np.roll(np.arange(10), epoch)

    assert orders(rising)[3:] == [[9, 0, 1, 2], [3, 4, 5, 6], [7, 8]]

    def drawn(epoch: int, generator: np.random.Generator) -> Any:
        return generator.permutation(10)

    assert orders(drawn) == orders(drawn) == orders("shuffled")
    assert orders(drawn) != orders(drawn, seed=1)


def test_a_sampler_of_torch_draws_from_each_runs_own_seed() -> None:
    sampler = WeightedRandomSampler([1.0] * 5 + [0.0] * 5, 10)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = orders(sampler)
    assert torch.equal(torch.rand(3), expected)  # the caller's own numbers go on
    assert orders(sampler) == first != orders(sampler, seed=1)
    assert {k for b in first for k in b} <= set(range(5))
    assert first[:3] != first[3:]
    assert orders(SequentialSampler(range(10))) == orders("sequential")


def test_an_order_changes_what_is_trained_and_what_it_is_called() -> None:
    regime, one = Regime(2, 8, evaluations=4), Run(method("sgd"), {"lr": 0.1}, 0)
    results = {}
    for order in ("shuffled", "sequential", "replacement"):
        task = line(order=order)
        (result,) = train(task, [one], regime)
        results[task.fingerprint] = result.validation_loss[-1]
    assert len(results) == len(set(results.values())) == 3
    assert line().fingerprint == line(order="shuffled").fingerprint
    assert "in the given order" in line(order="sequential").describe()


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("random", "no order .*named 'random'"),
        (3, "order=3 must be one of shuffled, replacement, sequential"),
        (BatchSampler(SequentialSampler(X), 4, False), "give its sampler as order"),
        (
            WeightedRandomSampler([1.0] * 30, 30, generator=torch.Generator()),
            "has a generator of its own",
        ),
    ],
)
def test_what_is_no_order_is_refused(order: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        line(order=order)


def few(epoch: int, generator: np.random.Generator) -> list[int]:
    return [0, 1]


def far(epoch: int, generator: np.random.Generator) -> Any:
    return np.arange(30) + 1


def real(epoch: int, generator: np.random.Generator) -> Any:
    return np.ones(30)


def failing(epoch: int, generator: np.random.Generator) -> Any:
    raise KeyError("no epoch")


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (few, "ordered by few, which gave 2 sample numbers for an epoch; it must give 30"),
        (far, "numbers from 1 to 30; the training samples are numbered from 0 to 29"),
        (real, "which gave float64 of shape"),
        (failing, "order fails in epoch 0: .*test_race_inputs.py:.*KeyError"),
    ],
)
def test_an_order_that_gives_no_sample_numbers_is_an_error(order: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        race(line(), order=order, optimizers=["sgd"], budget=2, seeds=2)


# Explicit learning rates.


def test_given_learning_rates_are_tried_and_no_others() -> None:
    options: dict[str, Any] = {"optimizers": ["sgd", "adam"], "seeds": 2}
    found = race(line(), learning_rates=[1e-4, 1e-5], **options)
    assert rates_tried(found) == {"sgd": [1e-5, 1e-4], "adam": [1e-5, 1e-4]}
    assert found.document["search"]["sampler"] == "given"
    assert all(e["edges"] == ["lr"] for e in found.optimizers)  # and what that leaves open is said
    each = {"sgd": [0.1, 0.2], "adam": [0.01, 0.02]}
    assert rates_tried(race(line(), learning_rates=each, **options)) == each
    one = race(line(), learning_rates=[0.05], **options)
    assert rates_tried(one) == {"sgd": [0.05], "adam": [0.05]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rates": []}, "name one or more"),
        ({"learning_rates": [0.1, 0.1]}, "each once"),
        ({"learning_rates": [0.1, -1]}, "has -1; it must be a number above 0"),
        ({"learning_rates": [0.1, float("nan")]}, "has nan; it must be"),
        ({"learning_rates": [True]}, "has True; it must be"),
        ({"learning_rates": {"sgd": [0.1]}}, "has none for adam"),
        ({"learning_rates": {"sgd": [0.1], "adam": [1, 2]}}, "1 for sgd, 2 for adam; give"),
        ({"learning_rates": {"adams": [0.1]}}, "no optimizer in learning_rates named 'adams'"),
        ({"learning_rates": [0.1], "budget": 5}, "budget=5, but learning_rates names 1"),
        ({"learning_rates": [0.1], "tune": "all"}, "learning_rates names all that is tried"),
        (
            {"learning_rates": [0.1], "search": {"adam": {"lr": (1e-3, 1e-2)}}},
            "leaves no range to search",
        ),
        ({"search": {"adams": {"lr": (1e-3, 1e-2)}}}, "no optimizer in search named 'adams'"),
        ({"search": {"adam": {"beta9": (0.5, 0.9)}}}, "no hyperparameter of adam .*'beta9'"),
        ({"search": {"adam": {"beta1": Choice((0.5, 1.0))}}}, "value 1.0: it must be below 1"),
        ({"search": {"adam": {"beta1": Choice(())}}}, "one or more values, each once"),
        ({"search": {"adam": {"weight_decay": Choice((0, -1.0))}}}, "-1.0: it must be at least 0"),
        ({"search": {"adam": {"lr": Choice((0.1, 0.2))}}}, r"learning_rates \(--lr\) names single"),
        ({"search": {"adam": {"lr": (1e-2, 1e-3)}}}, "finite numbers above 0, the smaller first"),
        ({"search": {"adam": {"lr": (0, 1e-3)}}}, "finite numbers above 0, the smaller first"),
        ({"search": {"adam": {"beta1": (0.5, 1.0)}}, "tune": "all"}, "below 1, the smaller"),
        ({"search": {"adam": {"lr": 3}}}, "must be a range or two numbers|searched in a LogRange"),
        ({"search": {"adam": {"lr": NearOne(0.1, 0.9)}}}, "learning rates are searched in a Log"),
    ],
)
def test_learning_rates_and_ranges_that_cannot_work_are_refused(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        race(line(), optimizers=["sgd", "adam"], seeds=2, **arguments)


# A changed range of a built-in.


def test_a_range_of_a_built_in_can_be_changed() -> None:
    found = race(
        line(), optimizers=["sgd", "adam"], budget=3, seeds=2, search={"adam": {"lr": (0.01, 1.0)}}
    )
    assert rates_tried(found)["adam"][:3] != rates_tried(found)["sgd"][:3]
    assert {0.01, 0.1, 1.0} <= set(rates_tried(found)["adam"])
    adam = next(e for e in found.optimizers if e["name"] == "adam")
    assert adam["code"].startswith("thalweg.optim.Adam(")  # it is the built-in one still
    same = race(
        line(),
        optimizers=["sgd", "adam"],
        budget=3,
        seeds=2,
        search={"adam": {"lr": LogRange(0.1, 2.0)}},
    )
    assert rates_tried(same) == rates_tried(found)


def test_ranges_of_every_kind_are_searched() -> None:
    found = race(
        line(),
        optimizers=["adam", "random_search"],
        budget=16,
        seeds=2,
        tune=["beta1", "eps"],
        search={
            "adam": {"beta1": LinearRange(0.3, 0.4), "eps": (1e-9, 1e-8)},
            "random_search": {"lr": (2.0, 4.0)},
        },
    )
    tried = {e["name"]: [p["configuration"] for p in e["sensitivity"]] for e in found.optimizers}
    assert all(0.3 <= c["beta1"] <= 0.4 for c in tried["adam"])
    assert sum(1e-9 <= c["eps"] <= 1e-8 for c in tried["adam"]) >= 16
    assert sum(2.0 <= c["lr"] <= 4.0 for c in tried["random_search"]) >= 16


def test_what_has_a_range_is_tuned_for_all_that_have_it() -> None:
    found = race(
        line(),
        optimizers=["Adam", "SGD"],
        budget=8,
        seeds=2,
        search={"adam": {"weight_decay": Choice((0.0, 0.25))}},
    )
    tried = {e["name"]: [p["configuration"] for p in e["sensitivity"]] for e in found.optimizers}
    assert {c["weight_decay"] for c in tried["adam"]} == {0.0, 0.25}
    assert all(0 < c["weight_decay"] < 0.25 for c in tried["sgd"])


# From the command line.


def test_the_command_line_has_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["race", "wine-mlp", "--optimizers", "sgd,adam", "--seeds", "2", "--epochs", "1"]
    out = ["--out", str(tmp_path / "a"), "--json"]
    assert main([*common, "--lr", "1e-3,1e-2", "--order", "sequential", "--drop-last", *out]) == 0
    document = json.loads(capsys.readouterr().out)
    found = {
        e["name"]: [p["learning_rate"] for p in e["sensitivity"]] for e in document["optimizers"]
    }
    assert found == {"sgd": [1e-3, 1e-2], "adam": [1e-3, 1e-2]}
    assert document["setting"]["steps"] == 106 // document["setting"]["batch_size"]
    out = ["--out", str(tmp_path / "b"), "--json"]
    each = ["--lr", "sgd=0.1,0.2", "--lr", "adam=0.01,0.02"]
    assert main([*common, *each, *out]) == 0
    document = json.loads(capsys.readouterr().out)
    found = {
        e["name"]: [p["learning_rate"] for p in e["sensitivity"]] for e in document["optimizers"]
    }
    assert found == {"sgd": [0.1, 0.2], "adam": [0.01, 0.02]}
    ranges = ["--search", "adam.lr=1e-5..1e-3", "--search", "sgd.lr=0.1..10", "--budget", "3"]
    assert main([*common, *ranges, "--out", str(tmp_path / "c"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    found = {
        e["name"]: {p["learning_rate"] for p in e["sensitivity"]} for e in document["optimizers"]
    }
    assert {1e-5, 1e-4, 1e-3} <= found["adam"]
    assert {0.1, 1.0, 10.0} <= found["sgd"]


@pytest.mark.parametrize(
    "option",
    [["--lr", "a,b"], ["--search", "adam.lr=x"], ["--search", "lr=1..2"], ["--order", "random"]],
)
def test_the_command_line_refuses_what_it_cannot_read(
    option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["race", "wine-mlp", *option])
    assert ended.value.code == 2
    assert option[0] in capsys.readouterr().err


# Tasks without targets.


def autoencoder() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 4))


INPUTS = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
ALONE = {
    "tensor": lambda: INPUTS,
    "array": lambda: INPUTS.numpy(),
    "pair": lambda: (INPUTS, None),
    "dataset": lambda: TensorDataset(INPUTS),
    "loader": lambda: DataLoader(list(INPUTS), batch_size=7),
}


@pytest.mark.parametrize("kind", ALONE)
def test_inputs_alone_are_their_own_targets(kind: str) -> None:
    task = Task("auto", autoencoder, ALONE[kind](), loss="mse")
    for x, y in (task.train, task.validation, task.test):
        assert y is x
    assert torch.equal(
        torch.cat([task.train[0], task.validation[0], task.test[0]]).sort(0)[0], INPUTS.sort(0)[0]
    )
    assert task.metric is losses.R_SQUARED
    assert any("no targets" in note for note in task.notes)
    whole = Task("auto", autoencoder, INPUTS, INPUTS[:9], INPUTS[9:], loss="mse")
    assert len(whole.validation[0]) == 9
    assert whole.validation[1] is whole.validation[0]


def test_an_autoencoder_and_an_energy_model_are_raced() -> None:
    found = tw.race(
        autoencoder, INPUTS, loss="mse", optimizers=["adam"], budget=2, seeds=2, epochs=2
    )
    twice = tw.race(
        autoencoder,
        INPUTS,
        INPUTS.clone(),
        loss="mse",
        optimizers=["adam"],
        budget=2,
        seeds=2,
        epochs=2,
    )
    assert found.optimizers[0]["test"] == twice.optimizers[0]["test"]

    def energy(outputs: Tensor, inputs: Tensor) -> Tensor:
        return (outputs - inputs.square().sum(1, keepdim=True)).square().mean()

    model = tw.race(
        lambda: nn.Linear(4, 1),
        INPUTS,
        loss=energy,
        optimizers=["sgd"],
        budget=2,
        seeds=2,
        epochs=2,
    )
    assert model.document["setting"]["metric"]["name"] == "loss"


def test_inputs_alone_without_a_loss_are_taken_for_forgotten_targets() -> None:
    for given in (INPUTS, INPUTS.numpy(), (INPUTS, None)):
        with pytest.raises(UsageError, match=r"train has inputs and no targets; give train=\(inp"):
            Task("auto", autoencoder, given)
    with pytest.raises(UsageError, match="train has inputs and no targets"):
        tw.race(autoencoder, INPUTS)


def test_the_code_of_the_documentation_of_races_runs(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "races.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 3
    script = tmp_path / "races_page.py"
    script.write_text("\n".join(blocks), encoding="utf-8")
    runpy.run_path(str(script))
