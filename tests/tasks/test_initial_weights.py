"""What runs start from: weights that are given stay, others are drawn anew for every seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import thalweg as tw
from executed import complete, train
from thalweg.errors import UsageError
from thalweg.racing.watcher import Silence
from thalweg.report import folders, pages
from thalweg.tasks import Task, examine, initial_weights, modes, untrained
from thalweg.training.execution.executor import make_executor
from thalweg.training.execution.plan import ExecutionPlan
from thalweg.training.population import Population, build
from thalweg.training.runs import Regime, Run, method

pytestmark = pytest.mark.usefixtures("one_thread")

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(60, 6)).astype(np.float32)
Y = (X @ DRAW.normal(size=(6, 3))).argmax(1)
REGIME = Regime(epochs=2, batch_size=10, evaluations=2)
SHORT: dict[str, Any] = {"optimizers": ["adam"], "budget": 1, "seeds": 2, "epochs": 1}


def net() -> nn.Sequential:
    # A bias before a normalization has a gradient of rounding errors, which Adam makes large.
    first = nn.Linear(6, 16, bias=False)
    return nn.Sequential(first, nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))


def trained(steps: int = 100) -> nn.Sequential:
    torch.manual_seed(0)
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(model(torch.tensor(X)), torch.tensor(Y)).backward()
        optimizer.step()
    optimizer.zero_grad()
    return model


def task(model: Any, **more: Any) -> Task:
    return Task(**{"model": model, "train": (X, Y), "batch_size": 10, **more})


def runs(count: int, rate: float = 0.01) -> list[Run]:
    return [Run(method("adamw"), {"lr": rate, "weight_decay": 0.1}, seed) for seed in range(count)]


class Said(Silence):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_a_trained_model_keeps_its_weights_and_a_race_says_so_first(tmp_path: Path) -> None:
    model, said = trained(), Said()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    accuracy = (model.eval()(torch.tensor(X)).argmax(1) == torch.tensor(Y)).float().mean()
    assert accuracy > 0.9
    found = tw.race(model.train(), X, Y, **SHORT, watcher=said, out=tmp_path)
    curve = found.result.optimizers[0].curve
    assert curve is not None
    assert float(curve.validation_metric.mean[0]) > 0.8  # a third before it was kept
    assert said.lines[0].startswith("weights: given (because ")
    assert "init='fresh' draws them anew); seeds vary the order of the data" in said.lines[0]
    assert found.result.setting.weights == "given"
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    pages.write(folders.read(tmp_path), tmp_path / "report.html")
    assert "initial weights" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_model_that_looks_untrained_is_drawn_anew_for_every_seed() -> None:
    made = task(net())
    assert str(made.weights) == "drawn anew for every seed"
    assert made.weights.usual
    assert "they look untrained; init='given' keeps" in made.weights.note(made.model, made.order)
    one, again, other = build(made, 1), build(made, 1), build(made, 2)
    assert same(one, again)
    assert not same(one, other)


def test_what_is_asked_for_is_done() -> None:
    fresh, given = task(trained(), init="fresh"), task(net(), init="given")
    assert not same(build(fresh, 1), build(fresh, 2))
    assert same(build(given, 1), build(given, 2))
    back = replace(replace(given, init="fresh"), init="given")
    assert same(build(back, 1), build(given, 1))
    # The weights of an example that is drawn anew decide nothing: another process may go on.
    torch.manual_seed(1)
    assert fresh.fingerprint == task(net(), init="fresh").fingerprint
    assert given.fingerprint != task(net(), init="given").fingerprint
    with pytest.raises(UsageError, match=r"init .*'gven'.*did you mean given"):
        task(net, init="gven")


class Tuned(nn.Module):
    """A body with given weights and a new head."""

    body = trained(20)

    def __init__(self) -> None:
        super().__init__()
        self.body = initial_weights.builder("body", Tuned.body, "given")()
        self.head = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.body(x))
        return scores


def test_a_function_that_loads_weights_is_described_by_what_it_does() -> None:
    made = task(Tuned)
    assert made.weights.drawn == ("head.weight", "head.bias")
    assert str(made.weights) == (
        "5 of 7 trained tensors given, drawn anew for every seed: head.weight, head.bias"
    )
    with pytest.raises(UsageError, match=r"model\(\) builds other weights .* as head.weight"):
        assert task(Tuned, init="given").weights
    scratch = task(Tuned, init="fresh")
    assert not scratch.weights.given
    assert str(task(net).weights) == "drawn anew for every seed"


def frozen(layer: int = 0) -> nn.Sequential:
    model = trained()
    model[layer].weight.requires_grad_(False)
    return model


@pytest.mark.parametrize("mode", ["lanes", "alone", "processes"])
def test_frozen_parameters_never_change(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Population] = []
    plain = Population.__init__

    def watched(self: Population, *args: Any, **more: Any) -> None:
        plain(self, *args, **more)
        seen.append(self)

    model = frozen()
    made = task(model)
    assert str(made.weights) == "given, 1 of 5 tensors frozen: 0.weight"
    expected = complete(made, runs(3), REGIME, 1, test=True)
    monkeypatch.setattr(Population, "__init__", watched)
    if mode == "processes":
        plan = ExecutionPlan("processes", 1, 2)
        with make_executor(plan) as executor:
            context = replace(plan.context(made, REGIME), test=True)
            found = {
                r.seed: x for g, x in executor.train(context, [[r] for r in runs(3)]) for r in g
            }
        results = [found[seed][0] for seed in range(3)]
    elif mode == "lanes":
        results = train(made, runs(3), REGIME, test=True)
    else:
        results = complete(made, runs(3), REGIME, 1, test=True)
    for one, two in zip(results, expected, strict=True):
        # Twelve steps of AdamW on float32, whose sums are taken in different orders.
        assert one.validation_loss == pytest.approx(two.validation_loss, rel=1e-4)
        assert one.validation_loss[0] == pytest.approx(results[0].validation_loss[0], rel=1e-6)
    assert len({tuple(result.train_loss[1:]) for result in results}) == 3  # seeds differ
    for population in seen:
        assert "0.weight" not in population.names
        assert torch.equal(population.fixed["0.weight"].cpu(), model[0].weight)


def test_a_frozen_layer_keeps_its_weights_where_the_rest_is_drawn_anew() -> None:
    model = frozen(layer=4)
    for parameter in model[1].parameters():
        parameter.requires_grad_(False)
    made = task(model, init="fresh")
    one, other = build(made, 1), build(made, 2)
    assert torch.equal(one[4].weight, model[4].weight)
    assert torch.equal(other[1].running_mean, model[1].running_mean)
    assert not torch.equal(one[0].weight, other[0].weight)
    assert not torch.equal(one[4].bias, other[4].bias)
    assert task(frozen(0)).fingerprint != task(frozen(4)).fingerprint


@pytest.mark.parametrize("lanes", [1, 2], ids=["alone", "lanes"])
def test_normalization_follows_the_mode_that_it_was_given_in(lanes: int) -> None:
    model = trained()
    model[1].eval()
    made = task(model)
    assert modes.still(model) == ("1",)
    population = Population(made, [0, 1][:lanes])
    x, y = torch.tensor(X[:10]), torch.tensor(Y[:10])
    population.gradients(x.expand(lanes, *x.shape), y.expand(lanes, *y.shape))
    assert torch.equal(population.fixed["1.running_mean"], model[1].running_mean)
    assert population.model[3].training  # dropout goes on
    # Loaded for use, a model is in evaluation mode as a whole, and trains like any other.
    population = Population(task(trained().eval()), [0, 1][:lanes])
    population.gradients(x.expand(lanes, *x.shape), y.expand(lanes, *y.shape))
    assert not torch.equal(
        population.fixed["1.running_mean"].reshape(-1, 16)[0], model[1].running_mean
    )


# What looks untrained.

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(1, 1),
    "normalized": net,
    "convolutions": lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.ConvTranspose1d(3, 4, 5)),
    "recurrent": lambda: nn.LSTM(4, 8, bidirectional=True),
    "attention": lambda: nn.TransformerEncoderLayer(8, 2, 16),
    "embedding": lambda: nn.Sequential(nn.Embedding(20, 8, padding_idx=0), nn.EmbeddingBag(9, 4)),
    "others": lambda: nn.ModuleList([nn.PReLU(), nn.GroupNorm(1, 3), nn.Bilinear(2, 3, 4)]),
    "bfloat16": lambda: nn.Linear(64, 64).bfloat16(),
    "float64": lambda: nn.Linear(64, 64).double(),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_new_model_looks_untrained(layer: str) -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        assert untrained.objection(LAYERS[layer](), initial_weights.redraw) == ""


def stepped(model: nn.Module) -> nn.Module:
    """Ten small steps away from where it was."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.sign(torch.randn(parameter.shape)))
    return model


