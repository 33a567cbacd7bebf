"""What the process of test_devices.py does, in which Triton interprets its kernels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from triton_cells import interpreting

CURVES = (
    "train_loss",
    "validation_loss",
    "validation_metric",
    "test_loss",
    "test_metric",
    "gradient_norm",
    "update_ratio",
    "effective_lr",
)


def double() -> None:
    """Everything new is float64, so that a difference is none of rounding."""
    import torch

    torch.set_default_dtype(torch.float64)


def pretending() -> None:
    """Before anything is trained: autograd counts the devices when it is first asked."""
    from torch.utils import backend_registration

    interpreting()
    if hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
        import pretended

        pretended.install()


def model() -> Any:
    from torch import nn

    # The gradient of a bias in front of BatchNorm would be nothing but rounding, which LAMB scales.
    front = nn.Linear(5, 6, bias=False)
    return nn.Sequential(front, nn.BatchNorm1d(6), nn.ReLU(), dropping(), nn.Linear(6, 3))


def dropping() -> Any:
    """Dropout of which every device draws the same; torch's own has a form for GPUs."""
    import torch
    from torch import nn

    class Dropping(nn.Module):
        def forward(self, x: Any) -> Any:
            return x * (torch.rand_like(x) > 0.3) / 0.7 if self.training else x

    return Dropping()


def task() -> Any:
    from thalweg.tasks import Task

    x = np.random.default_rng(0).normal(size=(80, 5))
    y = np.argmax(x[:, :3], axis=1)
    return Task(model=model, train=(x, y), metrics=["accuracy", "loss"], batch_size=16)


def autoencoder() -> Any:
    """A step of one's own, and what is not trained: a frozen layer and a buffer that all share."""
    import torch
    from torch import nn
    from torch.nn import functional

    from thalweg.tasks import Task

    class Autoencoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.outer = nn.Linear(5, 2), nn.Linear(2, 5)
            self.inner.requires_grad_(False)
            self.register_buffer("scale", torch.ones(5))

        def forward(self, x: Any) -> Any:
            return self.outer(self.inner(x)) * self.scale

    def step(model: Any, batch: Any) -> Any:
        return functional.mse_loss(model(batch[0]), batch[0])

    x = np.random.default_rng(0).normal(size=(80, 5))
    return Task(model=Autoencoder, train=(x, x), step=step, batch_size=16)


def regime() -> Any:
    from thalweg.training.runs import Regime

    return Regime(epochs=4, batch_size=16, evaluations=4)


def runs() -> list[Any]:
    """Rules with scalar slots, first states of their own and norms; recipes; one that is lost."""
    from thalweg.schedules import Schedule
    from thalweg.training.runs import Recipe, Run, method

    shrinking = Recipe(Schedule("cosine", 0.2), clip=0.5)
    return [
        *(Run(method("adam"), {"lr": 0.01}, seed) for seed in (0, 1)),
        *(Run(method("sgd"), {"lr": lr}, 1) for lr in (0.1, 1e30)),
        Run(method("nadam"), {"lr": 0.02, "weight_decay": 0.1}, 2),
        Run(method("lamb"), {"lr": 0.02}, 0),
        Run(method("momentum"), {"lr": 0.1}, 1, shrinking),
        Run(method("momentum"), {"lr": 0.05}, 0, Recipe(clip=0.1)),
    ]


def trained(
    own: list[Any], stopped: tuple[int, ...] = (), make: Any = task, **where: Any
) -> list[Any]:
    """The results of these runs, of which some are stopped at a quarter."""
    from thalweg.training.train import Session

    session = Session(make(), own, regime(), test=True, **where)
    session.advance(session.rung(0.25))
    if stopped:
        session.stop(dict.fromkeys(stopped, "behind"))
    session.advance()
    return session.results()


def assert_same(found: list[Any], wanted: list[Any], rtol: float) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert (one.steps, one.diverged_at, one.stopped_at) == (
            other.steps,
            other.diverged_at,
            other.stopped_at,
        )
        assert one.also.keys() == other.also.keys()
        if one.diverged_at is None:
            for name, own in one.also.items():
                for part, values in own.items():
                    np.testing.assert_allclose(values, other.also[name][part], rtol=rtol, atol=rtol)
        for name in CURVES:
            mine, theirs = np.array(getattr(one, name)), np.array(getattr(other, name))
            if one.diverged_at is not None:  # after that no number means anything
                sound = [k for k, step in enumerate(one.steps) if step < one.diverged_at]
                mine, theirs = mine[sound[: len(mine)]], theirs[sound[: len(theirs)]]
            np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=rtol, err_msg=name)


