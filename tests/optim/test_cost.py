"""What a step may cost: one launch, one plan, no memory. Counted, not timed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler
from torch.utils._python_dispatch import TorchDispatchMode

import thalweg.optim as ours
from optim_cases import FULL, Case, Gradients, pair, parameters, tensors
from thalweg.engines.numba import launch as engine
from thalweg.engines.numba import store
from thalweg.optim import optimizer as module
from thalweg.optim.stepping.batches import arrangement

full = pytest.mark.parametrize("case", FULL, ids=lambda case: case.name)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many plans and launches were made, and how often a launch was called."""
    counts: Counter[str] = Counter()

    class Launch(engine.NumbaLaunch):
        def __init__(self, *args: Any, **options: Any) -> None:
            counts["launches made"] += 1
            super().__init__(*args, **options)

        def __call__(self, threads: int = 1) -> None:
            counts["launches"] += 1
            super().__call__(threads)

    class Plan(module.Plan):
        def __init__(self, *args: Any, **options: Any) -> None:
            counts["plans"] += 1
            super().__init__(*args, **options)

    monkeypatch.setattr(arrangement, "_arrangements", {})
    monkeypatch.setattr(engine, "NumbaLaunch", Launch)
    monkeypatch.setattr(module, "Plan", Plan)
    return counts


@full
def test_one_launch_steps_all_tensors_of_all_groups(case: Case, counted: Counter[str]) -> None:
    groups = [
        {"params": tensors(torch.float32, ((7, 3), (5,), ()), seed=k), "lr": 0.01 * (k + 1)}
        for k in range(6)
    ]
    mine, gradients = case.ours(groups), Gradients()
    for _ in range(4):
        gradients.give(parameters(mine))
        mine.step()
    assert counted == {"launches made": 1, "launches": 4, "plans": 1}


def test_one_launch_for_each_rule_and_number_type(counted: Counter[str]) -> None:
    single, double = tensors(torch.float32, ((4,), (5,))), tensors(torch.float64, ((4,), (5,)))
    groups = [
        {"params": [single[0], double[0]]},
        {"params": [single[1], double[1]], "weight_decay": 0.1},
    ]
    mine, gradients = ours.Adam(groups), Gradients()
    for _ in range(3):
        gradients.give(parameters(mine))
        mine.step()
    assert counted == {"launches made": 4, "launches": 12, "plans": 1}


@full
def test_ordinary_training_makes_one_plan(case: Case, counted: Counter[str]) -> None:
    """Schedulers, momentum that is cycled, zeroed gradients and fresh ones change no plan."""
    _, mine = pair(case)
    cycles = "momentum" in mine.defaults or "betas" in mine.defaults
    schedule = lr_scheduler.OneCycleLR(mine, max_lr=0.1, total_steps=12, cycle_momentum=cycles)
    gradients = Gradients()
    for t in range(10):
        mine.zero_grad(set_to_none=bool(t % 2))
        gradients.give(parameters(mine))
        if t == 5:
            mine.state_dict()
            mine.param_groups[0]["lr"] = torch.tensor(0.02)
        mine.step()
        schedule.step()
    assert counted["plans"] == 1
    assert counted["launches"] == 10


@pytest.mark.parametrize("rule", ["Adam", "NAdam", "SGD", "AdamP"])
def test_patterns_of_missing_gradients_make_two_plans(rule: str, counted: Counter[str]) -> None:
    """One for the parameters that all step, one in which any of them may rest."""
    mine = getattr(ours, rule)(tensors(torch.float32, ((4, 3), (5,), (2, 2))), lr=0.01)
    gradients = Gradients(lambda k, t: t > 2 and (t >> k) % 2 == 0)
    for _ in range(12):
        gradients.give(parameters(mine))
        mine.step()
    assert counted["plans"] == 2


def test_a_long_varied_training_compiles_each_computation_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever else changes on the way: what is computed, and how it is kept, is what compiles."""
    asked: list[str] = []
    load = store.load

    def counted_load(name: str, source: str) -> Any:
        asked.append(name)
        return load(name, source)

    monkeypatch.setattr(store, "load", counted_load)
    monkeypatch.setattr(engine.KERNELS, "_kernels", {})
    monkeypatch.setattr(arrangement, "_arrangements", {})
    first, second = tensors(torch.float32, ((40, 3), (7,))), tensors(torch.float32, ((5,),), seed=1)
    mine = ours.Adam([{"params": first}], lr=0.1)
    gradients = Gradients(lambda k, t: t % 5 == 3 and k == 1)
    for t in range(60):
        group = mine.param_groups[0]
        if t == 10:
            mine.add_param_group({"params": second, "eps": 1e-6})
        if t == 20:
            mine.load_state_dict(mine.state_dict())
        if t == 30:
            group["betas"] = (0.8, torch.tensor(0.95))
        group["weight_decay"] = 0.01 * (t // 40)  # from the 40th step on
        group["maximize"] = t >= 50
        if t == 45:
            first[0].data = first[0].data.clone()
        group["lr"] = 0.1 / (1 + t)
        gradients.give(parameters(mine))
        mine.step()
    assert len(asked) == len(set(asked)) == 3, asked
    assert [name.count("coupled_weight_decay") for name in asked] == [0, 1, 1]
    assert [name.count("maximize") for name in asked] == [0, 0, 1]
    more = ours.Adam(tensors(torch.float32, ((3,),)), amsgrad=False, lr=1.0)
    more.param_groups[0]["params"][0].grad = torch.ones(3)
    more.step()
    assert len(asked) == 3, "another optimizer of the same rule asks for nothing"


class Operations(TorchDispatchMode):
    """Writes down every operation of torch and whether it made a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@full
def test_a_step_calls_no_operation_of_torch_and_so_allocates_no_tensor(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Under a mode a step would be one by torch's operations; this one is to see the kernel's.
    monkeypatch.setattr("thalweg.optim.stepping.plan.watched", lambda: False)
    _, mine = pair(case, torch.float32)
    gradients = Gradients()
    gradients.give(parameters(mine))
    mine.step()
    gradients.give(parameters(mine))
    with Operations() as operations:
        mine.step()
    assert operations.names == []
    with Operations() as operations:  # the instrument itself works
        torch.ones(3).add_(1)
    assert len(operations.names) == 2


@full
def test_only_a_gradient_that_is_not_contiguous_is_copied(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thalweg.optim.stepping.plan.watched", lambda: False)
    _, mine = pair(case, torch.float32, shapes=((4, 3), (5,)))
    gradients = Gradients()
    for measured in (False, True):
        gradients.give(parameters(mine))
        first = parameters(mine)[0]
        assert first.grad is not None
        first.grad = first.grad.t().contiguous().t()
        with Operations() as operations:
            mine.step()
        if measured:
            made = [name for name in operations.names if "detach" not in name]
            assert made == ["aten.clone.default"], made
