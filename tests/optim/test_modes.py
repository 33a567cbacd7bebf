"""Steps under modes, transforms and traces of torch: each sees the operations of a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import thalweg.optim as ours
from optim_cases import FULL, Case, Gradients, pair, parameters, tensors, train
from thalweg.optim.stepping.batches.cpu import HostBatch
from thalweg.optim.stepping.batches.eager import Eager

full = pytest.mark.parametrize("case", FULL, ids=lambda case: case.name)


class Dispatched(TorchDispatchMode):
    """Notes every operation that writes into a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.is_mutable and isinstance(args[0], torch.Tensor):
            self.written.append(args[0].data_ptr())
        return func(*args, **(kwargs or {}))


class Called(TorchFunctionMode):
    """Notes every function of torch that is called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {}))


@full
def test_a_dispatch_mode_sees_every_tensor_that_is_written(case: Case) -> None:
    theirs, mine = pair(case)
    gradients = Gradients()
    train(theirs, mine, gradients, steps=2)
    assert all(type(batch) is HostBatch for batch in mine._plan.batches)
    with Dispatched() as mode:
        train(theirs, mine, gradients, steps=1)
    for p in parameters(mine):
        state = [x for x in mine.state[p].values() if x.numel() > 1 and x.shape == p.shape]
        assert {x.data_ptr() for x in (p, *state)} <= set(mode.written)
    train(theirs, mine, gradients, steps=2)  # and the kernel takes over again
    assert all(type(batch) is HostBatch for batch in mine._plan.batches)


def test_a_function_mode_sees_the_arithmetic() -> None:
    theirs, mine = pair(Case("Adam", {}))
    gradients = Gradients()
    train(theirs, mine, gradients, steps=2)
    gradients.give(parameters(theirs), parameters(mine))
    theirs.step()
    with Called() as mode:
        mine.step()
    assert {"sqrt", "mul", "copy_"} <= mode.names


def test_a_counter_of_operations_counts_the_step() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    p = torch.ones(4, 4, requires_grad=True)
    mine = ours.SGD([p], lr=0.1)
    p.grad = torch.ones_like(p)
    with FlopCounterMode(display=False):
        mine.step()
    assert torch.equal(p, torch.full((4, 4), 0.9))


def test_an_engine_that_was_insisted_on_yields_to_a_mode() -> None:
    (p,) = tensors(torch.float32, ((9,),))
    mine = ours.Adam([p], engine="numba")
    p.grad = torch.ones_like(p)
    with Dispatched() as mode:
        mine.step()
    assert p.data_ptr() in mode.written


def test_a_default_device_is_no_reason_to_be_slow() -> None:
    """It is a mode of functions too, but one that only makes new tensors."""
    (p,) = tensors(torch.float32, ((9,),))
    mine = ours.Adam([p])
    p.grad = torch.ones_like(p)
    with torch.device("cpu"):
        mine.step()
        assert [type(batch) for batch in mine._plan.batches] == [HostBatch]
        with Called():
            mine.step()
            assert [type(batch) for batch in mine._plan.batches] == [Eager]


@pytest.mark.parametrize("tracing", ["real", "fake", "symbolic"])
def test_a_traced_graph_holds_the_update(tracing: str) -> None:
    """Whatever the tracer, two more nodes write the momentum and the parameter."""
    (p,) = tensors(torch.float64, ((4, 3),))
    mine = ours.SGD([p], lr=0.1, momentum=0.9, weight_decay=0.01)
    p.grad = torch.ones_like(p)
    mine.step()

    def update(g: torch.Tensor) -> torch.Tensor:
        p.grad = g
        mine.step()
        return p.detach().clone()

    graph = make_fx(update, tracing_mode=tracing, _allow_non_fake_inputs=True)(torch.ones_like(p))
    names = [str(node.target) for node in graph.graph.nodes]
    assert names.count("aten.copy_.default") == 2, names


def test_a_traced_graph_makes_the_step_again() -> None:
    (p,) = tensors(torch.float64, ((4, 3),))
    mine = ours.SGD([p], lr=0.1, momentum=0.9)

    def update(p: torch.Tensor, v: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        p.grad = g
        mine.param_groups[0]["params"] = [p]
        mine.state[p] = {"momentum_buffer": v}
        mine.step()
        return p

    p0, v, g = (x.detach() for x in tensors(torch.float64, ((4, 3),) * 3, seed=3))
    graph = make_fx(update)(p0.clone(), v.clone(), g)
    expected = p0 - 0.1 * (0.9 * v + g)
    torch.testing.assert_close(graph(p0.clone(), v.clone(), g), expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("name", ["SGD", "Adam", "NAdam", "RAdam", "Rprop"])
def test_fake_tensors(name: str) -> None:
    with FakeTensorMode():
        model = torch.nn.Linear(3, 2)
        mine = getattr(ours, name)(model.parameters(), lr=0.1)
        for _ in range(2):
            model(torch.ones(4, 3)).sum().backward()
            mine.step()
    assert isinstance(model.weight.data, FakeTensor)
    assert all(isinstance(x, torch.Tensor) for x in mine.state[model.weight].values())


def test_vmap_over_whole_trainings() -> None:
    """What torch's own class returns; a kernel has no address of a batch to write to."""

    def train_with(package: Any) -> Callable[[torch.Tensor], torch.Tensor]:
        def run(x: torch.Tensor) -> torch.Tensor:
            p = torch.zeros(3) * x
            optimizer = package.SGD([torch.zeros(3, requires_grad=True)], lr=0.1, momentum=0.9)
            optimizer.param_groups[0]["params"] = [p]
            for _ in range(3):
                p.grad = x * torch.ones(3) + p.detach()
                optimizer.step()
            return p

        return run

    xs = torch.arange(4.0)
    expected = torch.vmap(train_with(torch.optim))(xs)
    torch.testing.assert_close(torch.vmap(train_with(ours))(xs), expected)
