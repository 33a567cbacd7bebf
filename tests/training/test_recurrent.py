"""Recurrent layers and attention in lanes against torch's own layers, one run at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from torch.utils._pytree import tree_leaves

from executed import train
from thalweg.errors import UsageError
from thalweg.tasks import Task
from thalweg.training.execution.executor import make_executor
from thalweg.training.execution.grouping import grouped
from thalweg.training.execution.plan import ExecutionPlan
from thalweg.training.execution.timing import measure
from thalweg.training.lane_forms import lane_forms, without_fused_encoders
from thalweg.training.runs import RANDOM_SEARCH, Regime, Result, Run, method

pytestmark = pytest.mark.usefixtures("one_thread")

LANES = 3
# A few dozen sums of numbers near 1 in float64, taken in another order.
CLOSE = {"rtol": 1e-10, "atol": 1e-12}


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


SEQUENCE = (5, 2, 3)  # time, batch, features; or batch, time, features
LSTM_STATE = ((2, 2, 4), (2, 2, 4))

# What makes a layer, and the shapes of its inputs in one lane.
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[Any, ...]]] = {
    "LSTM": (lambda: nn.LSTM(3, 4), (SEQUENCE,)),
    "LSTM, batch first": (lambda: nn.LSTM(3, 4, batch_first=True), (SEQUENCE,)),
    "LSTM, two layers": (lambda: nn.LSTM(3, 4, 2), (SEQUENCE,)),
    "LSTM, both directions": (lambda: nn.LSTM(3, 4, 2, bidirectional=True), (SEQUENCE,)),
    "LSTM, no biases": (lambda: nn.LSTM(3, 4, 2, bias=False), (SEQUENCE,)),
    "LSTM, projected": (lambda: nn.LSTM(3, 4, 2, proj_size=2, bidirectional=True), (SEQUENCE,)),
    "LSTM, projected, no biases": (lambda: nn.LSTM(3, 4, proj_size=2, bias=False), (SEQUENCE,)),
    "LSTM, states given": (lambda: nn.LSTM(3, 4, 2), (SEQUENCE, LSTM_STATE)),
    "LSTM, one sample": (lambda: nn.LSTM(3, 4), ((5, 3),)),
    "LSTM, one sample, states given": (lambda: nn.LSTM(3, 4, 2), ((5, 3), ((2, 4), (2, 4)))),
    "LSTM, one time step": (lambda: nn.LSTM(3, 4), ((1, 2, 3),)),
    "GRU": (lambda: nn.GRU(3, 4), (SEQUENCE,)),
    "GRU, all options": (
        lambda: nn.GRU(3, 4, 3, batch_first=True, bidirectional=True),
        (SEQUENCE, (6, 5, 4)),
    ),
    "GRU, no biases": (lambda: nn.GRU(3, 4, 2, bias=False), (SEQUENCE,)),
    "RNN": (lambda: nn.RNN(3, 4, 2, bidirectional=True), (SEQUENCE,)),
    "RNN, relu": (lambda: nn.RNN(3, 4, nonlinearity="relu", batch_first=True), (SEQUENCE,)),
    "RNN, no biases": (lambda: nn.RNN(3, 4, bias=False), (SEQUENCE, (1, 2, 4))),
    "LSTM cell": (lambda: nn.LSTMCell(3, 4), ((2, 3), ((2, 4), (2, 4)))),
    "LSTM cell, no state": (lambda: nn.LSTMCell(3, 4), ((2, 3),)),
    "LSTM cell, no biases": (lambda: nn.LSTMCell(3, 4, bias=False), ((3,),)),
    "GRU cell": (lambda: nn.GRUCell(3, 4), ((2, 3), (2, 4))),
    "GRU cell, no biases": (lambda: nn.GRUCell(3, 4, bias=False), ((2, 3),)),
    "RNN cell": (lambda: nn.RNNCell(3, 4), ((2, 3), (2, 4))),
    "RNN cell, relu": (lambda: nn.RNNCell(3, 4, nonlinearity="relu"), ((2, 3),)),
    "attention": (lambda: _Attention(4, 2), ((5, 2, 4),)),
    "attention, batch first, no weights": (
        lambda: _Attention(4, 2, batch_first=True, need_weights=False),
        ((2, 5, 4),),
    ),
    "attention, keys of other sizes": (
        lambda: _Attention(4, 2, kdim=3, vdim=5, add_bias_kv=True, add_zero_attn=True),
        ((5, 2, 4), (6, 2, 3), (6, 2, 5)),
    ),
    "encoder layer": (
        lambda: nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True),
        ((2, 5, 4),),
    ),
    "encoder": (
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(4, 2, 8, 0.0, norm_first=True, batch_first=True),
            2,
            enable_nested_tensor=False,
        ),
        ((2, 5, 4),),
    ),
    "transformer": (
        lambda: nn.Transformer(4, 2, 1, 1, 8, 0.0, batch_first=True),
        ((2, 5, 4), (2, 3, 4)),
    ),
}


class _Attention(nn.Module):
    def __init__(self, *args: Any, need_weights: bool = True, **options: Any) -> None:
        super().__init__()
        self.attention, self.weights = nn.MultiheadAttention(*args, **options), need_weights

    def forward(self, *inputs: Tensor) -> Any:
        query, key, value = inputs if len(inputs) == 3 else inputs * 3
        output, weights = self.attention(query, key, value, need_weights=self.weights)
        return (output, weights) if self.weights else output


def made(shape: Any) -> Any:
    """Random inputs (lanes, …) of these shapes."""
    if isinstance(shape[0], int):
        return torch.randn(LANES, *shape).requires_grad_()
    return tuple(map(made, shape))


def lane(values: Any, k: int) -> Any:
    return tuple(lane(v, k) for v in values) if isinstance(values, tuple) else values[k]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_outputs_and_all_gradients_are_those_of_torchs_layer(name: str, training: bool) -> None:
    torch.manual_seed(0)
    make, shapes = LAYERS[name]
    model = make().train(training)
    weights = {
        key: torch.randn(LANES, *p.shape).requires_grad_() for key, p in model.named_parameters()
    }
    inputs = made(shapes)
    leaves = [*weights.values(), *tree_leaves(inputs)]

    def weighed(outputs: Any) -> Tensor:
        """All outputs (lanes, …) as one number, each with a weight of its own."""
        drawn = torch.Generator().manual_seed(1)
        total = torch.zeros(())
        for out in tree_leaves(outputs):
            total = total + (out * torch.randn(out.shape, generator=drawn)).sum()
        return total

    def one(own: Mapping[str, Tensor], inputs: Any) -> Any:
        return functional_call(model, dict(own), inputs)

    # A single call outside of lanes is the oracle: torch's fused layer, where there is one.
    alone = [one(lane_of(weights, k), lane(inputs, k)) for k in range(LANES)]
    expected = [torch.stack(parts) for parts in zip(*map(tree_leaves, alone), strict=True)]
    with without_fused_encoders(), lane_forms(training=training):
        found = tree_leaves(vmap(one)(weights, inputs))
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)
    ours = torch.autograd.grad(weighed(found), leaves)
    theirs = torch.autograd.grad(weighed(expected), leaves)
    assert any(bool(gradient.any()) for gradient in theirs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, **CLOSE)


def lane_of(weights: Mapping[str, Tensor], k: int) -> dict[str, Tensor]:
    return {name: stacked[k] for name, stacked in weights.items()}


class Tagger(nn.Module):
    """Symbols, a recurrent layer with dropout between its layers, and what a sample is."""

    def __init__(self, layer: Callable[..., nn.Module], *sizes: int, **options: Any) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.layer = layer(4, *sizes, batch_first=True, **options)
        self.head = nn.LazyLinear(3)
        self(torch.zeros(1, 5, dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        output, _ = self.layer(self.embed(x))
        scores: Tensor = self.head(output[:, -1])
        return scores


class Unrolled(nn.Module):
    """A cell that is called at every time step."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.cell, self.head = nn.Embedding(7, 4), nn.LSTMCell(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for symbol in self.embed(x).unbind(1):
            state = self.cell(symbol, state)
        assert state is not None
        scores: Tensor = self.head(state[0])
        return scores


