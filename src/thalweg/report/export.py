"""Races for other tools: a table of runs, TensorBoard events, an Optuna study, an MLflow store."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from statistics import fmean
from typing import Any

from .. import frames
from ..atomic import replacing
from ..callbacks import Callback, MLflow, TensorBoard, tell
from ..errors import ThalwegError, UsageError, unknown
from ..extras import needed
from ..frames import Described, Row
from ..records import Value
from .folders import Found


def export(races: Sequence[Found], to: str, out: Path) -> Path:
    """Write races in the form of another tool.

    Args:
        races: one or more, from `folders.read`.
        to: csv, parquet, tensorboard, optuna or mlflow.
        out: the file or folder to make. Files of rows are replaced; what holds several runs is
            not added to, so it may not exist.

    Returns:
        `out`.

    Raises:
        UsageError: the form is unknown, or there is something at `out` already.
        ThalwegError: a library is missing, there are no runs, or nothing can be written.
    """
    if to not in FORMS:
        raise unknown("form", to, FORMS)
    if not any(_runs(race) for race in races):
        raise ThalwegError(
            "there are no records of runs that say what they are of; was the records folder "
            "deleted, or the race run by an older thalweg?"
        )
    if to not in ("csv", "parquet") and out.exists():
        raise UsageError(f"{out} exists already; delete it, or name another with --out")
    if out.exists() and not out.is_file():
        raise UsageError(f"{out} is no regular file; name one with --out")
    try:
        with replacing(out) as draft:
            FORMS[to](races, draft)
    except OSError as error:
        raise ThalwegError(f"cannot write {out}: {error.strerror or error}") from error
    return out


def table(races: Sequence[Found]) -> list[Row]:
    """The runs of all races as rows with the same columns."""
    found = [row for race in races for row in frames.rows(race.document, race.records)]
    params = dict.fromkeys(key for row in found for key in row if key.startswith("param_"))
    # Metrics that one race has and another has not come before what ends every row.
    others = dict.fromkeys(key for row in found for key in row if key not in params)
    order = sorted(others, key=lambda key: (key not in _HEAD, key in frames.ENDS))
    head = [key for key in order if key in _HEAD]
    return [{key: row.get(key) for key in (*head, *params, *order[len(head) :])} for row in found]


_HEAD = ("run", "task", "optimizer", "stage", "seed")


def _csv(races: Sequence[Found], out: Path) -> None:
    rows = table(races)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    out.write_text(text.getvalue(), encoding="utf-8", errors="replace", newline="")


def _parquet(races: Sequence[Found], out: Path) -> None:
    arrow, parquet = _library("pyarrow"), _library("pyarrow", ".parquet")
    rows = table(races)
    # A column that is empty in one race has the type that it has in others.
    columns = {
        name: arrow.array(
            [row[name] for row in rows], arrow.string() if name == "stopped_why" else None
        )
        for name in rows[0]
    }
    parquet.write_table(arrow.table(columns), out)


def _tensorboard(races: Sequence[Found], out: Path) -> None:
    _tell(races, TensorBoard(out))


def _tell(races: Sequence[Found], callback: Callback) -> None:
    """Tell a callback of all runs, as a race does while it goes on."""
    for race in races:
        for each in _runs(race):
            tell([callback], each.identity, each.record)


def _optuna(races: Sequence[Found], out: Path) -> None:
    optuna = _library("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _unsynchronised():
        storage = optuna.storages.RDBStorage(f"sqlite:///{out}")
        for race in races:
            trials: dict[str, dict[str, list[Described]]] = {}
            for each in _runs(race):
                if each.run.stage == "tuning":
                    own = trials.setdefault(each.run.optimizer, {})
                    own.setdefault(str(sorted(each.run.configuration.items())), []).append(each)
            for name, groups in trials.items():
                about = next(iter(groups.values()))[0].run
                study = optuna.create_study(
                    study_name=f"{about.task}/{name}",
                    storage=storage,
                    direction="maximize" if about.higher_is_better else "minimize",
                )
                ranges = _distributions(optuna, [g[0].run.configuration for g in groups.values()])
                study.add_trials([_trial(optuna, group, ranges) for group in groups.values()])
        storage.engine.dispose()


def _distributions(optuna: Any, tried: Sequence[Mapping[str, Value]]) -> dict[str, Any]:
    """The ranges that were tried, as an Optuna study knows them."""
    found = {}
    for key in dict.fromkeys(k for c in tried for k in c):
        values = sorted({c[key] for c in tried if key in c}, key=str)
        numbers = [float(v) for v in values if isinstance(v, int | float)]
        if len(numbers) == len(values):
            low, high = min(numbers), max(numbers)
            log = low > 0 and high / low > 10
            found[key] = optuna.distributions.FloatDistribution(low, high, log=log)
        else:
            found[key] = optuna.distributions.CategoricalDistribution(values)
    return found


def _trial(optuna: Any, runs: Sequence[Described], ranges: Mapping[str, Any]) -> Any:
    """A configuration with the mean over its seeds: complete, pruned, or failed if one diverged."""
    configuration, states = runs[0].run.configuration, optuna.trial.TrialState
    records = [each.record for each in runs]
    steps = min((r.steps for r in records), key=len)
    columns = {step: [r.validation_metric[k] for r in records] for k, step in enumerate(steps)}
    known = {step: [v for v in own if v is not None] for step, own in columns.items()}
    means = {step: fmean(own) for step, own in known.items() if len(own) == len(records)}
    lost = any(r.diverged_at is not None for r in records) or steps[-1] not in means
    stopped = records[0].stopped_at is not None
    state = states.FAIL if lost else states.PRUNED if stopped else states.COMPLETE
    return optuna.trial.create_trial(
        state=state,
        value=None if lost else means[steps[-1]],
        params={k: float(v) if isinstance(v, int | float) else v for k, v in configuration.items()},
        distributions={key: ranges[key] for key in configuration},
        intermediate_values=means,
        user_attrs={"seeds": [each.run.seed for each in runs]},
    )


@contextmanager
def _unsynchronised() -> Iterator[None]:
    """Let SQLite not wait for the disk after every row: the file counts when it is whole."""
    import sqlalchemy

    def hurry(connection: Any, record: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", hurry)
    try:
        yield
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "connect", hurry)


def _mlflow(races: Sequence[Found], out: Path) -> None:
    _library("sqlalchemy")
    with _unsynchronised():
        _tell(races, MLflow(f"sqlite:///{out}", out.resolve().with_name("mlflow-artifacts")))


FORMS: dict[str, Callable[[Sequence[Found], Path], None]] = {
    "csv": _csv,
    "parquet": _parquet,
    "tensorboard": _tensorboard,
    "optuna": _optuna,
    "mlflow": _mlflow,
}
DEFAULTS = {
    "csv": "runs.csv",
    "parquet": "runs.parquet",
    "tensorboard": "tensorboard",
    "optuna": "optuna.db",
    "mlflow": "mlflow.db",
}


def _runs(race: Found) -> list[Described]:
    return frames.runs(race.document, race.records)


def _library(name: str, part: str = "") -> Any:
    with needed("this export"):
        return import_module(name + part)
