"""What optimizers over equal shapes share, and what a first step leaves to the audit."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

import thalweg.optim as ours
from thalweg.engines.tables import address
from thalweg.errors import UsageError
from thalweg.optim.stepping import dispatch, plan
from thalweg.optim.stepping.audit import audit, compiled, kernel
from thalweg.optim.stepping.batches import arrangement

SHAPES = ((7, 3), (5,), (), (3, 0), (2, 3, 4))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the tables of shapes were worked out."""
    counts: Counter[str] = Counter()

    def count(module: Any, name: str) -> None:
        class Counted(getattr(module, name)):  # type: ignore[misc]
            def __init__(self, *args: Any) -> None:
                counts[name] += 1
                super().__init__(*args)

        monkeypatch.setattr(module, name, Counted)

    monkeypatch.setattr(arrangement, "_arrangements", {})
    audit.asks_libtorch()  # which makes tables for its proof
    count(arrangement, "Arrangement")
    count(audit, "Blank")
    return counts


def parameters(seed: int, dtype: torch.dtype = torch.float32) -> list[torch.nn.Parameter]:
    random = torch.Generator().manual_seed(seed)
    return [
        torch.nn.Parameter(torch.randn(shape, dtype=dtype, generator=random)) for shape in SHAPES
    ]


def give(owners: list[torch.nn.Parameter], seed: int) -> None:
    random = torch.Generator().manual_seed(1000 + seed)
    for p in owners:
        p.grad = torch.randn(p.shape, dtype=p.dtype, generator=random)


@pytest.mark.parametrize("name", ["SGD", "Adam", "NAdam", "LAMB", "AdamP"])
def test_optimizers_over_equal_shapes_share_tables_and_nothing_else(
    name: str, made: Counter[str]
) -> None:
    """Three that step in turn, with other options and at other times, end as each does alone."""
    cls, rates = getattr(ours, name), (0.1, 0.02, 0.3)

    def run(seeds: list[int]) -> list[list[torch.Tensor]]:
        both = [parameters(seed) for seed in seeds]
        optimizers = [cls(own, lr=rates[seed]) for own, seed in zip(both, seeds, strict=True)]
        for t in range(7):
            for own, seed, optimizer in zip(both, seeds, optimizers, strict=True):
                if t % (seed + 1) == 0:
                    give(own, 10 * t + seed)
                    optimizer.step()
        return [[p.detach() for p in own] for own in both]

    together = run([0, 1, 2])
    assert made == {"Arrangement": 1, "Blank": 1}
    arrangement._arrangements.clear()
    for seed, found in enumerate(together):
        (alone,) = run([seed])
        arrangement._arrangements.clear()
        assert all(map(torch.equal, found, alone))


def test_other_shapes_formats_and_groups_have_tables_of_their_own(made: Counter[str]) -> None:
    def step(groups: Any, **options: Any) -> None:
        optimizer = ours.Adam(groups, **options)
        for group in optimizer.param_groups:
            give(group["params"], 0)
        optimizer.step()

    for _ in range(2):
        step(parameters(0))
        step(parameters(0)[:-1])
        step(parameters(0, torch.float64))
        step(parameters(0), state_dtype="int8")
        own = parameters(0)
        step([{"params": own[:2]}, {"params": own[2:], "lr": 0.5}])
        own = parameters(0)
        own[0].data = own[0].data.t().contiguous().t()
        step(own)
    assert made == {"Arrangement": 6, "Blank": 6}


def test_few_arrangements_are_remembered(made: Counter[str]) -> None:
    for n in range(arrangement._REMEMBERED + 5):
        p = torch.nn.Parameter(torch.ones(n))
        optimizer = ours.SGD([p], lr=0.1)
        give([p], n)
        optimizer.step()
    assert 0 < len(arrangement._arrangements) <= arrangement._REMEMBERED


def test_a_first_step_asks_for_reasons_only_where_the_audit_objects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    divide = dispatch.divide

    def noted(rule: Any, items: Any, *args: Any) -> Any:
        asked.append(len(items))
        return divide(rule, items, *args)

    monkeypatch.setattr(plan, "divide", noted)
    both = [parameters(0), parameters(0)]
    for own in both:
        give(own, 0)
    ours.Adam(both[0]).step()
    assert asked == []
    shared = torch.ones(24)
    both[1][1].data, both[1][0].data = shared[:5], shared[3:].view(7, 3)
    ours.Adam(both[1]).step()
    assert asked == [len(SHAPES)]


def test_memory_that_parameters_share_is_found_at_the_first_step() -> None:
    """Two views of one array are stepped one after the other, as torch does it."""
    ends = []
    for cls in (ours.SGD, torch.optim.SGD):
        shared = torch.ones(9)
        both = [torch.nn.Parameter(shared[:6]), torch.nn.Parameter(shared[3:])]
        for p in both:
            p.grad = torch.ones_like(p)
        cls(both, lr=0.25).step()
        ends.append(shared)
    assert torch.equal(*ends)
    assert ends[0].tolist() == [0.75] * 3 + [0.5] * 3 + [0.75] * 3


@pytest.mark.parametrize("freed", ["parameter", "gradient"])
def test_freed_memory_is_refused_at_the_first_step(freed: str) -> None:
    own = parameters(0)
    give(own, 0)
    tensor = own[0] if freed == "parameter" else own[0].grad
    assert tensor is not None
    tensor.untyped_storage().resize_(0)
    with pytest.raises(UsageError, match=f"{freed} .*does not hold it"):
        ours.Adam(own).step()


def test_tables_are_sorted_in_pairs() -> None:
    """The compiled audit's own sorting, run as Python."""
    random = np.random.default_rng(0)
    for count in (0, 1, 2, 3, 10, 57):
        starts = random.integers(0, 30, count)
        stops = 1000 * starts + random.integers(0, 9, count)
        pairs = sorted(zip(starts.tolist(), stops.tolist(), strict=True))
        kernel.sort(address(starts), address(stops), count)
        assert starts.tolist() == [start for start, _ in pairs]
        assert sorted(zip(starts.tolist(), stops.tolist(), strict=True)) == pairs


def test_an_address_is_where_an_array_begins() -> None:
    table = np.arange(12.0)
    assert address(table) == table.ctypes.data
    assert address(table[5:]) == table.ctypes.data + 40
    assert address(table[:0]) == 0
    assert compiled.address is address
