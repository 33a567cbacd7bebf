"""What is told of the runs of a race: a small protocol, and TensorBoard, MLflow, Weights & Biases.

A race calls its callbacks in the process that it was started in, whenever a group of runs that
trained together has finished: for each of the runs its start, its measurements, its end. Runs that
were recorded before the race began are not told again.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from . import frames
from .extras import needed
from .records import RaceDocument, RunInfo, RunRecord, folder_name


class Callback:
    """Is told of the runs of a race; all of its methods do nothing until they are overridden."""

    def run_started(self, identity: str, run: RunInfo) -> None:
        """A run is told of.

        Args:
            identity: names the run among all.
            run: what it is of: task, optimizer, configuration, seed, stage.
        """

    def measured(self, step: int, values: Mapping[str, float]) -> None:
        """The run was measured.

        Args:
            step: after which.
            values: the finite measurements, by curve: `train_loss`, `validation_loss`, …
        """

    def run_finished(self, record: RunRecord) -> None:
        """The run has come to its end.

        Args:
            record: all that it left behind.
        """

    def race_finished(self, document: RaceDocument) -> None:
        """The race is over.

        Args:
            document: what it found.
        """


def tell(callbacks: Iterable[Callback], identity: str, record: RunRecord) -> None:
    """Tell callbacks of a run from its start to its end.

    Args:
        callbacks: each is told of the whole run before the next one is.
        identity: of the run.
        record: what it left behind; one that does not say what it is of is passed over.
    """
    if record.run is None:
        return
    for callback in callbacks:
        callback.run_started(identity, record.run)
        for step, values in frames.measurements(record):
            callback.measured(step, values)
        callback.run_finished(record)


class TensorBoard(Callback):
    """Writes events that `tensorboard --logdir` shows: a folder per run, its curves and settings.

    Args:
        folder: for task/optimizer/run.

    Raises:
        MissingPackage: the extra `tensorboard` is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        with needed("TensorBoard"):
            import_module("tensorboard")
        self.folder = Path(folder)
        self.board = import_module("torch.utils.tensorboard")
        self.hparams = import_module("torch.utils.tensorboard.summary").hparams

    def run_started(self, identity: str, run: RunInfo) -> None:
        place = folder_name(run.task), folder_name(run.optimizer)
        name = f"{run.stage}-seed{run.seed}-{folder_name(identity[:8])}"
        self.run, self.last = run, dict[str, float]()
        self.events = self.board.SummaryWriter(str(self.folder.joinpath(*place, name)))

    def measured(self, step: int, values: Mapping[str, float]) -> None:
        for curve, value in values.items():
            self.events.add_scalar(curve, value, step)
        self.last |= values

    def run_finished(self, record: RunRecord) -> None:
        ends = {k: v for k, v in self.last.items() if k in ("validation_metric", "test_metric")}
        given = {key: _plain(value) for key, value in settings(self.run).items()}
        for part in self.hparams(given, ends):
            self.events.file_writer.add_summary(part)
        self.events.close()


class MLflow(Callback):
    """Writes runs into a store of MLflow's: an experiment per task, a run per run.

    Args:
        uri: of the store, as sqlite:///mlflow.db; the one that MLflow is set to by default.
        artifacts: the folder for files of new experiments; as the store has it by default.

    Raises:
        MissingPackage: the extra `mlflow` is not installed.
    """

    def __init__(self, uri: str | None = None, artifacts: Path | None = None) -> None:
        with needed("MLflow"):
            self.entities = import_module("mlflow.entities")
            client = import_module("mlflow").MlflowClient
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        self.artifacts = None if artifacts is None else artifacts.resolve().as_uri()
        self.experiments: dict[str, str] = {}
        with _quiet():
            self.client = client(uri)

    def run_started(self, identity: str, run: RunInfo) -> None:
        name = f"{run.optimizer}, {run.stage}, seed {run.seed}"
        self.metrics: list[Any] = []
        with _quiet():
            experiment = self._experiment(run.task)
            self.number = self.client.create_run(experiment, run_name=name).info.run_id
            self.client.log_batch(
                self.number,
                params=[self.entities.Param(k, str(v)) for k, v in settings(run).items()],
                tags=[self.entities.RunTag("thalweg.run", identity)],
            )

    def _experiment(self, task: str) -> str:
        if task not in self.experiments:
            known = self.client.get_experiment_by_name(task)
            self.experiments[task] = (
                self.client.create_experiment(task, artifact_location=self.artifacts)
                if known is None
                else known.experiment_id
            )
        return self.experiments[task]

    def measured(self, step: int, values: Mapping[str, float]) -> None:
        # MLflow has letters, digits and these signs in a name.
        self.metrics += [
            self.entities.Metric(re.sub(r"[^\w.\- :/]", "-", curve), value, 0, step)
            for curve, value in values.items()
        ]

    def run_finished(self, record: RunRecord) -> None:
        lost = record.diverged_at is not None
        with _quiet():
            for first in range(0, len(self.metrics), _MOST):
                part = self.metrics[first : first + _MOST]
                self.client.log_batch(self.number, metrics=part)
            self.client.set_terminated(self.number, "FAILED" if lost else "FINISHED")


_MOST = 1000  # metrics that MLflow takes at once


class WandB(Callback):
    """Logs runs to Weights & Biases: a run per run, grouped by task and optimizer.

    Args:
        project: their project.
        mode: online, offline or disabled; as W&B is set to by default.
        folder: for its files; as W&B is set to by default.

    Raises:
        MissingPackage: the extra `wandb` is not installed.
    """

    def __init__(
        self, project: str = "thalweg", mode: str | None = None, folder: str | Path | None = None
    ) -> None:
        with needed("Weights & Biases"):
            self.wandb = import_module("wandb")
        self.project, self.mode, self.folder = project, mode, folder

    def run_started(self, identity: str, run: RunInfo) -> None:
        self.open = self.wandb.init(
            project=self.project,
            mode=self.mode,
            dir=None if self.folder is None else str(self.folder),
            group=f"{run.task}/{run.optimizer}",
            job_type=run.stage,
            name=f"{run.optimizer}, {run.stage}, seed {run.seed}",
            config={"task": run.task, **settings(run), "thalweg.run": identity},
            reinit="create_new",
            settings=self.wandb.Settings(silent=True, console="off"),
        )

    def measured(self, step: int, values: Mapping[str, float]) -> None:
        self.open.log(dict(values), step=step)

    def run_finished(self, record: RunRecord) -> None:
        self.open.summary["diverged"] = record.diverged_at is not None
        self.open.finish()


def settings(run: RunInfo) -> dict[str, Any]:
    """What a run was made with, by name."""
    return {
        "optimizer": run.optimizer,
        "seed": run.seed,
        "stage": run.stage,
        **run.configuration,
    }


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)


def _quiet() -> warnings.catch_warnings[None]:
    """Leave out the warnings of MLflow and of its database layer about themselves."""
    return warnings.catch_warnings(action="ignore")
