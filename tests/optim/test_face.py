"""What a program sees of the classes: signatures, options, groups, errors."""

from __future__ import annotations

import inspect
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import thalweg.optim as ours
from optim_cases import (
    DEFAULTS,
    ENGINES,
    NAMES,
    Case,
    Gradients,
    pair,
    parameters,
    tensors,
    train,
    twins,
)
from thalweg.errors import UsageError

names = pytest.mark.parametrize("name", NAMES)
defaults = pytest.mark.parametrize("case", DEFAULTS, ids=lambda case: case.name)


@names
def test_signature_is_torch_s_and_our_own_options(name: str) -> None:
    theirs = inspect.signature(getattr(torch.optim, name)).parameters
    mine = dict(inspect.signature(getattr(ours, name)).parameters)
    options = {
        "engine": "auto",
        "convention": "torch",
        "skip_nonfinite": False,
        "state_dtype": None,
        "rounding": "nearest",
        "seed": 0,
    }
    for key, default in options.items():
        own = mine.pop(key)
        assert (own.kind, own.default) == (inspect.Parameter.KEYWORD_ONLY, default)
    assert list(mine) == list(theirs)
    for key, parameter in theirs.items():
        assert mine[key].kind == parameter.kind, key
        assert mine[key].default == parameter.default, key


@defaults
def test_options_of_groups_and_repr_are_torch_s(case: Case) -> None:
    theirs, mine = pair(case)
    assert isinstance(mine, torch.optim.Optimizer)
    assert mine.defaults == theirs.defaults
    assert mine.defaults.keys() == theirs.defaults.keys()
    assert mine.param_groups[0].keys() == theirs.param_groups[0].keys()
    whole = re.compile(r"(\d)\.0\b")  # 50 and 50.0 are one number written two ways
    assert whole.sub(r"\1", repr(mine)) == whole.sub(r"\1", repr(theirs))


@defaults
def test_named_parameters(case: Case) -> None:
    torch.manual_seed(0)
    net = torch.nn.Linear(4, 3).double()
    theirs = case.theirs([(k, twins([p])[0]) for k, p in net.named_parameters()])
    mine = case.ours(net.named_parameters())
    assert mine.param_groups[0]["param_names"] == ["weight", "bias"]
    assert mine.state_dict()["param_groups"] == theirs.state_dict()["param_groups"]
    train(theirs, mine, Gradients(), steps=3)


@names
def test_arguments_by_position(name: str) -> None:
    """A rate and the options after it in torch's order."""
    by_position = [
        p.name
        for p in inspect.signature(getattr(torch.optim, name)).parameters.values()
        if p.kind is p.POSITIONAL_OR_KEYWORD
    ][1:]
    defaults = getattr(torch.optim, name)(tensors(torch.float32)).defaults
    values = [defaults[option] for option in by_position]
    mine = getattr(ours, name)(tensors(torch.float32), *values)
    assert mine.defaults == getattr(torch.optim, name)(tensors(torch.float32), *values).defaults


@pytest.mark.parametrize(
    "switches",
    [{"foreach": True}, {"fused": True}, {"capturable": True}, {"differentiable": True}],
    ids=lambda switches: next(iter(switches)),
)
@names
def test_switches_between_implementations_are_accepted(
    name: str, switches: dict[str, bool]
) -> None:
    """torch refuses some of them on this machine; here they have nothing to switch."""
    (switch,) = switches
    if switch not in inspect.signature(getattr(ours, name)).parameters:
        with pytest.raises(TypeError, match=switch):
            getattr(torch.optim, name)(tensors(torch.float64), **switches)
        with pytest.raises(TypeError, match=switch):
            getattr(ours, name)(tensors(torch.float64), **switches)
        return
    theirs, _ = pair(Case(name, {}))
    mine = getattr(ours, name)(twins(parameters(theirs)), **switches)
    assert mine.param_groups[0][switch] is True
    train(theirs, mine, Gradients(), steps=3)


# -- torch's own lists ---------------------------------------------------------------------------

# What torch refuses and ours does; see docs/differences.md.
ACCEPTED = {
    "lr as Tensor doesn't work with foreach & not capturable",
    "betas must be either both floats or both Tensors",
    r"betas\[0\] as a Tensor is not supported for capturable=False and foreach=True",
}


