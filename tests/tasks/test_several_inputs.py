"""Several inputs in tuples and dicts, and outputs that are more than a tensor.

A model of two inputs is compared with the same model on one, in which the two stand side by side.
"""

from __future__ import annotations

from collections import OrderedDict, UserDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import thalweg as tw
from executed import complete
from thalweg.errors import UsageError
from thalweg.tasks import Task, calling, examine, losses, trees
from thalweg.training.execution.executor import make_executor
from thalweg.training.execution.plan import ExecutionPlan
from thalweg.training.runs import RANDOM_SEARCH, Method, Regime, Result, Run, method

pytestmark = pytest.mark.usefixtures("one_thread")

DRAW = np.random.default_rng(0)
A = DRAW.normal(size=(60, 3)).astype(np.float32)
B = DRAW.normal(size=(60, 2)).astype(np.float32)
Y = np.arange(60) % 3
TENSORS = torch.tensor(A), torch.tensor(B)
IDS = np.stack([DRAW.integers(0, 9, 60), Y], 1)
REGIME = Regime(epochs=2, batch_size=10, evaluations=2)


class Beside(nn.Linear):
    """The two inputs side by side in one."""

    def __init__(self) -> None:
        super().__init__(5, 3)


class Named(Beside):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(torch.cat([a, b], -1))


class Whole(Beside):
    def forward(self, batch: Any) -> Tensor:
        a, b = batch.values() if isinstance(batch, dict) else batch
        return super().forward(torch.cat([a, b], -1))


class Nested(Beside):
    def forward(self, pair: tuple[Tensor, Tensor], scale: dict[str, Tensor]) -> Tensor:  # type: ignore[override]
        return super().forward(torch.cat(pair, -1)) * scale["one"]


class Items(Dataset[Any]):
    def __init__(self, item: Callable[[int], Any]) -> None:
        self.item = item

    def __len__(self) -> int:
        return 60

    def __getitem__(self, k: int) -> Any:
        return self.item(k)


class Listed:
    """A dataset that is none of torch's, and gives lists of numbers."""

    def __len__(self) -> int:
        return 60

    def __getitem__(self, k: int) -> dict[str, Any]:
        return {"a": A[k].tolist(), "b": B[k].tolist(), "label": int(Y[k])}


class Pair(NamedTuple):
    a: Any
    b: Any


def of(k: int) -> tuple[Tensor, Tensor, int]:
    return TENSORS[0][k], TENSORS[1][k], int(Y[k])


def item(k: int) -> dict[str, Any]:
    a, b, label = of(k)
    return {"a": a, "b": b, "labels": label}


FORMS: dict[str, Any] = {
    "tuple of arrays": ((A, B), Y),
    "tuple of tensors": (TENSORS, torch.tensor(Y)),
    "list of tensors": (list(TENSORS), Y),
    "named tuple": (Pair(A, B), Y),
    "dict of arrays": ({"a": A, "b": B}, Y),
    "dict of tensors": ({"a": TENSORS[0], "b": TENSORS[1]}, torch.tensor(Y)),
    "mapping": (UserDict(a=TENSORS[0], b=B), Y),
    "ordered dict, another order": (OrderedDict(b=B, a=A), Y),
    "dict of frames": ({"a": pandas.DataFrame(A), "b": pandas.DataFrame(B)}, Y),
    "dict with the labels inside": {"a": A, "labels": Y, "b": B},
    "dataset of pairs": Items(lambda k: (of(k)[:2], Y[k])),
    "dataset of triples": Items(of),
    "tensor dataset of three": TensorDataset(*TENSORS, torch.tensor(Y)),
    "dataset of dicts and labels": Items(lambda k: ({"a": A[k], "b": B[k]}, Y[k])),
    "dataset of dicts with labels": Items(item),
    "loader of dicts with labels": DataLoader(Items(item), batch_size=7),
    "loader that collates itself": DataLoader(
        Items(item),
        batch_size=7,
        collate_fn=lambda rows: {
            key: torch.tensor(np.array([r[key] for r in rows])) for key in rows[0]
        },
    ),
    "dataset of another kind": Listed(),
}


def task(train: Any, model: Any = Named, **more: Any) -> Task:
    return Task(**{"model": model, "train": train, "batch_size": 10, **more})


def runs(count: int = 3, methods: tuple[Method, ...] = (method("adam"),)) -> list[Run]:
    return [Run(m, {"lr": 0.01}, seed) for m in methods for seed in range(count)]


