"""What runs on a GPU, where there is one: the engine against torch, races against the processor.

Without one, test_triton.py has the same kernels interpreted, test_triton_compile.py compiled, and
test_devices.py a device that is none to race on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import device_cells as cells
import thalweg
from executed import complete
from oracles import EVERY_RULE, TOLERANCE, assert_agree, formula, lively, problem, start
from thalweg.rules import Rule
from thalweg.tape import trace
from thalweg.tasks import Task, find
from thalweg.training import memory
from thalweg.training.execution.plan import ExecutionPlan, choose
from thalweg.training.runs import RANDOM_SEARCH, Regime, Run, method
from thalweg.training.train import Session

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
    from thalweg.engines.triton.launch import TritonLaunch

    theta, gradients = problem(dtype, 5000)
    program, hyper = trace(form), lively(form)
    state = {"theta": theta, "g": gradients[0], **start(form, theta, hyper)}
    arrays = {a: torch.tensor(state[a].astype(dtype), device="cuda") for a in program.arrays}
    launch = TritonLaunch(program, dtype, [theta.shape], np.array([0]))
    known = {**form.defaults, **hyper, "t": 0}
    known |= {s: form.initial(s, known) for s in form.scalars}
    launch.write(
        program.scalars[0], np.array([[known[name] for name in program.scalars]], np.float64)
    )
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


# Races.

RUNS = cells.runs()
REGIME = Regime(epochs=1, batch_size=32, evaluations=2)
GPU = torch.device("cuda", 0)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("lanes", [1, len(RUNS)])
def test_lanes_on_a_gpu_train_as_on_the_processor(lanes: int) -> None:
    own, stopped = RUNS[:lanes], (0, 4) if lanes > 4 else ()
    # What the model of the cells drops is drawn by each device from its own generator.
    make = cells.autoencoder
    found = cells.trained(own, stopped, make, device=GPU)
    cells.assert_same(found, cells.trained(own, stopped, make), rtol=1e-7)


def test_random_search_on_a_gpu_draws_as_on_the_processor() -> None:
    own = [Run(RANDOM_SEARCH, {"lr": 0.3}, seed) for seed in range(3)]
    found = cells.trained(own, (1,), cells.autoencoder, device=GPU)
    cells.assert_same(found, cells.trained(own, (1,), cells.autoencoder), rtol=1e-4)


@pytest.mark.usefixtures("double")
def test_batchnorm_and_dropout_are_each_lanes_own_on_a_gpu() -> None:
    def model() -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.Linear(5, 6, bias=False),
            torch.nn.BatchNorm1d(6),
            torch.nn.ReLU(),
            torch.nn.Dropout(0.3),
            torch.nn.Linear(6, 3),
        )

    data = cells.task()
    task = Task(model=model, train=data.train, batch_size=16)
    # Alone a model draws in another layout than in lanes, of which a GPU's generator knows.
    own = [Run(method("adam"), {"lr": 0.01}, seed) for seed in (0, 1, 0)]
    first, other, same = cells.trained(own, make=lambda: task, device=GPU)
    assert first.train_loss[1:] == pytest.approx(same.train_loss[1:], rel=1e-9)
    assert first.train_loss[1:] != pytest.approx(other.train_loss[1:], rel=1e-3)


def test_between_measurements_a_session_waits_for_nothing() -> None:
    session = Session(cells.autoencoder(), RUNS, cells.regime(), device=GPU)
    session.advance(2)  # kernels are compiled, and tables sent
    marks = cells.regime().milestones(len(session.task.train[0]))
    for step in range(3, session.steps + 1):
        torch.cuda.set_sync_debug_mode("default" if step in marks else "error")
        try:
            session.advance(step)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_a_race_on_a_gpu_says_what_it_says_on_the_processor(monkeypatch: Any) -> None:
    from thalweg.racing import run

    small: dict[str, Any] = {"optimizers": ["sgd", "adam", "lamb"], "budget": 3, "seeds": 4}
    found = {}
    for device in ("cpu", "cuda:0"):
        way = ExecutionPlan("lanes", 16, device=device)
        monkeypatch.setattr(run, "choose", lambda *args, way=way: way)
        found[device] = thalweg.race("wine-mlp", epochs=4, device=device, **small).document
    cpu, gpu = found["cpu"], found["cuda:0"]
    assert (gpu["setting"]["device"], gpu["setting"]["engine"]) == ("cuda:0", "triton")
    by_name = {own["name"]: own for own in cpu["optimizers"]}
    for own in gpu["optimizers"]:
        theirs = by_name[own["name"]]
        # Losses agree to rounding that training magnifies; one of 36 samples may change sides.
        assert own["test"]["mean"] == pytest.approx(theirs["test"]["mean"], abs=0.05)


def test_the_way_is_measured_on_both_and_one_is_taken() -> None:
    way = choose(find("wine-mlp"), [r for r in RUNS if r.recipe == RUNS[0].recipe], REGIME)
    assert way.device in ("cpu", "cuda:0")
    assert "it took" in way.why
    assert choose(find("wine-mlp"), RUNS[:3], REGIME, GPU).device == "cuda:0"


def test_out_of_memory_halves_the_lanes_and_goes_on() -> None:
    task = Task(
        model=lambda: torch.nn.Sequential(torch.nn.Linear(4, 1 << 20), torch.nn.Linear(1 << 20, 1)),
        train=(torch.randn(64, 4), torch.randn(64, 1)),
        batch_size=32,
    )
    own = [Run(method("adam"), {"lr": 1e-4}, seed) for seed in range(8)]
    # About 6 × 4 × 6 MB of parameters a lane, and as much again of activations.
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, (1 << 30) / total))
    try:
        with pytest.warns(RuntimeWarning, match="out of memory; [124] runs? at once from here on"):
            results = complete(task, own, Regime(1, 32, evaluations=1), 8, device=GPU)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert all(r.diverged_at is None for r in results)
    assert memory.models_that_fit(task, device=GPU) > 8
