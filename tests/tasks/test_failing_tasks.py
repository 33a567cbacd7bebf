"""Models of a person's own that fail: what is said, and what befalls the race."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from executed import complete
from thalweg.errors import ThalwegError, UsageError
from thalweg.tasks import Task, examine
from thalweg.training.runs import Regime, Run, method

pytestmark = pytest.mark.usefixtures("one_thread")

X = np.random.default_rng(0).normal(size=(40, 3))
Y = np.arange(40) % 4
REGIME = Regime(epochs=1, batch_size=10, evaluations=2)


def model() -> nn.Module:
    return nn.Linear(3, 4)


def task(train: Any = (X, Y), **more: Any) -> Task:
    return Task(**{"model": model, "train": train, "batch_size": 10, **more})


class Squeezing(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).squeeze()


class Raising(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        raise LookupError("nothing here")  # the line that is named


class Silent(nn.Linear):
    def forward(self, x: Tensor) -> Any:
        super().forward(x)


class Detached(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).detach()


def failing(kind: type[nn.Linear], outputs: int = 4) -> Callable[[], nn.Module]:
    return lambda: kind(3, outputs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": failing(Raising)}, "LookupError: nothing here"),
        ({"model": nn.Identity}, "no trainable parameter"),
        ({"model": failing(Detached)}, "does not depend on the model's parameters"),
        ({"model": lambda: 1 / 0}, "the model cannot be built"),
        ({"model": lambda: nn.Linear(5, 4)}, "fails on its first mini-batch, inputs float32 of"),
        ({"model": failing(Silent)}, "the model's forward() must return its outputs, not None"),
        ({"name": ""}, "give the task a name"),
        ({"train": (X, Y + 1)}, "targets run from 1 to 4, and classes count from 0"),
        ({"loss": lambda o, t: o.sum() * float("nan")}, "loss of the untrained model is nan"),
        ({"loss": lambda o, t: o}, "must be a scalar tensor of floating point, got float32 of"),
        ({"loss": lambda o, t: 3.0}, "must be a scalar tensor of floating point, got float"),
        (
            {
                "model": failing(Squeezing, 1),
                "train": (X, X[:, 0]),
                "loss": lambda o, t: (o - t).square().mean(),
                "metrics": "loss",
            },
            "must not change",
        ),
    ],
)
def test_a_model_that_cannot_work_is_refused_at_once(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        examine(task(**changes))
    assert message in str(error.value)


def test_the_message_names_the_persons_own_line() -> None:
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    number = next(k for k, line in enumerate(lines, 1) if line.endswith("# the line that is named"))
    with pytest.raises(UsageError, match=rf"{re.escape(__file__)}:{number}: LookupError"):
        examine(task(model=failing(Raising)))


def wrong() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 5), nn.Linear(4, 4))


def test_a_model_of_torchs_layers_alone_is_named_by_where_it_is_built() -> None:
    line = wrong.__code__.co_firstlineno
    with pytest.raises(UsageError, match=rf"{re.escape(__file__)}:{line}: RuntimeError"):
        examine(task(model=wrong))


def runs(count: int) -> list[Run]:
    return [Run(method("sgd"), {"lr": 0.1}, seed) for seed in range(count)]


class Greedy(nn.Linear):
    """Out of memory where more than two models train together."""

    def __init__(self) -> None:
        super().__init__(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        if torch._C._functorch.is_batchedtensor(x):
            value = torch._C._functorch.get_unwrapped(x)
            if len(value) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(x)


def test_out_of_memory_halves_the_lanes_and_goes_on() -> None:
    told: list[int] = []
    made = task(model=Greedy)
    with pytest.warns(RuntimeWarning, match="out of memory") as said:
        found = complete(made, runs(8), REGIME, 8, progress=told.append)
    assert [str(w.message).partition(";")[2].split()[0] for w in said] == ["4", "2"]
    expected = complete(task(), runs(8), REGIME, 8)
    for one, two in zip(found, expected, strict=True):
        assert one.validation_loss == pytest.approx(two.validation_loss, rel=1e-5)
    assert sum(told) == 8 * REGIME.steps(24)


def test_memory_that_does_not_suffice_for_one_run_is_said() -> None:
    class Huge(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            raise MemoryError

    with pytest.raises(ThalwegError, match="memory does not suffice for a single run"):
        complete(task(model=failing(Huge)), runs(1), REGIME, 1)


class Seeded(nn.Linear):
    """Raises in lanes, and alone where its first weight is positive."""

    def __init__(self) -> None:
        super().__init__(3, 4)
        self.bad = float(self.weight.detach()[0, 0]) > 0

    def forward(self, x: Tensor) -> Tensor:
        if torch._C._functorch.is_batchedtensor(x) or (self.bad and self.training):
            raise ValueError("bad luck")
        return super().forward(x)


def test_a_run_that_fails_counts_as_diverged_and_the_others_go_on() -> None:
    made = task(model=Seeded)
    with pytest.warns(RuntimeWarning, match=r"test_failing_tasks\.py:\d+: ValueError: bad luck"):
        found = complete(made, runs(8), REGIME, 8, test=True)
    plain = complete(task(), runs(8), REGIME, 1, test=True)
    lost = [result.diverged_at is not None for result in found]
    assert 0 < sum(lost) < 8
    for one, two, bad in zip(found, plain, lost, strict=True):
        if not bad:
            assert one.validation_loss == pytest.approx(two.validation_loss, rel=1e-5)
        assert len(one.test_loss) == len(two.test_loss)


FORKING = """
import os
import numpy as np
import thalweg as tw
from torch import nn

class Forking(nn.Linear):
    calls = 0
    def forward(self, x):
        Forking.calls += 1
        if Forking.calls == 5:
            os.fork()
        return super().forward(x)

if __name__ == "__main__":
    X = np.random.default_rng(0).normal(size=(40, 3))
    tw.race(lambda: Forking(3, 4), X, np.arange(40) % 4, optimizers=["sgd"], budget=1, seeds=1,
            epochs=1, batch_size=10, out="records")
    print("over", flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_model_that_forks_ends_the_race_once(tmp_path: Path) -> None:
    (tmp_path / "forking.py").write_text(FORKING, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "forking.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "over\n", done.stderr