def agree(one: list[Result], two: list[Result], rel: float = 1e-5) -> None:
    """The same computation on tensors cut otherwise: float32 in another order of summation."""
    for first, second in zip(one, two, strict=True):
        assert first.train_loss[1:] == pytest.approx(second.train_loss[1:], rel=rel)
        assert first.validation_loss == pytest.approx(second.validation_loss, rel=rel)
        assert first.test_metric == pytest.approx(second.test_metric, rel=rel)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_inputs_is_the_same_task(form: str) -> None:
    made, single = task(FORMS[form]), task((np.concatenate([A, B], 1), Y), Beside)
    for part in ("train", "validation", "test"):
        (inputs, targets), (beside, known) = getattr(made, part), getattr(single, part)
        named = inputs if isinstance(inputs, dict) else dict(zip("ab", inputs, strict=True))
        assert torch.equal(torch.cat([named["a"], named["b"]], 1), beside)
        assert torch.equal(targets, known)
    assert (made.loss, made.metric) == (losses.cross_entropy, losses.ACCURACY)
    examine(made)


@pytest.mark.parametrize("lanes", [1, 3], ids=["alone", "lanes"])
@pytest.mark.parametrize(
    ("train", "model"),
    [
        (((A, B), Y), Named),
        (({"b": B, "a": A}, Y), Named),
        (((A, B), Y), Whole),
        (({"a": A, "b": B}, Y), Whole),
        (({"pair": (A, B), "scale": {"one": np.ones((60, 1))}}, Y), Nested),
    ],
    ids=["tuple", "dict", "tuple as one", "dict as one", "nested"],
)
def test_several_inputs_train_as_one_does(train: Any, model: Any, lanes: int) -> None:
    single = task((np.concatenate([A, B], 1), Y), Beside)
    several = [method("adam"), RANDOM_SEARCH] if lanes > 1 else [method("adam")]
    for entrant in several:
        expected = complete(single, runs(3, (entrant,)), REGIME, lanes, test=True)
        agree(complete(task(train, model), runs(3, (entrant,)), REGIME, lanes, test=True), expected)


def test_several_inputs_train_in_processes_as_here() -> None:
    made = task(({"a": A, "b": B}, Y))
    here = complete(made, runs(4), REGIME, 1, test=True)
    plan, found = ExecutionPlan("processes", 1, 2), dict[int, Result]()
    context = replace(plan.context(made, REGIME), test=True)
    with make_executor(plan) as executor:
        for group, results in executor.train(context, [[run] for run in runs(4)]):
            assert not isinstance(results, Path)
            found |= {run.seed: result for run, result in zip(group, results, strict=True)}
    agree([found[seed] for seed in sorted(found)], here, rel=0)