class Masked(nn.Module):
    """An encoder that does not attend to symbol 0, with dropout inside attention."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.2, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.layers(self.embed(x), src_key_padding_mask=x == 0)
        scores: Tensor = self.head(hidden.mean(1))
        return scores


class Packed(nn.Module):
    """An LSTM over samples of different lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.layer = nn.Embedding(7, 4), nn.LSTM(4, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        lengths = 1 + (x != 0).sum(1).clamp(max=4)
        packed = pack_padded_sequence(self.embed(x), lengths, True, enforce_sorted=False)
        output, _ = pad_packed_sequence(self.layer(packed)[0], batch_first=True)
        scores: Tensor = self.head(output[:, 0])
        return scores


MODELS: dict[str, Callable[[], nn.Module]] = {
    "LSTM": lambda: Tagger(nn.LSTM, 5, 2, dropout=0.3, bidirectional=True),
    "GRU": lambda: Tagger(nn.GRU, 5, 2, dropout=0.3),
    "RNN": lambda: Tagger(nn.RNN, 5),
    "cell": Unrolled,
    "attention over part": Masked,
}
REGIME = Regime(epochs=2, batch_size=8, evaluations=4)


def task_of(model: Callable[[], nn.Module]) -> Task:
    draw = np.random.default_rng(3)
    x = draw.integers(0, 7, (60, 5))
    x[:, 0] = 1 + x[:, 0] % 6  # no sample without a symbol
    return Task(model=model, train=(x, draw.integers(0, 3, 60)), batch_size=8)


@pytest.mark.parametrize("name", MODELS)
def test_a_run_trains_in_lanes_as_it_does_alone(name: str) -> None:
    task = task_of(MODELS[name])
    runs = [Run(method("adam"), {"lr": 0.01}, seed) for seed in range(3)]
    runs.append(Run(method("sgd"), {"lr": 0.1}, 1))
    together = train(task, runs, REGIME, test=True)
    for run, found in zip(runs, together, strict=True):
        (alone,) = train(task, [run], REGIME, test=True)
        for curve in ("train_loss", "validation_loss", "test_loss"):
            # Some twenty steps, whose rounding errors grow; Adam divides by small numbers.
            np.testing.assert_allclose(
                getattr(found, curve), getattr(alone, curve), rtol=1e-8, err_msg=curve
            )
    assert len({tuple(result.validation_loss) for result in together}) == 4


def test_processes_and_lanes_give_the_same_results() -> None:
    task = task_of(MODELS["LSTM"])
    runs = [Run(method(name), {"lr": 0.01}, seed) for name in ("adam", "sgd") for seed in range(3)]
    found = []
    for plan in (ExecutionPlan("lanes", 6), ExecutionPlan("processes", 1, 2)):
        trained: dict[Run, Result] = {}
        with make_executor(plan) as executor:
            groups = grouped(runs, plan)
            for group, results in executor.train(plan.context(task, REGIME), groups):
                assert not isinstance(results, Path)
                trained |= dict(zip(group, results, strict=True))
        found.append([trained[run].validation_loss for run in runs])
    np.testing.assert_allclose(*found, rtol=1e-8)  # as alone


def test_random_search_moves_recurrent_layers_in_lanes() -> None:
    task = task_of(MODELS["GRU"])
    runs = [Run(RANDOM_SEARCH, {"lr": 0.5}, seed) for seed in range(2)]
    together = train(task, runs, REGIME)
    for run, found in zip(runs, together, strict=True):
        (alone,) = train(task, [run], REGIME)
        np.testing.assert_allclose(found.validation_loss, alone.validation_loss, rtol=1e-8)


def test_packed_sequences_train_one_by_one_and_the_reason_is_said() -> None:
    task, why = task_of(Packed), list[str]()
    runs = [Run(method("adam"), {"lr": 0.01}, seed) for seed in range(3)]
    measured = measure(task, runs, REGIME, 3, why)
    assert {together for together, _ in measured} == {1}
    assert "packed sequences have no lanes" in why[0]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_packed_sequence_that_a_person_makes_is_refused(kind: type[nn.RNNBase]) -> None:
    layer, data = kind(3, 4), torch.randn(2, 5, 3)
    sizes = torch.tensor([3, 2])
    with lane_forms(training=True), pytest.raises(UsageError, match="have no lanes"):
        vmap(lambda x: layer(PackedSequence(x, sizes))[0].data)(data)


def test_torchs_own_layers_are_back_afterwards() -> None:
    layer, x = nn.LSTM(3, 4), torch.randn(5, 2, 3)
    fast = torch.backends.mha.get_fastpath_enabled()
    with without_fused_encoders(), lane_forms(training=False):
        pass
    assert torch.backends.mha.get_fastpath_enabled() == fast
    with pytest.raises(RuntimeError, match="Batching rule not implemented"):
        vmap(layer)(x[None])