@pytest.fixture(scope="module")
def lists() -> list[tuple[str, str, str, str]]:
    """What every input of torch's own tests did; see `torch_lists`."""
    script = Path(__file__).parents[1] / "support" / "torch_lists.py"
    folders = [str(script.parent), *sys.path]
    result = subprocess.run(
        [sys.executable, str(script), *NAMES, "SparseAdam"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
    )
    return json.loads(result.stdout)


@pytest.mark.parametrize("name", [*NAMES, "SparseAdam"])
def test_every_input_of_torch_s_own_tests(
    name: str, lists: list[tuple[str, str, str, str]]
) -> None:
    found = [
        (text, trouble) for cls, kind, text, trouble in lists if (cls, kind) == (name, "input")
    ]
    assert len(found) >= 4
    assert not [(text, trouble) for text, trouble in found if trouble]


@pytest.mark.parametrize("name", [*NAMES, "SparseAdam"])
def test_every_wrong_input_of_torch_s_own_tests(
    name: str, lists: list[tuple[str, str, str, str]]
) -> None:
    found = [
        (text, trouble) for cls, kind, text, trouble in lists if (cls, kind) == (name, "error")
    ]
    assert len(found) >= 7
    assert {text for text, trouble in found if trouble} <= ACCEPTED, found


# -- bad input -----------------------------------------------------------------------------------

BAD: list[tuple[str, dict[str, Any], str]] = [
    *(
        (name, {"lr": lr}, "Invalid learning rate")
        for name in NAMES
        for lr in (-1.0, math.nan, math.inf, "1e-3", None)
    ),
    *(
        (name, {"weight_decay": decay}, "Invalid weight_decay value")
        for name in NAMES
        if name != "Rprop"
        for decay in (-0.5, math.nan)
    ),
    *(
        (name, {"eps": -1e-8}, "Invalid epsilon value")
        for name in NAMES
        if name not in ("SGD", "ASGD", "Rprop")
    ),
    *(
        (name, {"betas": betas}, f"Invalid beta parameter at index {index}")
        for name in ("Adam", "AdamW", "Adamax", "NAdam", "RAdam")
        for betas, index in (((1.0, 0.9), 0), ((0.9, 1.0), 1))
    ),
    ("Adam", {"betas": (-0.1, 0.9)}, "Invalid beta1 value"),
    ("Adam", {"betas": (0.9,)}, "Invalid beta2 value"),
    ("Adam", {"betas": 0.9}, "betas"),
    ("SGD", {"momentum": -0.5}, "Invalid momentum value"),
    ("SGD", {"momentum": 0.9, "dampening": math.nan}, "Invalid dampening value"),
    ("SGD", {"nesterov": True}, "Nesterov momentum requires"),
    ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "Nesterov momentum requires"),
    ("Adagrad", {"lr_decay": -0.5}, "Invalid lr_decay value"),
    ("Adagrad", {"initial_accumulator_value": -1}, "Invalid initial_accumulator_value value"),
    ("Adadelta", {"rho": 1.1}, "Invalid rho value: 1.1"),
    ("Adadelta", {"rho": -0.1}, "Invalid rho value"),
    ("RMSprop", {"alpha": -1.0}, "Invalid alpha value"),
    ("RMSprop", {"momentum": -1.0}, "Invalid momentum value: -1.0"),
    ("NAdam", {"momentum_decay": -0.2}, "Invalid momentum_decay value: -0.2"),
    ("Rprop", {"etas": (1.0, 0.5)}, "Invalid eta values: 1.0, 0.5"),
    ("Rprop", {"etas": (0.0, 1.2)}, "Invalid eta values"),
    *((name, {"lr": torch.tensor([0.1, 0.1])}, "Tensor lr must be 1-element") for name in NAMES),
    ("Lion", {"lr": -1}, "Invalid learning rate"),
    ("Lion", {"betas": (0.9, 1.5)}, "Invalid beta parameter at index 1"),
    ("Adam", {"engine": "cuda"}, "engine='cuda' is unknown; choose one of auto, numba, triton, "),
]


@pytest.mark.parametrize(("name", "options", "text"), BAD)
def test_options_that_cannot_work(name: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text) as caught:
        getattr(ours, name)(tensors(torch.float32), **options)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)


def test_a_group_with_an_option_that_cannot_work_is_not_added() -> None:
    theirs, mine = pair(Case("Adam", {}))
    (p,) = tensors(torch.float64, ((3,),))
    for bad in ({"lr": -1.0}, {"betas": (0.9, 2.0)}, {"weight_decay": math.nan}):
        with pytest.raises(UsageError, match="Invalid"):
            mine.add_param_group({"params": [p], **bad})
        assert len(mine.param_groups) == 1
    with pytest.raises(ValueError, match="some parameters appear in more than one"):
        mine.add_param_group({"params": [parameters(mine)[0]]})
    assert len(mine.param_groups) == 1
    mine.add_param_group({"params": [p]})
    theirs.add_param_group({"params": twins([p])})
    train(theirs, mine, Gradients(), steps=3)


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        ([], ValueError, "empty parameter list"),
        (torch.zeros(3), TypeError, "iterable of Tensors or dicts"),
        ([1.0, 2.0], TypeError, "can only optimize Tensors"),
        ([torch.zeros(3, requires_grad=True) * 2], ValueError, "non-leaf"),
    ],
)
def test_parameters_that_torch_refuses(params: Any, error: type[Exception], text: str) -> None:
    for package in (torch.optim, ours):
        with pytest.raises(error, match=text):
            package.Adam(params)


