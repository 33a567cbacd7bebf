"""Models that raise after the first mini-batches: the error a person sees is the person's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from thalweg.errors import UsageError
from thalweg.racing import race, run
from thalweg.tasks import Task
from thalweg.training.execution.plan import ExecutionPlan

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:.*counts as diverged:RuntimeWarning"),
]


class Brittle(nn.Module):
    """Raises after so many training steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.layer, self.left = nn.Linear(4, 2), steps

    def forward(self, x: Tensor) -> Tensor:
        self.left -= self.training
        if self.left < 0:
            raise LookupError("no such row")
        return self.layer(x)


LINE = next(
    number
    for number, text in enumerate(Path(__file__).read_text("utf-8").splitlines(), start=1)
    if "raise LookupError" in text
)
OWN = re.escape(f"{__file__}:{LINE}: LookupError: no such row")


def brittle(steps: int) -> Task:
    inputs = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(60) % 2
    return Task("brittle", lambda: Brittle(steps), (inputs, targets), batch_size=8, epochs=4)


@pytest.mark.parametrize("mode", ["lanes", "one by one"])
def test_where_every_run_raises_the_error_is_the_models_own(
    mode: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(run, "choose", lambda *args: ExecutionPlan(mode, 8))
    for _ in range(2):  # the second time it is read from the records
        with pytest.raises(UsageError, match=rf"'brittle': every run of sgd fails: {OWN}"):
            race(brittle(3), optimizers=["sgd"], budget=4, seeds=2, out=tmp_path)


def test_a_model_that_raises_while_it_is_timed_is_an_error_of_its_own_too() -> None:
    with pytest.raises(
        UsageError, match=f"'brittle': the model fails within its first steps: {OWN}"
    ):
        race(brittle(2), optimizers=["sgd"], budget=2, seeds=2)


def test_a_record_says_why_its_run_failed(tmp_path: Path) -> None:
    class Half(Brittle):
        def __init__(self) -> None:
            super().__init__(3 if torch.rand(()) < 0.5 else 1_000)

    task = brittle(0)
    task = Task("half", Half, task.train, task.validation, task.test, batch_size=8, epochs=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "choose", lambda *args: ExecutionPlan("one by one"))
        found = race(task, optimizers=["sgd", "adam"], budget=2, seeds=8, out=tmp_path)
    failed = [r["failed"] for r in found.records.values() if r["failed"]]
    assert 0 < len(failed) < len(found.records)
    assert all(re.match(OWN, why) for why in failed)
    for r in found.records.values():
        assert bool(r["failed"]) == (r["validation_loss"][-1] is None)
