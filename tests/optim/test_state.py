"""A state that changes under the optimizer: cleared, replaced, moved."""

from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch
from torch import Tensor

import thalweg.optim as ours
from optim_cases import (
    ENGINES,
    FULL,
    Case,
    Compare,
    Gradients,
    pair,
    parameters,
    train,
)

every_engine = pytest.mark.parametrize("engine", ENGINES)
full = pytest.mark.parametrize("case", FULL, ids=lambda case: case.name)


@every_engine
@full
def test_state_cleared_or_replaced_is_noticed(case: Case, engine: str) -> None:
    theirs, mine = pair(case, engine=engine)

    def change(t: int) -> None:
        for optimizer in (theirs, mine):
            first, second, _ = parameters(optimizer)
            if t == 8:
                optimizer.state.clear()
            elif t == 12:
                optimizer.state.pop(first, None)
            elif t == 14 and first in optimizer.state:
                optimizer.state[first] = copy.deepcopy(optimizer.state[first])
            elif t == 16 and second in optimizer.state:
                for key, value in optimizer.state[second].items():
                    optimizer.state[second][key] = value * 0.5 if key != "step" else value.clone()
            elif t == 18 and second in optimizer.state:
                for value in optimizer.state[second].values():
                    value.mul_(2)  # in place, the step count as well

    train(theirs, mine, Gradients(), before=change)


@every_engine
def test_step_count_set_back_in_place(engine: str) -> None:
    """A warm restart of the bias correction."""
    theirs, mine = pair(Case("Adam", {"lr": 0.05}), engine=engine)

    def restart(t: int) -> None:
        if t in (5, 9):
            for optimizer in (theirs, mine):
                for state in list(optimizer.state.values())[: 3 if t == 5 else 1]:
                    state["step"].zero_()

    train(theirs, mine, Gradients(), before=restart)


@every_engine
@full
def test_parameter_data_replaced_is_noticed(case: Case, engine: str) -> None:
    theirs, mine = pair(case, engine=engine, shapes=((6, 4), (5,)))

    def replace(t: int) -> None:
        for optimizer in (theirs, mine):
            first, second = parameters(optimizer)
            if t == 5:
                first.data = first.data.clone() * 0.5
            elif t == 8:  # the same memory, fewer elements: a pruned layer
                second.data = second.data[:3]
                _forget(optimizer, second)
            elif t == 11:  # the same memory, other strides
                first.data = first.data.t()
                _forget(optimizer, first)
            elif t == 14:
                with torch.no_grad():
                    second.set_(torch.full((2, 2), 0.5, dtype=second.dtype))
                second.grad = None
                _forget(optimizer, second)

    train(theirs, mine, Gradients(), before=replace)


@every_engine
def test_a_parameter_that_shrinks_in_its_memory(engine: str) -> None:
    """The address stays, the elements behind the new end belong to somebody else."""
    memory = torch.ones(1000)
    p = torch.nn.Parameter(memory)
    p.data = memory
    mine = ours.SGD([p], lr=1.0, engine=engine)
    p.grad = torch.ones(1000)
    mine.step()
    p.grad = None
    p.data = memory[:400]
    p.grad = torch.ones(400)
    assert p.data_ptr() == memory.data_ptr()
    mine.step()
    assert torch.equal(memory[:400], torch.full((400,), -1.0))
    assert torch.equal(memory[400:], torch.zeros(600))


@every_engine
def test_a_parameter_transposed_in_its_memory(engine: str) -> None:
    p = torch.nn.Parameter(torch.zeros(2, 3))
    mine = ours.SGD([p], lr=1.0, engine=engine)
    for _ in range(2):
        p.grad = None
        (p * torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])).sum().backward()
        mine.step()
    p.grad = None
    p.data = p.data.t()
    (p * torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])).sum().backward()
    mine.step()
    assert p.tolist() == [[-3.0, -10.0], [-7.0, -14.0], [-11.0, -18.0]]


