"""The GPU engine on a GPU, where there is one: against torch, captured in a graph, read as it runs.

Without one, test_triton.py has the same kernels interpreted, and test_triton_compile.py compiled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import thalweg
from oracles import EVERY_RULE, TOLERANCE, assert_agree, formula, lively, problem, start
from thalweg.rules import Rule
from thalweg.tape import trace

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

SHAPES = [(64, 33), (5000,), (), (3, 8, 3, 3), (1 << 20,)]


def twins(name: str, **options: Any) -> tuple[Any, Any, list[Any], list[Any]]:
    """An optimizer of each kind over equal parameters on the GPU."""
    torch.manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(shape, device="cuda")) for shape in SHAPES]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    mine = getattr(thalweg.optim, name)(ours, engine="triton", **options)
    return mine, getattr(torch.optim, name)(theirs, **options), ours, theirs


def assert_same(ours: list[Any], theirs: list[Any], mine: Any, torchs: Any) -> None:
    for p, q in zip(ours, theirs, strict=True):
        found = {"p": p.detach(), **mine.state[p]}
        wanted = {"p": q.detach(), **{key: torchs.state[q][key] for key in mine.state[p]}}
        cpu = [{key: x.cpu() for key, x in own.items()} for own in (found, wanted)]
        assert_agree(*cpu, TOLERANCE["float32"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", EVERY_RULE, ids=lambda r: r.name)
def test_every_rule_equals_its_formula(form: Rule, dtype: str) -> None:
    from thalweg.engines.triton import Launch

    theta, gradients = problem(dtype, 5000)
    program, hyper = trace(form), lively(form)
    state = {"theta": theta, "g": gradients[0], **start(form, theta, hyper)}
    arrays = {a: torch.tensor(state[a].astype(dtype), device="cuda") for a in program.arrays}
    launch = Launch(program, dtype, [theta.shape], np.array([0]))
    known = {**form.defaults, **hyper, "t": 0}
    known |= {s: form.initial(s, known) for s in form.scalars}
    launch.write(0, np.array([[known[name] for name in program.scalars]], np.float64))
    launch.pointers[0] = [a.data_ptr() for a in arrays.values()]
    for g in gradients:
        arrays["g"].copy_(torch.from_numpy(g))
        launch()
    scalars = dict(zip(program.scalars, launch.scalars[0].tolist(), strict=True))
    found = {name: arrays[name].cpu() if name in arrays else scalars[name] for name in state}
    del found["g"]
    wide = [g.astype(np.float64) for g in gradients]
    expected = formula(form, theta.astype(np.float64), wide, hyper)
    assert_agree(found, expected, TOLERANCE[dtype])


@pytest.mark.parametrize("name", ["SGD", "Adam", "NAdam", "ASGD", "Adagrad"])
def test_an_optimizer_steps_as_torch(name: str) -> None:
    mine, torchs, ours, theirs = twins(name, lr=0.01)
    for step in range(5):
        for group in (*mine.param_groups, *torchs.param_groups):
            group["lr"] = 0.01 * (1 + step)
        for p, q in zip(ours, theirs, strict=True):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        mine.step()
        torchs.step()
    assert_same(ours, theirs, mine, torchs)


def test_a_step_waits_for_nothing() -> None:
    mine, _, ours, _ = twins("Adam", lr=0.01)
    for p in ours:
        p.grad = torch.randn_like(p)
    mine.step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(3):
            mine.param_groups[0]["lr"] = 0.1 / (step + 1)
            for p in ours:
                p.grad = torch.randn_like(p)
            mine.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_step_can_be_captured_and_its_learning_rate_changed() -> None:
    lr = torch.tensor(0.01, device="cuda")
    mine, torchs, ours, theirs = twins("Adam", lr=lr, capturable=True)
    for p, q in zip(ours, theirs, strict=True):
        p.grad, q.grad = torch.zeros_like(p), torch.zeros_like(q)
    for optimizer in (mine, torchs):
        optimizer.step()  # state begins and kernels are compiled outside of the graph
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        mine.step()
    for step in range(4):
        lr.fill_(0.01 * (step + 1))
        for p, q in zip(ours, theirs, strict=True):
            p.grad.copy_(torch.randn_like(p))
            q.grad.copy_(p.grad)
        graph.replay()
        torchs.step()
    assert_same(ours, theirs, mine, torchs)
