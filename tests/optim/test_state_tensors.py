"""Tensors of a state are those that a person gave or holds, and autograd knows when they change."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch

import thalweg.optim as ours
from thalweg.errors import UsageError
from thalweg.optim.stepping.audit import audit, libtorch

COUNTING = ["Adam", "NAdam", "RAdam", "ASGD"]

both_audits = pytest.mark.parametrize(
    "compiled", [True, False], ids=["compiled", "python"], indirect=True
)


@pytest.fixture
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether tensors are asked by machine code or through Python."""
    if not request.param:
        monkeypatch.setattr(audit, "_proved", lambda: None)
    return bool(request.param)


def begun(cls: Any, **options: Any) -> tuple[Any, list[torch.nn.Parameter]]:
    parameters = [torch.nn.Parameter(torch.ones(5)), torch.nn.Parameter(torch.ones(2, 3))]
    return cls(parameters, lr=0.1, **options), parameters


def step(optimizer: Any, parameters: list[torch.nn.Parameter], times: int = 1) -> None:
    for _ in range(times):
        for k, p in enumerate(parameters):
            p.grad = torch.full_like(p, 1.0 + k)
        optimizer.step()


@both_audits
@pytest.mark.parametrize("engine", ["auto", "eager"])
@pytest.mark.parametrize("name", COUNTING)
def test_the_step_that_was_given_is_the_one_that_counts(
    name: str, engine: str, compiled: bool
) -> None:
    """A number put in by hand, of any kind that torch counts with, is advanced in place."""
    for given in (torch.tensor(7.0), torch.tensor(7.0, dtype=torch.float64), torch.tensor([7.0])):
        ends = []
        for cls, own in (
            (getattr(ours, name), {"engine": engine}),
            (getattr(torch.optim, name), {}),
        ):
            optimizer, parameters = begun(cls, **own)
            step(optimizer, parameters, 2)
            mine = given.clone()
            optimizer.state[parameters[1]]["step"] = mine
            step(optimizer, parameters, 3)
            assert optimizer.state[parameters[1]]["step"] is mine
            assert mine.item() == 10
            ends.append([p.detach().clone() for p in parameters])
        for x, y in zip(*ends, strict=True):
            torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-6)


@both_audits
def test_a_reference_to_a_step_never_goes_stale(compiled: bool) -> None:
    """Other parameters join, rest and come back."""
    optimizer, parameters = begun(ours.Adam)
    step(optimizer, parameters[:1], 2)
    held = dict(optimizer.state[parameters[0]])
    step(optimizer, parameters, 2)
    optimizer.add_param_group({"params": torch.nn.Parameter(torch.ones(3))})
    parameters[1].grad = None
    optimizer.step()
    step(optimizer, parameters, 1)
    assert all(optimizer.state[parameters[0]][key] is x for key, x in held.items())
    assert held["step"].item() == 6
    assert optimizer.state[parameters[1]]["step"].item() == 3


def test_a_step_shared_by_two_parameters_counts_twice_as_in_torch() -> None:
    counts = []
    for cls in (ours.Adam, torch.optim.Adam):
        optimizer, parameters = begun(cls)
        step(optimizer, parameters)
        shared = torch.tensor(1.0)
        for p in parameters:
            optimizer.state[p]["step"] = shared
        step(optimizer, parameters, 3)
        counts.append(shared.item())
    assert counts == [7.0, 7.0]


@pytest.mark.skipif(
    not hasattr(torch.optim, "swap_in_optimizer_params_and_state"),
    reason="this torch has no swap_in_optimizer_params_and_state",
)
@pytest.mark.parametrize("name", COUNTING)
def test_functional_training_as_in_torch(name: str) -> None:
    """Parameters and state that are swapped in for a step advance, and those of its own do not."""
    swapped = torch.optim.swap_in_optimizer_params_and_state
    ends = []
    for cls in (getattr(ours, name), getattr(torch.optim, name)):
        optimizer, parameters = begun(cls)
        step(optimizer, parameters)
        saved = optimizer.state_dict()
        params = [torch.nn.Parameter(p.detach().clone()) for p in parameters]
        state = {
            "state": {
                k: {key: x.clone() for key, x in own.items()} for k, own in saved["state"].items()
            },
            "param_groups": saved["param_groups"],
        }
        for _ in range(5):
            with swapped(optimizer, dict(enumerate(params)), state):
                live = [p for group in optimizer.param_groups for p in group["params"]]
                step(optimizer, live)
        own_states = [own[key] for own in state["state"].values() for key in sorted(own)]
        ends.append([*params, *own_states])
        assert optimizer.state[parameters[0]]["step"].item() == 1
    for x, y in zip(*ends, strict=True):
        torch.testing.assert_close(x.detach(), y.detach(), rtol=1e-5, atol=1e-6)


@both_audits
@pytest.mark.parametrize("cls", [ours.Adam, torch.optim.Adam], ids=["ours", "torch"])
def test_backward_through_a_state_that_a_step_has_changed_raises(cls: Any, compiled: bool) -> None:
    optimizer, parameters = begun(cls)
    step(optimizer, parameters)
    for key in ("exp_avg", "exp_avg_sq", "step"):
        x = torch.ones(5, requires_grad=True)
        kept = optimizer.state[parameters[0]][key]
        version, loss = kept._version, (x * kept).sum()
        step(optimizer, parameters)
        assert kept._version > version
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


