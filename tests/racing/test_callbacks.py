"""What is told of a race while it goes on: TensorBoard, MLflow, Weights & Biases, one's own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import thalweg as tw
from thalweg.callbacks import Callback, MLflow, TensorBoard
from thalweg.errors import UsageError
from thalweg.racing import run
from thalweg.records import RaceDocument, RunInfo, RunRecord
from thalweg.training.execution.plan import ExecutionPlan

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL: dict[str, Any] = {"optimizers": ["adam", "sgd"], "budget": 2, "seeds": 2, "epochs": 1}


@pytest.fixture(autouse=True)
def lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Races of this file need not measure how to run."""
    monkeypatch.setattr(run, "choose", lambda *args: ExecutionPlan("lanes", 64))


class Noting(Callback):
    """Keeps all that it is told."""

    def __init__(self) -> None:
        self.runs: dict[str, tuple[RunInfo, dict[int, Mapping[str, float]], RunRecord]] = {}
        self.races: list[RaceDocument] = []
        self.open: tuple[str, RunInfo, dict[int, Mapping[str, float]]] | None = None

    def run_started(self, identity: str, run: RunInfo) -> None:
        assert self.open is None
        assert not self.races
        self.open = identity, run, {}

    def measured(self, step: int, values: Mapping[str, float]) -> None:
        assert self.open is not None
        self.open[2][step] = values

    def run_finished(self, record: RunRecord) -> None:
        assert self.open is not None
        identity, info, steps = self.open
        assert identity not in self.runs
        self.runs[identity], self.open = (info, steps, record), None

    def race_finished(self, document: RaceDocument) -> None:
        self.races.append(document)


def test_every_run_is_told_of_once_and_the_race_at_its_end() -> None:
    noting = Noting()
    found = tw.race("wine-mlp", callbacks=[noting], progress=False, **SMALL)
    assert noting.races == [found.result]
    assert set(noting.runs) == set(found.runs)
    for identity, (info, steps, record) in noting.runs.items():
        assert record == found.runs[identity]
        assert info == record.run
        assert list(steps) == record.steps
        for k, step in enumerate(record.steps):
            assert steps[step]["validation_loss"] == record.validation_loss[k]
        tested = [step for step, values in steps.items() if "test_metric" in values]
        ends = [record.steps[0], record.steps[-1]]
        assert tested == (ends if info.stage == "final" else [])


def test_runs_that_were_recorded_before_are_not_told_again(tmp_path: Path) -> None:
    first, second = Noting(), Noting()
    for noting in (first, second):
        tw.race("wine-mlp", out=tmp_path, callbacks=[noting], progress=False, **SMALL)
    assert first.runs
    assert not second.runs
    assert len(second.races) == 1


def test_what_does_not_become_a_number_is_left_out() -> None:
    noting = Noting()
    rates = {"adam": [0.01, 1e30], "sgd": [0.01, 1e30]}
    given = {"optimizers": ["adam", "sgd"], "learning_rates": rates, "seeds": 2}
    tw.race("quadratic", callbacks=[noting], progress=False, **given)
    lost = [steps for _, steps, record in noting.runs.values() if record.diverged_at is not None]
    assert lost
    values = [v for steps in lost for measured in steps.values() for v in measured.values()]
    assert all(isinstance(value, float) for value in values)


def test_tensorboard_has_the_curves_of_every_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    noting = Noting()
    board = TensorBoard(tmp_path / "board")
    tw.race("wine-mlp", callbacks=[board, noting], progress=False, **SMALL)
    places = sorted(path.parent for path in (tmp_path / "board").rglob("events.*"))
    assert len(places) == len(noting.runs)
    for identity, (info, _, record) in noting.runs.items():
        name = f"{info.stage}-seed{info.seed}-{identity[:8]}"
        events = EventAccumulator(str(tmp_path / "board" / info.task / info.optimizer / name))
        events.Reload()
        shown = [(event.step, event.value) for event in events.Scalars("validation_loss")]
        assert [step for step, _ in shown] == record.steps
        # Events hold float32.
        assert [v for _, v in shown] == pytest.approx(record.validation_loss, rel=1e-6)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of MLflow's database connections
def test_mlflow_has_a_run_for_every_run(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    noting, uri = Noting(), f"sqlite:///{tmp_path}/mlflow.db"
    given = {**SMALL, "budget": 1, "learning_rates": [0.01]}
    store = MLflow(uri, tmp_path / "artifacts")
    tw.race("wine-mlp", callbacks=[store, noting], progress=False, **given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own and of its database layer
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name("wine-mlp")
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id])
        assert {r.data.tags["thalweg.run"] for r in runs} == set(noting.runs)
        for one in runs:
            _, _, record = noting.runs[one.data.tags["thalweg.run"]]
            history = client.get_metric_history(one.info.run_id, "validation_loss")
            assert [m.step for m in history] == record.steps
            assert [m.value for m in history] == pytest.approx(record.validation_loss)
            assert one.data.params["lr"] == "0.01"
            assert one.info.status == "FINISHED"


def test_weights_and_biases_has_a_folder_for_every_run_offline(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    program = """
        import sys
        import thalweg as tw
        from thalweg.callbacks import WandB
        from thalweg.racing import run
        from thalweg.training.execution.plan import ExecutionPlan

        run.choose = lambda *args: ExecutionPlan("lanes", 64)
        board = WandB(mode="offline", folder=sys.argv[1])
        found = tw.race("wine-mlp", optimizers=["sgd"], learning_rates=[0.01], seeds=1, epochs=1,
                        callbacks=[board], progress=False)
        print(len(found.runs))
    """
    # Its service leaves processes and threads behind, so it has a process of its own.
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    folders = list((tmp_path / "wandb").glob("offline-run-*"))
    assert len(folders) == int(done.stdout.split()[-1]) == 3
    assert all(list(folder.glob("*.wandb")) for folder in folders)


def test_what_is_no_callback_is_refused() -> None:
    for given in ("tensorboard", [print], [TensorBoard], 3):
        with pytest.raises(UsageError, match="must be a list of callbacks"):
            tw.race("wine-mlp", callbacks=given)


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_missing_package_names_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [m for m in sys.modules if m.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    kind = {"tensorboard": "TensorBoard", "mlflow": "MLflow", "wandb": "WandB"}[name]
    with pytest.raises(UsageError, match=rf"pip install 'thalweg\[{name}\]'"):
        getattr(tw.callbacks, kind)(*(["runs"] if name == "tensorboard" else []))
