"""What all runs of a race have in common while they train."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..tasks import Task
from .devices import CPU
from .runs import Regime, Run
from .train import Session, StepCounter


def count_nothing(run_steps: int) -> None:
    """Ignore the number of run-steps that were done."""


@dataclass(frozen=True)
class RecordFolder:
    """Where other machines write the records of the groups that they finish.

    Attributes:
        path: the folder, under the same path on every machine.
        entry: gives the identity of a run, and what its record holds beside its result.
    """

    path: Path
    entry: Callable[[Run], tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True, eq=False)
class TrainingContext:
    """The task, the regime and the resources that groups of runs have in common.

    Attributes:
        task: what is trained.
        regime: how long, and on which mini-batches.
        lanes: runs that may train together as lanes of one stacked model.
        threads: of torch's, that a group may use.
        device: where a group trains.
        test: whether the test set is measured too.
        progress: called with the number of run-steps that were done or are not needed any more;
            with a negative number where they have to be done again.
        records: where executors on other machines write records; None to send results back.
    """

    task: Task
    regime: Regime
    lanes: int = 1
    threads: int = 1
    device: torch.device = CPU
    test: bool = False
    progress: StepCounter = count_nothing
    records: RecordFolder | None = None

    def session(self, runs: Sequence[Run]) -> Session:
        """The training of these runs as lanes of one stacked model, before its first step."""
        return Session(self.task, runs, self.regime, test=self.test, device=self.device)

    def milestones(self, run: Run) -> list[int]:
        """The steps after which a run is measured."""
        return self.regime.under(run.recipe).milestones(self.task.samples)

    def steps(self, runs: Sequence[Run]) -> int:
        """The run-steps of all these runs from start to end."""
        samples = self.task.samples
        return sum(self.regime.under(run.recipe).steps(samples) for run in runs)