def _forget(optimizer: torch.optim.Optimizer, p: Tensor) -> None:
    """Let go of a parameter's state, whose shape no longer fits."""
    p.grad = None
    optimizer.state.pop(p, None)
    if isinstance(optimizer, torch.optim.Adagrad | ours.Adagrad):
        (start,) = {g["initial_accumulator_value"] for g in optimizer.param_groups}
        optimizer.state[p] = {"step": torch.tensor(0.0), "sum": torch.full_like(p, start)}
        optimizer.state[p]["sum"].requires_grad_(False)


@every_engine
def test_parameters_of_a_group_replaced_are_noticed(engine: str) -> None:
    """What a program does that grows and prunes its parameters, keeping their state."""
    theirs, mine = pair(Case("Adam", {"lr": 0.05}), engine=engine)

    def replace(t: int) -> None:
        for optimizer in (theirs, mine):
            group = optimizer.param_groups[0]
            if t == 6:
                old = group["params"][0]
                state = optimizer.state.pop(old)
                new = old.detach().clone()[:2].requires_grad_()
                state["exp_avg"] = state["exp_avg"][:2].clone()
                state["exp_avg_sq"] = state["exp_avg_sq"][:2].clone()
                group["params"][0] = new
                optimizer.state[new] = state
            elif t == 12:
                group["params"] = group["params"][::-1]
            elif t == 15:
                group["params"].pop()

    train(theirs, mine, Gradients(), before=replace)


def test_module_converted_while_training() -> None:
    """float64 and back leaves parameters of other types, at other addresses."""
    nets, optimizers = [], []
    for make in (torch.optim.SGD, ours.SGD):
        torch.manual_seed(0)
        nets.append(torch.nn.Linear(5, 4))
        optimizers.append(make(nets[-1].parameters(), lr=0.1))
    compare = Compare(*optimizers)
    for t, kind in enumerate([torch.float32, torch.float64, torch.float32, torch.bfloat16]):
        for net, optimizer in zip(nets, optimizers, strict=True):
            net.to(kind)
            for _ in range(3):
                optimizer.zero_grad()
                net(torch.ones(2, 5, dtype=kind)).square().sum().backward()
                optimizer.step()
        compare(f"round {t}")


@pytest.mark.parametrize("what", ["parameters", "state"])
def test_memory_shared_with_other_processes_is_noticed(what: str) -> None:
    """share_memory_ moves a tensor in place: to write to where it was would corrupt memory."""
    theirs, mine = pair(Case("Adam", {"lr": 0.05}))

    def share(t: int) -> None:
        if t == 5:
            shared = (
                parameters(mine)
                if what == "parameters"
                else [x for state in mine.state.values() for x in state.values()]
            )
            for x in shared:
                x.detach().share_memory_()

    train(theirs, mine, Gradients(), before=share)


def test_adagrad_shares_its_memory() -> None:
    theirs, mine = pair(Case("Adagrad", {}))
    train(theirs, mine, Gradients(), steps=2)
    mine.share_memory()
    assert all(state["sum"].is_shared() for state in mine.state.values())
    train(theirs, mine, Gradients(), steps=3)


@every_engine
@full
def test_gradients_are_never_written_to(case: Case, engine: str) -> None:
    case = Case(case.name, {**case.options, "maximize": True})
    _, mine = pair(case, engine=engine, shapes=((4, 3), (), (6,)))
    gradients = Gradients()
    for _ in range(3):
        gradients.give(parameters(mine))
        first = parameters(mine)[0]
        first.grad = first.grad.t().contiguous().t()
        held = [p.grad for p in parameters(mine)]
        before = [g.clone() for g in held]
        mine.step()
        for p, g, old in zip(parameters(mine), held, before, strict=True):
            assert p.grad is g
            assert torch.equal(g, old)


def test_a_dropped_optimizer_is_freed_at_once() -> None:
    """No cycle keeps the state of a large model until the garbage collector comes."""
    _, mine = pair(Case("Adam", {}))
    gradients = Gradients()
    gradients.give(parameters(mine))
    mine.step()
    dead = weakref.ref(next(iter(mine.state.values()))["exp_avg"])
    gc.disable()
    try:
        del mine
        assert dead() is None
    finally:
        gc.enable()