def test_integer_parameters() -> None:
    """Idle where they are frozen Parameters, as quantized weights are; any other is a mistake."""
    whole = torch.nn.Parameter(torch.arange(3), requires_grad=False)
    (p,) = tensors(torch.float32, ((3,),))
    for params in ([torch.arange(3)], [p, torch.arange(3)]):
        with pytest.raises(UsageError, match=r"torch\.int64.*leave it out"):
            ours.Adam(params)
    mine = ours.Adam([p, whole])
    p.grad = torch.ones_like(p)
    mine.step()
    assert torch.equal(whole, torch.arange(3))


@pytest.mark.parametrize("engine", ENGINES)
def test_sparse_gradient_is_refused_before_anything_moves(engine: str) -> None:
    embedding = torch.nn.Embedding(5, 2, sparse=True)
    (p,) = tensors(torch.float32, ((3,),))
    before = [x.detach().clone() for x in (p, embedding.weight)]
    mine = ours.Adam([p, embedding.weight], engine=engine)
    embedding(torch.tensor([1, 3])).sum().backward()
    p.grad = torch.ones_like(p)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="sparse=False"):
            mine.step()
    for x, old in zip((p, embedding.weight), before, strict=True):
        assert torch.equal(x, old)


NOT_COMPILED = {
    "dtype": lambda: torch.zeros(3, dtype=torch.float8_e5m2, requires_grad=True),
    "gaps": lambda: torch.zeros(6, 4)[::2].requires_grad_(),
    "device": lambda: torch.zeros(3, device="meta", requires_grad=True),
}


@pytest.mark.parametrize("what", NOT_COMPILED)
def test_insisting_on_the_compiled_engine(what: str) -> None:
    p = NOT_COMPILED[what]()
    with pytest.raises(UsageError, match="engine='numba' cannot step parameter 0"):
        ours.Adam([p], engine="numba")
    ours.Adam([p])


def test_a_parameter_that_the_engine_can_no_longer_step() -> None:
    (p,) = tensors(torch.float32, ((3,),))
    mine = ours.Adam([p], engine="numba")
    p.grad = torch.ones_like(p)
    mine.step()
    p.grad = None
    p.data = torch.zeros(6)[::2]
    p.grad = torch.ones_like(p)
    with pytest.raises(UsageError, match=r"engine='numba'.*gaps"):
        mine.step()


def test_tensors_that_stay_on_meta_are_stepped_in_shape_only() -> None:
    p = torch.zeros(3, device="meta", requires_grad=True)
    mine = ours.Adam([p])
    p.grad = torch.zeros_like(p)
    mine.step()
    assert mine.state[p]["exp_avg"].device.type == "meta"


@pytest.mark.parametrize("error", [ImportError("no llvm"), OSError("no space")])
def test_where_no_kernel_can_be_made_the_eager_engine_steps_in(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise error

    from thalweg.engines import registry
    from thalweg.engines.numba import launch as engine
    from thalweg.optim.stepping.batches import arrangement

    monkeypatch.setattr(engine, "NumbaLaunch", fail)
    monkeypatch.setattr(arrangement, "_arrangements", {})
    registry.warn_once.cache_clear()
    theirs, mine = pair(Case("Adam", {}))
    gradients = Gradients()
    gradients.give(parameters(theirs), parameters(mine))
    theirs.step()
    with pytest.warns(RuntimeWarning, match=f"eager engine.*{error}"):
        mine.step()
    train(theirs, mine, gradients, steps=3)  # and says so once


def test_without_numba_the_eager_engine_steps_in(monkeypatch: pytest.MonkeyPatch) -> None:
    from thalweg.engines import numba, registry

    monkeypatch.setattr(numba, "_is_installed", lambda: False)
    registry.warn_once.cache_clear()
    theirs, mine = pair(Case("Adam", {}))
    with pytest.raises(UsageError, match="pip install numba"):
        ours.Adam(tensors(torch.float32), engine="numba")
    gradients = Gradients()
    gradients.give(parameters(theirs), parameters(mine))
    theirs.step()
    with pytest.warns(RuntimeWarning, match="numba is not installed"):
        mine.step()
    train(theirs, mine, gradients, steps=3)


def test_the_public_classes_are_all_there() -> None:
    assert set(NAMES) | {"AdamP", "LAMB", "LARS", "Lion"} <= set(ours.__all__)
    for name in ours.__all__:
        assert inspect.getdoc(getattr(ours, name)), name
    assert Path(ours.__file__).name == "__init__.py"
