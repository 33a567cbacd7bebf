"""Where runs train: what may be asked for, and that every device trains as the processor does.

No GPU is needed: the GPU's engine is interpreted, on the processor's tensors and on those of a
device that is none (`pretended.py`). test_gpu.py has what a real one must show.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils import backend_registration

import device_cells as cells
import thalweg as tw
from executed import complete
from thalweg.cli import main
from thalweg.errors import ThalwegError, UsageError
from thalweg.racing import run, start
from thalweg.racing.execution_plan import _read
from thalweg.tasks import find
from thalweg.training import devices, lane_rng, memory, rng
from thalweg.training.context import TrainingContext
from thalweg.training.execution import plan as planning
from thalweg.training.execution import ray as on_ray
from thalweg.training.execution import recovery
from thalweg.training.execution.plan import ExecutionPlan, choose
from thalweg.training.execution.ray import Cluster
from thalweg.training.runs import Recipe, Regime, Run, method
from triton_cells import Interpreted

GPU = torch.device("cuda", 0)
REGIME = Regime(epochs=1, batch_size=32, evaluations=2)

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
needs_pretence = pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason=f"torch {torch.__version__} has no devices written in Python",
)
needs_none = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.fixture(scope="module")
def interpreted() -> Iterator[Interpreted]:
    """Calls a function in the process that interprets; what it raises is raised here."""
    with ProcessPoolExecutor(1, get_context("spawn"), cells.pretending) as pool:
        yield lambda function, *args: pool.submit(function, *args).result(timeout=300)


# Training.


@needs_triton
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sessions_on_both_engines_train_alike(interpreted: Interpreted, dtype: str) -> None:
    interpreted(cells.the_engines_train_alike, dtype)


@needs_triton
@needs_pretence
@pytest.mark.parametrize("lanes", [1, 8])
def test_a_device_trains_as_the_processor(interpreted: Interpreted, lanes: int) -> None:
    interpreted(cells.a_device_trains_as_the_processor, lanes)


@needs_triton
@needs_pretence
def test_a_step_of_ones_own_and_what_is_not_trained(interpreted: Interpreted) -> None:
    interpreted(cells.a_step_of_ones_own_and_what_is_not_trained)


@needs_triton
@needs_pretence
def test_random_search_draws_the_same_numbers_everywhere(interpreted: Interpreted) -> None:
    interpreted(cells.random_search_draws_the_same_numbers)


@needs_triton
@needs_pretence
def test_nothing_waits_for_the_device_between_measurements(interpreted: Interpreted) -> None:
    interpreted(cells.nothing_waits_between_measurements)


@needs_triton
@needs_pretence
def test_the_pretended_device_refuses_what_is_elsewhere(interpreted: Interpreted) -> None:
    interpreted(cells.a_misplaced_tensor_is_found)


@needs_triton
@needs_pretence
def test_a_race_on_a_device_finds_what_it_finds_on_the_processor(
    interpreted: Interpreted, tmp_path: Path
) -> None:
    interpreted(cells.a_race_on_a_device_finds_what_it_finds_on_the_processor, str(tmp_path))


def test_a_lane_of_a_gpu_draws_from_its_own_state_of_both_generators(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs = torch.Generator()  # stands for the GPU's
    monkeypatch.setattr(
        lane_rng,
        "torch_generator",
        lambda purpose, seed, device: rng.torch_generator(purpose, seed),
    )
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: theirs.get_state())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: theirs.set_state(state))
    mine, outer = lane_rng.Draws([1, 2], GPU), theirs.get_state()

    def drawn(lane: int, draws_: lane_rng.Draws) -> list[torch.Tensor]:
        before = draws_.states[lane]
        draws_.generators.become(before)
        found = [torch.rand(3), torch.rand(3, generator=theirs)]
        draws_.states[lane] = draws_.generators.state()
        return found

    both = [drawn(0, mine), drawn(1, mine), drawn(0, mine)]
    alone = lane_rng.Draws([2], GPU)
    assert all(map(torch.equal, both[1], drawn(0, alone)))
    assert not torch.equal(both[0][1], both[1][1])
    assert not torch.equal(both[0][1], both[2][1])  # a state goes on
    with mine.of(0, 2, training=True, stacked=True):
        torch.rand(3, generator=theirs)
        theirs.set_state(outer)
    assert torch.equal(theirs.get_state(), mine.generators.state()[1])


# What may be asked for.


def test_auto_is_the_processor_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for given in (None, "auto"):
        assert devices.parse_device(given) is None
    assert devices.candidates(None) == ([devices.CPU], "")
    assert (
        devices.parse_device("cpu") == devices.parse_device(torch.device("cpu", 0)) == devices.CPU
    )


@needs_none
@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("cuda", "cannot be used: torch sees no GPU here"),
        ("cuda:1", "cannot be used: torch sees no GPU here"),
        ("gpu", "is no device"),
        ("mps", "is not supported"),
        (7, "is not supported|is no device|cannot be used"),
    ],
)
def test_a_device_that_is_not_there_is_refused(given: Any, why: str) -> None:
    with pytest.raises(UsageError, match=f"^device='.*' ({why}).*; give cpu, the cuda"):
        tw.race("wine-mlp", device=given)


def test_a_gpu_beyond_those_there_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match=r"^device='cuda:3' cannot be used: there is 1, counted"):
        devices.parse_device("cuda:3")


@needs_none
def test_the_command_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["race", "wine-mlp", "--device", "cuda"]) == 2
    assert "device='cuda' cannot be used: torch sees no GPU here" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["race", "--help"])
    assert "--device auto|cpu|cuda|cuda:N" in capsys.readouterr().out


def test_on_a_cluster_the_gpus_asked_for_decide() -> None:
    assert Cluster(gpus=0.25).device.type == "cuda"
    assert Cluster().device == devices.CPU
    assert start._on_cluster(Cluster(gpus=1), "cuda").type == "cuda"
    with pytest.raises(UsageError, match=r"device='cuda', but every group asks .* for 0 GPUs"):
        start._on_cluster(Cluster(), "cuda")


@needs_none
def test_a_node_without_its_gpu_ends_the_race_and_fails_no_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = TrainingContext(find("wine-mlp"), REGIME, 2, device=torch.device("cuda"))
    monkeypatch.setattr(on_ray, "_known", {"freight": (context, [method("sgd")])})
    with pytest.raises(ThalwegError, match="a node cannot train on its GPU: torch sees no GPU"):
        on_ray._train([None, "freight"], [(0, {"lr": 0.1}, 0, Recipe(), None)], None)


# The choice.


def timed(monkeypatch: pytest.MonkeyPatch, gpu: Any) -> None:
    """A GPU seems to be there; what is measured on it is given."""
    monkeypatch.setattr(
        devices,
        "candidates",
        lambda device: ([devices.CPU, GPU] if device is None else [device], ""),
    )
    monkeypatch.setattr(devices, "release", lambda place: None)
    monkeypatch.setattr(planning, "models_that_fit", lambda *args: 6)

    def measure(
        task: Any, sample: Any, regime: Any, lanes: int, why: Any, place: Any = None
    ) -> Any:
        if place != GPU:
            return {(1, 1): 100.0, (6, 1): 40.0}
        if isinstance(gpu, Exception):
            raise gpu
        return gpu

    monkeypatch.setattr(planning, "measure", measure)


RUNS = [Run(method("adam"), {"lr": 0.01}, seed) for seed in range(6)]


def test_the_fastest_device_is_taken_and_the_other_told(monkeypatch: pytest.MonkeyPatch) -> None:
    task = find("wine-mlp")
    timed(monkeypatch, {(1, 2): 300.0, (6, 2): 5.0})
    way = choose(task, RUNS, REGIME)
    assert way == ExecutionPlan("lanes", 6, 1, 2, 5.0, 100.0, device="cuda:0")
    assert str(way) == (
        "up to 6 runs together as lanes of one stacked model, on cuda:0: 5 µs per run and step, "
        "20.0× as fast as one after the other; on cpu it took 40 µs"
    )
    timed(monkeypatch, {(1, 2): 300.0, (6, 2): 50.0})
    slower = choose(task, RUNS, REGIME)
    assert (slower.device, slower.why) == ("cpu", "on cuda:0 it took 50 µs")
    # One that is named is obeyed.
    assert choose(task, RUNS, REGIME, GPU).device == "cuda:0"
    assert choose(task, RUNS, REGIME, devices.CPU).why == ""


def test_a_model_that_fails_on_a_gpu_trains_on_the_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timed(monkeypatch, RuntimeError("Expected all tensors to be on the same device"))
    way = choose(find("wine-mlp"), RUNS, REGIME)
    assert way.device == "cpu"
    assert "not on cuda:0, because the model fails there: " in way.why
    assert "Expected all tensors to be on the same device" in way.why
    with pytest.raises(
        UsageError, match=r"^device='cuda:0': the model fails there: .*Expected all"
    ):
        choose(find("wine-mlp"), RUNS, REGIME, GPU)


# What a folder knows.


def test_a_way_of_before_there_were_devices_is_on_the_processor(tmp_path: Path) -> None:
    path = tmp_path / "way.json"
    path.write_text(json.dumps({"mode": "lanes", "lanes": 8, "fits": 9}), encoding="utf-8")
    assert _read(path) == ExecutionPlan("lanes", 8, device="cpu")


@needs_none
def test_a_race_that_began_on_a_gpu_does_not_go_on_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small: dict[str, Any] = {"optimizers": ["sgd"], "budget": 1, "seeds": 2, "epochs": 1}
    monkeypatch.setattr(run, "choose", lambda *args: ExecutionPlan("lanes", 8))
    tw.race("wine-mlp", out=tmp_path, **small)
    (file,) = (tmp_path / "execution").iterdir()
    known = json.loads(file.read_text(encoding="utf-8"))
    assert known["device"] == "cpu"
    file.write_text(json.dumps(known | {"device": "cuda:0"}), encoding="utf-8")
    with pytest.raises(UsageError, match=r"began on cuda:0, and that cannot be used here: torch"):
        tw.race("wine-mlp", out=tmp_path, **small)
    with pytest.raises(UsageError, match=r"device='cpu', but the race .* began on cuda:0"):
        tw.race("wine-mlp", out=tmp_path, device="cpu", **small)


# Memory, and what goes wrong.


def test_lanes_are_fitted_to_the_memory_of_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    task = find("wine-mlp")
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 << 20)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1 << 20)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (6 << 20, 80 << 30))
    assert memory.free(GPU) == 8 << 20
    monkeypatch.setattr(memory, "available", lambda: 8 << 20)
    assert memory.models_that_fit(task, device=GPU) == memory.models_that_fit(task) > 1
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (80 << 30, 80 << 30))
    assert memory.models_that_fit(task, device=GPU) > 128  # no bound but the memory


def failing(monkeypatch: pytest.MonkeyPatch, above: int, error: Exception) -> list[str]:
    """Training on a GPU that fails with more lanes than these; what was done, in order."""
    done: list[str] = []

    def finish(context: TrainingContext, own: Any) -> list[Any]:
        assert context.device == GPU
        done.append(f"train {context.lanes}")
        if context.lanes > above:
            raise error
        return [None] * len(own)

    monkeypatch.setattr(recovery, "train_group", finish)
    monkeypatch.setattr(recovery, "release", lambda device: done.append("release"))
    return done


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_out_of_memory_empties_the_cache_and_halves_the_lanes(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    done = failing(monkeypatch, 2, error)
    with pytest.warns(RuntimeWarning, match="at once from here on"):
        complete(find("wine-mlp"), RUNS, REGIME, 8, device=GPU)
    assert done == ["train 6", "release", "train 3", "release", "train 1"]


def test_a_device_that_broke_is_told_and_counts_against_no_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = failing(monkeypatch, 0, RuntimeError("CUDA error: device-side assert triggered"))
    with pytest.raises(ThalwegError, match=r"cuda:0 is in an unrecoverable state: .*assert"):
        complete(find("wine-mlp"), RUNS, REGIME, 8, device=GPU)
    assert done == ["train 6"]
