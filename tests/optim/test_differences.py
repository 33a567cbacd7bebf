"""Every line of docs/differences.md: a test of its name shows that the difference is so."""

from __future__ import annotations

import inspect
import math
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import thalweg.optim as ours
from thalweg.errors import UsageError

BOTH = (torch.optim, ours)
PAGE = Path(__file__).parents[2] / "docs" / "differences.md"


def stepped(package: Any, name: str, p: torch.Tensor, *gradients: Any, **options: Any) -> Any:
    """An optimizer of one parameter that has taken a step along each gradient."""
    optimizer = getattr(package, name)([p], **options)
    for g in gradients:
        p.grad = g if isinstance(g, torch.Tensor) else torch.full_like(p, g)
        optimizer.step()
    return optimizer


def one(value: complex = 1.0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.full((1,), value, dtype=dtype, requires_grad=True)


def test_every_line_has_a_test_and_every_test_a_line() -> None:
    table = PAGE.read_text().partition("## The table")[2]
    lines = [re.match(r"\| ([^|]+?) \|", line) for line in table.splitlines()]
    names = [m[1] for m in lines if m and m[1] not in ("what", "---")]
    wanted = {f"test_{re.sub(r'[^a-z]+', '_', name.lower()).strip('_')}" for name in names}
    assert len(wanted) == len(names) > 10
    assert wanted == {n for n in globals() if n.startswith("test_")} - {
        "test_every_line_has_a_test_and_every_test_a_line"
    }


def test_half_precision() -> None:
    sizes = []
    for package in BOTH:
        p = one(dtype=torch.bfloat16)
        optimizer = stepped(package, "Rprop", p, *[1.0] * 6, lr=0.01)
        sizes.append(optimizer.state[p]["step_size"].item())
    wanted = 0.01 * 1.2**5
    assert abs(sizes[1] - wanted) < 2**-7 * wanted < abs(sizes[0] - wanted)

    finite = []
    for package in BOTH:
        p = one(dtype=torch.float16)
        stepped(package, "Adam", p, 0.0)
        finite.append(bool(p.isfinite()))
    assert finite == [False, True]


def test_components_of_complex_numbers() -> None:
    found = []
    for package in BOTH:
        p = one(1 + 1j, torch.complex64)
        stepped(package, "SGD", p, torch.tensor([complex(1.0, math.inf)]), lr=0.5)
        found.append(torch.view_as_real(p.detach()).isfinite().tolist())
    assert found == [[[False, False]], [[True, False]]]


def test_infinite_gradients() -> None:
    moments, values = [], []
    for package in BOTH:
        p = one()
        optimizer = stepped(package, "Adam", p, math.inf, 1.0)
        moments.append(optimizer.state[p]["exp_avg"].item())
        values.append(p.item())
    assert math.isnan(moments[0])
    assert moments[1] == math.inf
    assert not any(map(math.isfinite, values))


def test_centered_variance_that_overflows() -> None:
    found = []
    for package, own in ((torch.optim, {}), (ours, {}), (ours, {"engine": "eager"})):
        p = torch.ones(64, requires_grad=True)
        stepped(package, "RMSprop", p, 8e37, centered=True, **own)
        found.append(bool(p.isfinite().all()))
    assert found == [True, True, False]


def test_adagrad_groups() -> None:
    sums = []
    for package in BOTH:
        p = one()
        optimizer = package.Adagrad([{"params": [p], "initial_accumulator_value": 0.5}])
        sums.append(optimizer.state[p]["sum"].item())
    assert sums == [0.0, 0.5]


def test_options_of_groups() -> None:
    for bad in ({"lr": math.nan}, {"lr": -1.0}, {"betas": (1.0, 0.9)}):
        torch.optim.Adam([{"params": [one()], **bad}])
        with pytest.raises(UsageError, match="Invalid"):
            ours.Adam([{"params": [one()], **bad}])


def test_infinite_learning_rates() -> None:
    torch.optim.Adam([one()], lr=math.inf)
    with pytest.raises(UsageError, match="learning rate: inf; it must be finite"):
        ours.Adam([one()], lr=math.inf)


def test_integer_tensors() -> None:
    torch.optim.Adam([torch.arange(3)])
    with pytest.raises(UsageError, match="leave it out"):
        ours.Adam([torch.arange(3)])
    frozen = torch.nn.Parameter(torch.arange(3), requires_grad=False)
    for package in BOTH:
        optimizer = package.Adam([frozen])
        optimizer.step()
        assert not optimizer.state_dict()["state"]


def test_options_that_choose_an_implementation() -> None:
    for switches in (
        {"foreach": True, "fused": True},
        {"fused": True, "differentiable": True},
        {"betas": (0.9, torch.tensor(0.99))},
        {"lr": torch.tensor(0.1), "foreach": True},
    ):
        with pytest.raises((RuntimeError, ValueError)):
            torch.optim.Adam([one()], **switches)
        ours.Adam([one()], **switches)
    for switches, p in (
        ({"capturable": True}, one()),
        ({"fused": True}, torch.ones(1, device="meta", requires_grad=True)),
    ):
        with pytest.raises((AssertionError, RuntimeError)):
            stepped(torch.optim, "Adam", p, 1.0, **switches)
        stepped(ours, "Adam", p, 1.0, **switches)
    # What torch refuses steps as the same numbers do without the option, or as plain numbers.
    tensor, mixed = torch.tensor(0.1), (torch.tensor(0.9), 0.999)
    refused: tuple[dict[str, Any], ...] = (
        {"lr": tensor, "foreach": True},
        {"betas": mixed},
        {"betas": mixed, "foreach": True},
    )
    for options in refused:
        with pytest.raises(ValueError, match=r"capturable|[Tt]ensor"):
            stepped(torch.optim, "Adam", one(), 1.0, **options)
        found, plain = one(), one()
        stepped(ours, "Adam", found, 1.0, 0.5, **{"lr": 0.1, **options})
        stepped(ours, "Adam", plain, 1.0, 0.5, lr=0.1)
        # The numbers of a float32 tensor: 0.1 and 0.9 are rounded to 24 bits.
        torch.testing.assert_close(found, plain, rtol=1e-6, atol=0)


def test_exact_type() -> None:
    shared = {name for name in ours.__all__ if inspect.isclass(getattr(torch.optim, name, None))}
    names = {name for name in shared if getattr(ours, name) is not getattr(torch.optim, name)}
    assert shared - names <= {"Adafactor", "LBFGS", "Muon", "Optimizer"}
    assert len(names) == 12
    for name in names:
        mine, theirs = getattr(ours, name), getattr(torch.optim, name)
        assert issubclass(mine, theirs)
        assert mine is not theirs
    assert isinstance(ours.AdamW([one()]), torch.optim.Adam) is issubclass(
        torch.optim.AdamW, torch.optim.Adam
    )


def test_overridden_internals() -> None:
    called = []
    for package in BOTH:

        class Own(package.Adam):  # type: ignore[name-defined, misc]
            def _init_group(self, *args: Any) -> Any:
                called.append(self)
                return super()._init_group(*args)

        p = one()
        optimizer = Own([p])
        p.grad = torch.ones(1)
        optimizer.step()
        assert (optimizer in called) is (package is torch.optim)
        optimizer.state.clear()
        optimizer._init_group(optimizer.param_groups[0], [], [], [], [], [], [])
        assert set(optimizer.state[p]) == {"step", "exp_avg", "exp_avg_sq"}
        optimizer.step()
        assert optimizer.state[p]["step"] == 1


def test_compiled_steps() -> None:
    torch._dynamo.reset()
    breaks = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for package in BOTH:
            p = one()
            optimizer = package.SGD([p], lr=0.25)
            p.grad = torch.ones(1)
            explained = torch._dynamo.explain(lambda o=optimizer: o.step())()
            breaks.append(explained.graph_break_count > 0 or explained.graph_count == 0)
            assert p.item() == 0.75
    torch._dynamo.reset()
    assert breaks == [False, True]


def test_sparse_momentum() -> None:
    found = []
    for package in BOTH:
        p = torch.zeros(4, 2, requires_grad=True)
        g = torch.sparse_coo_tensor([[1]], torch.ones(1, 2), (4, 2), check_invariants=True)
        optimizer = stepped(package, "SGD", p, g, momentum=0.9)
        found.append(optimizer.state[p]["momentum_buffer"].is_sparse)
    assert found == [True, False]


def test_sparseadam_s_step_count() -> None:
    kinds = []
    for package in BOTH:
        p = torch.zeros(4, 2, requires_grad=True)
        g = torch.sparse_coo_tensor([[1]], torch.ones(1, 2), (4, 2), check_invariants=True)
        optimizer = stepped(package, "SparseAdam", p, g)
        kinds.append(type(optimizer.state[p]["step"]))
        assert type(optimizer.state_dict()["state"][0]["step"]) is int
    assert kinds == [int, torch.Tensor]


def test_classes() -> None:
    known = {n for n, x in vars(torch.optim).items() if isinstance(x, type) and n != "Optimizer"}
    missing = {n for n in known if issubclass(getattr(torch.optim, n), torch.optim.Optimizer)}
    assert not missing - {*ours.__all__}
    same = {name for name in missing if getattr(ours, name) is getattr(torch.optim, name)}
    assert same <= {"Adafactor", "LBFGS", "Muon"}
    assert {"Lion", "LARS", "LAMB", "AdamP"} <= {*ours.__all__} - known