class Embedded(nn.Module):
    """Users and items, as recommendations have them, and a mask of truth values."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(9, 4), nn.Embedding(3, 4)
        self.last = nn.Linear(4, 3)

    def forward(self, user: Tensor, item: Tensor, known: Tensor) -> Tensor:
        both = self.user(user) * self.item(item)
        return self.last(both.masked_fill(~known[:, None], 0.0))


def test_ids_and_masks_stay_whole_numbers_and_truth_values_also_in_lanes() -> None:
    frame = pandas.DataFrame({"user": IDS[:, 0], "item": IDS[:, 1]})
    inputs = {"user": frame["user"], "item": frame["item"], "known": IDS[:, 0] > 2}
    made = task((inputs, Y), Embedded)
    kinds = {name: values.dtype for name, values in made.train[0].items()}
    assert kinds == {"user": torch.int64, "item": torch.int64, "known": torch.bool}
    agree(
        complete(made, runs(), REGIME, 3, test=True), complete(made, runs(), REGIME, 1, test=True)
    )


def test_what_is_trained_on_decides_the_fingerprint_of_several_inputs() -> None:
    made = task(({"a": A, "b": B}, Y))
    assert made.fingerprint == task(({"a": A, "b": B}, Y)).fingerprint
    changed = A.copy()
    changed[7, 1] += 1e-3
    others = [({"a": changed, "b": B}, Y), ((A, B), Y), ({"b": B, "a": A}, Y)]
    assert len({made.fingerprint, *(task(other).fingerprint for other in others)}) == 4


def test_a_race_of_two_inputs_from_its_call(tmp_path: Any) -> None:
    given: dict[str, Any] = {"optimizers": ["sgd", "adam"], "budget": 2, "seeds": 2, "epochs": 1}
    one = tw.race(Named, {"a": A, "b": B}, Y, tune="all", out=tmp_path, **given)
    assert one.result.setting.train == 36
    assert "['a'] float32 3" in task(({"a": A, "b": B}, Y)).describe()
    again = tw.race(Named, {"a": A, "b": B}, Y, tune="all", out=tmp_path, **given)
    assert again.result.setting.fingerprint == one.result.setting.fingerprint


# What is refused.


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (
            ({"a": A, "b": B[:59]}, Y),
            "train inputs['a'] have 60 samples but ['b'] 59",
        ),
        (({"a": A, "b": B}, Y[:59]), "train has 60 inputs but 59 targets"),
        (({"a": A, "b": None}, Y), "inputs['b'] are NoneType; give numbers"),
        (({"a": A, "b": "text"}, Y), "inputs['b'] are str; give numbers"),
        (({"a": A, "b": 3}, Y), "inputs['b'] of shape () hold no sample"),
        (
            ({"a": A, "b": np.array(["x"] * 60)}, Y),
            "inputs['b'] are <U1; give numbers; encode them",
        ),
        (({"a": A, "b": [[1, 2], [3]] * 30}, Y), "inputs['b'] are no array"),
        (({"a": A, "b": np.where(B > 2, np.nan, B)}, Y), "of the inputs['b'] contain"),
        (({}, Y), "inputs are an empty dict"),
        (
            (A, B, Y),
            "got tuple of 3; put several inputs into a tuple of their own: ((a, b), targets)",
        ),
        (([torch.zeros(3)] * 3, Y[:3]), "are a list of 3 arrays of 3 entries each: give a tuple"),
        (
            Items(lambda k: {"a": A[k], **({"b": B[k]} if k else {}), "label": 0}),
            "dicts with different",
        ),
        (
            Items(lambda k: ({"a": A[k], "text": "x"}, 0)),
            "inputs['text'] are <U1; give numbers; encode",
        ),
        (Items(lambda k: ({"a": torch.zeros(1 + k)}, 0)), "pad or cut them to one shape"),
        (((A, B), {"x": np.array(["x"] * 60)}), "targets['x'] are <U1; give numbers"),
        (((A, B), {"x": A}), "targets are several; give a loss"),
    ],
)
def test_inputs_that_cannot_be_trained_on_are_refused(train: Any, message: str) -> None:
    with pytest.raises(UsageError) as error:
        task(train, loss=None if "give a loss" in message else losses.mse)
    assert message in str(error.value)


def test_the_three_parts_must_have_the_same_inputs() -> None:
    with pytest.raises(
        UsageError, match=r"\['a'\] float32 3, but those of train are \['a'\] .*\['b'\]"
    ):
        task(({"a": A, "b": B}, Y), validation=({"a": A}, Y), test=({"a": A}, Y))
    for b in (B, TENSORS[1]):
        other = {"b": b[:9], "a": A[:9] if b is B else TENSORS[0][:9]}, torch.tensor(Y[:9])
        inputs, _ = task(({"a": A, "b": B}, Y), validation=other).validation
        assert list(inputs) == ["a", "b"]
        assert torch.equal(inputs["b"], TENSORS[1][:9])
    with pytest.raises(UsageError, match="train has inputs and no targets"):
        task({"a": A, "b": B, "kind": Y})
    with pytest.raises(UsageError, match="has no entry 'kid'; it has a, b, kind"):
        task({"a": A, "b": B, "kind": Y}, target="kid")
    examine(task({"a": A, "b": B, "kind": Y}, target="kind"))


class Optional(Named):
    def forward(self, a: Tensor | None = None, b: Tensor | None = None) -> Tensor:  # type: ignore[override]
        assert a is not None
        assert b is not None
        return super().forward(a, b)


@pytest.mark.parametrize(
    ("inputs", "model", "message"),
    [
        (
            {"a": A, "c": B},
            Named,
            "does not take the inputs 'a', 'c' by keyword (missing a required",
        ),
        ({"a": A, "c": B}, Optional, "leave 'c' out or rename"),
        ({"a": A}, Named, "name the entries of the dict as its arguments"),
        ((A, B, B), Named, "forward(a, b) does not take 3 inputs by position"),
    ],
)
def test_a_model_that_does_not_take_the_inputs_is_told_so(
    inputs: Any, model: Any, message: str
) -> None:
    with pytest.raises(UsageError) as error:
        examine(task((inputs, Y), model))
    assert message in str(error.value)
    assert "UsageError" not in str(error.value)


# Trees.


def test_trees_keep_their_form() -> None:
    tree = (TENSORS[0], {"x": [TENSORS[1], None]}, Pair(TENSORS[0], 3), OrderedDict(k=TENSORS[1]))
    doubled = trees.map_tensors(lambda v: 2 * v, tree)
    assert type(doubled[2]) is Pair
    assert type(doubled[3]) is OrderedDict
    assert doubled[1]["x"][1] is None
    assert doubled[2].b == 3
    names = [name for name, leaf in trees.named_leaves(tree, "t") if isinstance(leaf, Tensor)]
    assert names == ["t[0]", "t[1]['x'][0]", "t[2][0]", "t[3]['k']"]
    back = trees.rebuilt(doubled, iter(trees.tensors(tree)))
    assert all(a is b for a, b in zip(trees.tensors(back), trees.tensors(tree), strict=True))


def test_how_a_model_is_called_does_not_keep_models_alive() -> None:
    import gc
    import weakref

    model = Named()
    calling.call(model, {"a": TENSORS[0], "b": TENSORS[1]})
    held = weakref.ref(model)
    del model
    gc.collect()
    assert held() is None