def the_engines_train_alike(dtype: str) -> None:
    import torch

    torch.set_default_dtype(getattr(torch, dtype))
    rtol = {"float64": 1e-9, "float32": 2e-4}[dtype]  # 20 steps of BatchNorm magnify rounding
    for own, stopped in ((runs(), (0, 4)), (runs()[:1], ())):
        found = trained(own, stopped, engine="triton")
        assert_same(found, trained(own, stopped, engine="numba"), rtol)


def a_device_trains_as_the_processor(lanes: int) -> None:
    from pretended import DEVICE

    double()
    own = runs()[:lanes]
    stopped = (0, 4) if lanes > 4 else ()
    wanted = trained(own, stopped)
    assert_same(trained(own, stopped, device=DEVICE), wanted, rtol=1e-9)
    assert any(r.diverged_at for r in wanted) == (lanes > 3)


def a_step_of_ones_own_and_what_is_not_trained() -> None:
    from pretended import DEVICE

    double()
    for own in (runs()[:3], runs()[:1]):
        wanted = trained(own, make=autoencoder)
        assert_same(trained(own, make=autoencoder, device=DEVICE), wanted, rtol=1e-9)


def random_search_draws_the_same_numbers() -> None:
    from pretended import DEVICE
    from thalweg.training.runs import RANDOM_SEARCH, Run

    double()
    own = [Run(RANDOM_SEARCH, {"lr": lr}, seed) for lr, seed in ((0.3, 0), (0.1, 1), (0.3, 2))]
    found = trained(own, (1,), device=DEVICE)
    assert_same(found, trained(own, (1,)), rtol=1e-9)
    assert len(set(found[0].validation_loss)) > 1


def nothing_waits_between_measurements() -> None:
    from pretended import DEVICE, waits
    from thalweg.training.train import Session

    double()
    session = Session(task(), runs(), regime(), device=DEVICE)
    marks = regime().milestones(len(session.task.train[0]))
    session.advance(1)  # which finds out whether the model draws
    for step in range(2, session.steps + 1):
        waits.clear()
        session.advance(step)
        # The lanes that were lost; the curves and what else was measured, on the test set too;
        # where a loss exploded, and in which lanes.
        assert len(waits) <= (8 if step in marks else 0), (step, waits)
    assert [d for d in session.diverged_at if d] == [2]


def a_misplaced_tensor_is_found() -> None:
    import pytest
    import torch

    from pretended import DEVICE

    with pytest.raises(RuntimeError, match=r"add: a tensor \(3,\) is on the processor"):
        torch.zeros(3, device=DEVICE) + torch.ones(3)


def a_race_on_a_device_finds_what_it_finds_on_the_processor(folder: str) -> None:
    import pytest
    import torch
    from torch import nn

    import thalweg as tw
    from pretended import DEVICE
    from thalweg.errors import UsageError
    from thalweg.racing import run
    from thalweg.tasks import Task
    from thalweg.training import devices, memory
    from thalweg.training.execution import plan

    double()
    x = np.random.default_rng(0).normal(size=(30, 3))
    line = Task(model=lambda: nn.Linear(3, 1), train=(x, x.sum(axis=1)), batch_size=6, epochs=1)
    small: dict[str, Any] = {"optimizers": ["sgd", "adam"], "budget": 2, "seeds": 3}
    wanted = tw.race(line, device="cpu", **small).document
    devices.parse_device = lambda given: None if given is None else torch.device(given)
    devices.why_unusable = lambda place: ""
    devices.synchronize = devices.release = lambda place: None  # type: ignore[attr-defined]
    memory.free = lambda place: 1 << 30
    # What is interpreted is fast alone; on a GPU lanes are.
    run.choose = lambda *args: replace(plan.choose(*args), mode="lanes", lanes=6)  # type: ignore[assignment]
    found = tw.race(line, device=str(DEVICE), out=folder, **small).document
    assert found["setting"]["executor"].startswith("up to 6 runs together as lanes")
    assert f"on {DEVICE}: " in found["setting"]["executor"]
    assert (found["setting"]["device"], found["setting"]["engine"]) == (str(DEVICE), DEVICE.type)
    assert found["verdict"]["best"] == wanted["verdict"]["best"]
    for one, other in zip(found["optimizers"], wanted["optimizers"], strict=True):
        assert one["configuration"] == other["configuration"]
        np.testing.assert_allclose(one["by_seed"]["test"], other["by_seed"]["test"], rtol=1e-9)
    again = tw.race(line, out=folder, **small).document
    assert again["setting"]["device"] == str(DEVICE)
    assert again["record_ids"] == found["record_ids"]
    with pytest.raises(UsageError, match=f"began on {DEVICE}, and its records must not mix"):
        tw.race(line, device="cpu", out=folder, **small)