@both_audits
def test_an_audit_holds_no_gradient_and_leaks_nothing(compiled: bool) -> None:
    optimizer, parameters = begun(ours.Adam)
    step(optimizer, parameters, 3)
    gradient = torch.ones(5)
    before = sys.getrefcount(gradient)
    for _ in range(50):
        parameters[0].grad = gradient
        optimizer.step()
    parameters[0].grad = None
    assert sys.getrefcount(gradient) == before
    counts = [sys.getrefcount(x) for x in optimizer.state[parameters[1]].values()]
    step(optimizer, parameters, 50)
    assert [sys.getrefcount(x) for x in optimizer.state[parameters[1]].values()] == counts


def freed(x: torch.Tensor) -> torch.Tensor:
    x = x.clone()
    x.untyped_storage().resize_(0)
    return x


DAMAGE = {
    "too few scales": ({"state_dtype": "int8"}, "exp_avg.scale", lambda x: x[:1].clone()),
    "no scales": ({"state_dtype": "int8"}, "exp_avg.scale", lambda x: x[:0].clone()),
    "scales without memory": ({"state_dtype": "int8"}, "exp_avg_sq.scale", freed),
    "codes of another shape": ({"state_dtype": "int8"}, "exp_avg", lambda x: x[:7].clone()),
    "codes without memory": ({"state_dtype": "int8"}, "exp_avg", freed),
    "a compensation that is too short": ({"rounding": "kahan"}, "compensation", lambda x: x[:7]),
    "a compensation without memory": ({"rounding": "kahan"}, "compensation", freed),
    "no tensor": ({}, "exp_avg", lambda x: "damaged"),
    "a count of two numbers": ({}, "step", lambda x: torch.ones(2)),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_checkpoint_is_refused_before_a_kernel_sees_it(what: str) -> None:
    own, key, change = DAMAGE[what]
    p = torch.nn.Parameter(torch.ones(1000, dtype=torch.bfloat16))
    optimizer = ours.Adam([p], **own)
    p.grad = torch.ones_like(p)
    optimizer.step()
    before = p.detach().clone()
    state = optimizer.state[p]
    state[key] = change(state[key])
    with pytest.raises(UsageError, match=key.replace(".", r"\.")):
        optimizer.step()
    assert torch.equal(p, before)


@pytest.mark.parametrize(
    ("own", "key"),
    [({"state_dtype": "int8"}, "exp_avg.scale"), ({"rounding": "kahan"}, "compensation")],
)
def test_a_part_of_another_dtype_is_converted(own: dict[str, Any], key: str) -> None:
    """Scales in float64 and a compensation in float32 mean what they did."""
    ends = []
    for convert in (False, True):
        p = torch.nn.Parameter(torch.linspace(-1, 1, 1000).bfloat16())
        optimizer = ours.Adam([p], lr=0.01, **own)
        for k in range(4):
            p.grad = torch.full_like(p, 1.0 + k)
            if k == 2 and convert:
                optimizer.state[p][key] = optimizer.state[p][key].double()
            optimizer.step()
        ends.append(
            (p.detach(), *(optimizer.state[p][name] for name in sorted(optimizer.state[p])))
        )
    for x, y in zip(*ends, strict=True):
        assert x.dtype == y.dtype
        assert torch.equal(x, y)


@both_audits
def test_a_state_that_moves_while_its_parameter_rests(compiled: bool) -> None:
    """Its former memory is free for gradients, and where it is now is where it is stepped."""
    ends = []
    for cls in (ours.Adam, torch.optim.Adam):
        parameters = [torch.nn.Parameter(torch.ones(5000)) for _ in range(3)]
        optimizer = cls(parameters, lr=0.1)
        step(optimizer, parameters, 2)
        for t in range(12):
            rests = parameters[t % 3]
            for x in (rests, *optimizer.state[rests].values()):
                x.data = x.data.clone()
            for k, p in enumerate(parameters):
                p.grad = None
                p.grad = None if p is rests else torch.full((5000,), 1.0 + k)
            optimizer.step()
        ends.append([p.detach() for p in parameters])
    for x, y in zip(*ends, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(torch._C, "_aoti"),
    reason="where libtorch's C interface is elsewhere, tensors are asked through Python",
)
def test_the_compiled_audit_is_there_whatever_memory_held_before() -> None:
    """What is searched for must be found every time, among words that may hold anything."""
    known = libtorch.layout()
    assert known is not None
    assert audit._proved() is known
    functions, random = libtorch._functions(), torch.Generator().manual_seed(0)
    for k in range(50):
        junk = [torch.randn(k % 7, 3, 2, generator=random).double() for _ in range(k)]
        again = libtorch._search(functions)
        del junk
        assert again is not None
        assert vars(again) == vars(known)


@both_audits
@pytest.mark.parametrize("shape", [(2, 0), (0, 3), (3, 0, 2)])
def test_an_empty_parameter_whose_strides_are_others_than_its_gradients(
    shape: tuple[int, ...], compiled: bool
) -> None:
    """Without elements strides lead nowhere: torch steps such a parameter, and so do kernels."""
    empty = torch.nn.Parameter(torch.ones(shape).as_strided(shape, [7] * len(shape)))
    other = torch.nn.Parameter(torch.ones(3))
    optimizer = ours.SGD([empty, other], lr=0.5, momentum=0.9, engine="numba")
    for _ in range(2):
        empty.grad, other.grad = torch.zeros(shape), torch.ones(3)
        optimizer.step()
    torch.testing.assert_close(other.detach(), torch.full((3,), 1 - 0.5 - 0.95))
