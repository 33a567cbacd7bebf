"""Checkpoints both ways and through files, copies, and pickles of earlier versions."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch

import thalweg.optim as ours
from optim_cases import (
    DEFAULTS,
    DTYPES,
    ENGINES,
    FULL,
    Case,
    Compare,
    Gradients,
    pair,
    parameters,
    tensors,
    train,
    twins,
)
from thalweg.errors import UsageError
from thalweg.ops import sqrt
from thalweg.rules import registry, rule

every_engine = pytest.mark.parametrize("engine", ENGINES)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
full = pytest.mark.parametrize("case", FULL, ids=lambda case: case.name)


@rule
def tilted(theta, g, m, t, *, lr=0.1, tilt=-0.5):  # type: ignore[no-untyped-def]
    """A rule of one's own, with a hyperparameter below 0."""
    m = m + tilt * g
    return theta + lr * m / sqrt(m * m + t), m


def snapshot(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return copy.deepcopy(optimizer.state_dict())


def saved(state_dict: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint after a way through a file."""
    file = io.BytesIO()
    torch.save(state_dict, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@every_engine
@every_dtype
@pytest.mark.parametrize("through_file", [False, True], ids=["in memory", "through a file"])
@full
def test_checkpoints_both_ways(
    case: Case, through_file: bool, dtype: torch.dtype, engine: str
) -> None:
    """Mid-training each continues from the other's checkpoint, and both stay equal."""
    theirs, mine = pair(case, dtype, engine)
    gradients = Gradients(lambda k, t: k == 1 and t % 5 == 0)
    train(theirs, mine, gradients, steps=7)
    way: Callable[[dict[str, Any]], dict[str, Any]] = saved if through_file else copy.deepcopy
    from_theirs, from_mine = way(theirs.state_dict()), way(mine.state_dict())
    theirs_fresh = case.theirs(twins(parameters(theirs)))
    mine_fresh = case.ours(twins(parameters(theirs)), engine)
    theirs_fresh.load_state_dict(from_mine)
    mine_fresh.load_state_dict(from_theirs)
    for index, state in from_theirs["state"].items():  # bit for bit
        loaded = mine_fresh.state_dict()["state"][index]
        for key, value in state.items():
            assert loaded[key] is value or torch.equal(loaded[key], value)
    # Ours went on from torch's state and torch from ours: twins up to rounding.
    train(theirs_fresh, mine_fresh, gradients, steps=14)


@pytest.mark.parametrize("case", DEFAULTS, ids=lambda case: case.name)
def test_checkpoint_has_torch_s_form(case: Case) -> None:
    theirs, mine = pair(case)
    train(theirs, mine, Gradients(), steps=1)
    expected, got = theirs.state_dict(), mine.state_dict()
    assert got.keys() == expected.keys()
    assert got["state"].keys() == expected["state"].keys()
    for mine_group, theirs_group in zip(got["param_groups"], expected["param_groups"], strict=True):
        assert mine_group == theirs_group


def test_checkpoint_of_an_older_version() -> None:
    """Steps that are plain numbers, and options that did not exist yet."""
    theirs, mine = pair(Case("Adam", {"lr": 0.01}))
    train(theirs, mine, Gradients(), steps=3)
    old = snapshot(theirs)
    for state in old["state"].values():
        state["step"] = int(state["step"])
    for group in old["param_groups"]:
        for option in (
            "maximize",
            "foreach",
            "capturable",
            "differentiable",
            "fused",
            "decoupled_weight_decay",
            "amsgrad",
        ):
            del group[option]
    fresh = ours.Adam(twins(parameters(mine)), lr=0.5)
    fresh.load_state_dict(old)
    assert fresh.param_groups[0]["lr"] == 0.01
    train(theirs, fresh, Gradients(seed=5), steps=5)


def test_a_checkpoint_without_momentum_buffers_yet() -> None:
    """Older versions of torch.optim.SGD keep None where no step was taken."""
    theirs, mine = pair(Case("SGD", {"momentum": 0.9, "dampening": 0.5}))
    empty = snapshot(mine)
    empty["state"] = {k: {"momentum_buffer": None} for k in empty["param_groups"][0]["params"]}
    mine.load_state_dict(empty)
    train(theirs, mine, Gradients(), steps=5)


def test_a_checkpoint_of_adam_continues_as_adamw() -> None:
    theirs, mine = pair(Case("AdamW", {"weight_decay": 0.3}))
    adam = snapshot(ours.Adam(twins(parameters(mine)), weight_decay=0.3))
    for optimizer in (theirs, mine):
        optimizer.load_state_dict(copy.deepcopy(adam))
    assert mine.param_groups[0]["decoupled_weight_decay"]
    train(theirs, mine, Gradients(), steps=5)


@every_engine
def test_checkpoint_of_another_precision(engine: str) -> None:
    """A float32 state for a float64 parameter is cast, as torch does it."""
    theirs, mine = pair(Case("Adam", {"lr": 0.01}), torch.float32)
    train(theirs, mine, Gradients(), steps=5)
    state = snapshot(theirs)
    wide = [p.detach().double().requires_grad_() for p in parameters(mine)]
    theirs, mine = torch.optim.Adam(twins(wide)), ours.Adam(wide, engine=engine)
    theirs.load_state_dict(copy.deepcopy(state))
    mine.load_state_dict(copy.deepcopy(state))
    train(theirs, mine, Gradients(), steps=5)


def test_a_state_of_another_shape_is_no_way_out_of_bounds() -> None:
    """torch refuses at the step, and so do we: the kernel must never see such a state."""
    (p,) = tensors(torch.float32, ((1000,),))
    mine = ours.Adam([p])
    state = snapshot(mine)
    state["state"][0] = {
        "step": torch.tensor(3.0),
        "exp_avg": torch.zeros(7),
        "exp_avg_sq": torch.zeros(7),
    }
    mine.load_state_dict(state)
    p.grad = torch.ones_like(p)
    with pytest.raises(UsageError, match=r"'exp_avg' .* \(1000,\) on cpu has shape \(7,\)"):
        mine.step()


@every_engine
def test_a_state_with_other_strides(engine: str) -> None:
    theirs, mine = pair(Case("Adam", {"lr": 0.01}), engine=engine, shapes=((4, 6),))
    train(theirs, mine, Gradients(), steps=3)
    for optimizer in (theirs, mine):
        (state,) = optimizer.state.values()
        state["exp_avg"] = state["exp_avg"].t().contiguous().t()
    assert not next(iter(mine.state.values()))["exp_avg"].is_contiguous()
    train(theirs, mine, Gradients(), steps=3)


@every_engine
@full
def test_deepcopy_and_pickle(case: Case, engine: str) -> None:
    theirs, mine = pair(case, engine=engine)
    train(theirs, mine, Gradients(), steps=3)
    for copied in (copy.deepcopy(mine), pickle.loads(pickle.dumps(mine))):
        assert type(copied) is type(mine)
        assert copied.engine == engine
        assert repr(copied) == repr(mine)
        before = snapshot(mine)
        train(copy.deepcopy(theirs), copied, Gradients(seed=2), steps=5)
        for index, state in before["state"].items():  # the original did not move
            for key, value in state.items():
                assert torch.equal(mine.state_dict()["state"][index][key], value)


@pytest.mark.parametrize("formula", [*registry().values(), tilted], ids=lambda r: r.name)
def test_deepcopy_and_pickle_of_from_rule(formula: Any) -> None:
    mine = ours.from_rule(formula, lr=0.02)(tensors(torch.float64))
    gradients = Gradients()
    gradients.give(parameters(mine))
    mine.step()
    for copied in (copy.deepcopy(mine), pickle.loads(pickle.dumps(mine))):
        assert type(copied) is type(mine)
        compare = Compare(mine, copied)
        compare()


@pytest.mark.parametrize(
    ("make", "new", "old"),
    [
        (ours.Lion, "classes.beyond_torch", "beyond"),
        (ours.Lion, "classes.beyond_torch", "beyond_torch"),
        (ours.Lion, "stepping.precision", "keeping"),
        (ours.SparseAdam, "classes.sparse", "sparse"),
        (ours.from_rule(registry()["adam"]), "rule_classes", "adapter"),
    ],
)
def test_optimizers_that_an_earlier_version_has_pickled(make: Any, new: str, old: str) -> None:
    """Their pickles name modules by their names of then."""
    optimizer = make(tensors(torch.float32), lr=0.25)
    pickled = _renamed(optimizer, f"thalweg.optim.{new}", f"thalweg.optim.{old}")
    with pytest.warns(DeprecationWarning, match=f"thalweg.optim.{old} is thalweg.optim.{new} now"):
        again = pickle.loads(pickled)
    assert type(again) is type(optimizer)
    assert again.param_groups[0]["lr"] == 0.25


def test_what_an_optimizer_stores_its_number_formats_under_in_earlier_pickles() -> None:
    optimizer = ours.Lion(tensors(torch.float32), state_dtype="bfloat16")
    pickled = _renamed(
        optimizer,
        "thalweg.optim.stepping.precision\nStoragePrecision",
        "thalweg.optim.keeping\nKeeping",
    )
    assert pickled.count(b"Vprecision\n") == 1
    with pytest.warns(DeprecationWarning, match="thalweg.optim.keeping is"):
        again = pickle.loads(pickled.replace(b"Vprecision\n", b"Vkeeping\n"))
    assert again.precision == optimizer.precision
    with pytest.warns(DeprecationWarning, match="keeping is called precision now"):
        assert again.keeping is again.precision


def test_the_package_of_classes_has_those_that_a_module_had() -> None:
    adam = ours.Adam(tensors(torch.float32), lr=0.25)
    again = pickle.loads(_renamed(adam, "thalweg.optim.classes.adam", "thalweg.optim.classes"))
    assert type(again) is ours.Adam
    assert again.param_groups[0]["lr"] == 0.25


def _renamed(optimizer: Any, new: str, old: str) -> bytes:
    """A pickle with one module's name replaced; protocol 0 has names as lines of text."""
    data = pickle.dumps(optimizer, protocol=0)
    assert f"c{new}\n".encode() in data
    return data.replace(f"c{new}\n".encode(), f"c{old}\n".encode())