def counted(model: nn.Module) -> nn.Module:
    model[1].num_batches_tracked += 1  # type: ignore[index,operator]
    return model


def with_gradient(model: nn.Module) -> nn.Module:
    model(torch.tensor(X)).sum().backward()
    return model


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (lambda: stepped(net()), "0.weight is not as Linear initializes it"),
        (lambda: counted(net()), "1.num_batches_tracked is not as BatchNorm1d initializes it"),
        (lambda: with_gradient(net()), "0.weight has a gradient"),
        (lambda: stepped(nn.Conv2d(8, 16, 3)), "weight is not as Conv2d"),
    ],
)
def test_a_model_that_was_trained_does_not(model: Callable[[], nn.Module], why: str) -> None:
    assert untrained.objection(model(), initial_weights.redraw).startswith(why)


class Initialized(nn.Module):
    """Has its layers drawn by a method of its own, as many do."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 32), nn.Linear(32, 3)
        self.apply(self._init_weights)

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.last(self.first(x).relu())
        return scores


def test_a_model_is_drawn_anew_as_it_draws_itself() -> None:
    made = task(Initialized())
    model = build(made, 3)
    assert isinstance(made.model, initial_weights.ModelBuilder)
    assert made.model.init == "fresh"
    assert float(model.first.weight.detach().std()) == pytest.approx(0.02, rel=0.2)  # 192 numbers
    assert not model.first.bias.any()


class Raw(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(6, 3))
        self.last = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.last(x @ self.w)
        return scores


def test_where_it_cannot_be_told_a_person_is_asked() -> None:
    for init in ("auto", "fresh"):
        with pytest.raises(
            UsageError, match=r"Raw has the parameter 'w' but no reset_parameters.*"
        ):
            task(Raw(), init=init)
    assert same(build(task(Raw(), init="given"), 1), build(task(Raw(), init="given"), 2)) is False
    raw = task(Raw(), init="given")
    assert same(build(raw, 1), build(raw, 2))
    changed = Raw()
    stepped(changed.last)
    with torch.no_grad():
        changed.last.weight.mul_(9.0)
    assert str(task(changed).weights) == "given"


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 6)
        self.last.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.last(self.first(x).relu())
        return scores


@pytest.mark.parametrize("init", ["fresh", "given"])
def test_tied_weights_stay_tied(init: str) -> None:
    made = task(Tied(), init=init)
    model = build(made, 1)
    assert model.first.weight is model.last.weight
    together = train(made, runs(2), REGIME, test=True)
    for one, two in zip(together, complete(made, runs(2), REGIME, 1, test=True), strict=True):
        assert one.validation_loss == pytest.approx(two.validation_loss, rel=1e-4)


def test_models_that_cannot_serve_as_an_example() -> None:
    lazy = nn.Sequential(nn.LazyLinear(3))
    for model in (lazy, lambda: nn.Sequential(nn.LazyLinear(3))):
        with pytest.raises(UsageError, match=r"'0.weight' has no shape before the model is called"):
            examine(task(model))
    held = nn.Linear(6, 3)
    held.last = held(torch.tensor(X))
    with pytest.raises(UsageError, match=r"the model cannot be copied: .*give a function"):
        task(held)
    with pytest.raises(UsageError, match=r"inputs are torch\.float32, parameters torch\.float64"):
        examine(task(net().double()))


def test_with_given_weights_and_a_fixed_order_seeds_vary_dropout_alone() -> None:
    made = task(trained(), order="sequential")
    note = made.weights.note(made.model, made.order)
    assert "seeds vary what the model draws as it trains, as dropout does" in note
