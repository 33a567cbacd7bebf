"""Several metrics: the first judges, the others are measured, kept, shown and handed on."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import thalweg as tw
from executed import train
from thalweg.cli import main
from thalweg.errors import UsageError
from thalweg.racing import Race, statistics
from thalweg.racing.outcome import Outcome, others
from thalweg.records import MetricCurves, RunRecord, Store, json_safe
from thalweg.report import also, export, folders, html, markdown, terminal
from thalweg.tasks import Metric, Task, examine
from thalweg.training import rng
from thalweg.training.population import Population
from thalweg.training.runs import Regime, Run, method

X = np.random.default_rng(0).normal(size=(120, 4)).astype(np.float32)
Y = np.argmax(X[:, :3] + 0.3 * X[:, 1:], axis=1)


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def confidence(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean probability of the right class."""
    return outputs.softmax(1).gather(1, targets.unsqueeze(1)).mean()


def doubled(outputs: Tensor, targets: Tensor) -> Tensor:
    return 2 * confidence(outputs, targets)


def miss(outputs: Tensor, targets: Tensor) -> Tensor:
    return 1 - confidence(outputs, targets)


MISS = Metric("miss <rate>", False, miss, margin=0.0)
ALL = ["accuracy", confidence, MISS]


def task(metrics: Any = ALL, **more: Any) -> Task:
    return Task(name="bugs", model=model, train=(X, Y), metrics=metrics, **more)


# What may be given.


def test_the_first_judges_and_the_others_are_measured() -> None:
    made = task()
    assert [m.name for m in made.measured] == ["accuracy", "confidence", "miss <rate>"]
    assert made.metric is made.measured[0]
    assert made.also == made.measured[1:]
    assert "also measured  confidence, miss <rate>" in made.describe()
    assert any(note.startswith("metric confidence: higher is taken") for note in made.notes)
    copied = replace(made, name="other")
    assert (copied.metric, copied.also, copied.notes) == (made.metric, made.also, made.notes)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"metrics": ["accuracy", "accuracy"]}, "metrics has two of the name 'accuracy'"),
        ({"metrics": [confidence, Metric("confidence", True, miss, 0.0)]}, "two of the name"),
        ({"metrics": []}, "metrics=[] must name one at least"),
        ({"metrics": ["accuracy"], "metric": "loss"}, "metric and metrics are both given"),
        ({"metrics": ["accuracy", Metric("metric", True, miss, 0.0)]}, "'metric', which is taken"),
        ({"metrics": ["accuracy", Metric("loss", True, miss, 0.0)]}, "'loss', which is taken"),
        ({"metrics": ["accuracy", "confidnce"]}, "no metric (of task 'bugs')"),
        ({"metrics": ["accuracy", 3]}, "metric=3 is no Metric"),
    ],
)
def test_metrics_that_cannot_be_told_apart_are_refused(given: Any, message: str) -> None:
    with pytest.raises(UsageError) as error:
        task(**given)
    assert message in str(error.value)


def test_every_metric_is_tried_before_the_race() -> None:
    def wide(outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.mean(1)

    with pytest.raises(UsageError, match="validation metric wide must be a scalar tensor"):
        examine(task(["accuracy", wide]))


def test_the_fingerprint_covers_all_metrics_and_one_in_a_list_is_one() -> None:
    one = Task(name="bugs", model=model, train=(X, Y), metric="accuracy")
    assert task("accuracy").fingerprint == task(["accuracy"]).fingerprint == one.fingerprint
    found = [one, task(), task(ALL[:2]), task([ALL[0], ALL[2], ALL[1]]), task([MISS, *ALL[:2]])]
    found.append(task(["accuracy", Metric("confidence", True, doubled, 0.0), MISS]))
    found.append(task(["accuracy", Metric("confidence", False, confidence, 0.0), MISS]))
    assert len({each.fingerprint for each in found}) == len(found)
    assert task().fingerprint == task().fingerprint


# What is measured.


def _brute(own: Task, seed: int, metric: Metric) -> float:
    """One model on the whole validation set, without lanes."""
    torch.manual_seed(rng.key(rng.Purpose.WEIGHTS, seed))
    built = own.model().eval()
    x, y = own.validation
    with torch.no_grad():
        return float((metric.function if metric.name != "loss" else own.loss)(built(x), y))


@pytest.mark.parametrize("seeds", [[5], [5, 6, 7]])
@pytest.mark.parametrize("metrics", [ALL, ["loss", *ALL], [*ALL, "loss"]])
def test_lanes_measure_what_one_model_has(metrics: list[Any], seeds: list[int]) -> None:
    own = task(metrics)
    loss, *found = Population(own, seeds).evaluate(own.validation)
    assert len(found) == len(metrics)
    for k, seed in enumerate(seeds):
        for metric, values in zip(own.measured, found, strict=True):
            assert float(values[k]) == pytest.approx(_brute(own, seed, metric), rel=1e-5)
            if metric.name == "loss":
                assert torch.equal(values, loss)


def test_a_task_with_a_step_measures_them_too() -> None:
    def step(built: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return 3 * nn.functional.cross_entropy(built(batch[0]), batch[1])

    own = task(["loss", confidence], step=step)
    assert not own.judged_by_loss
    loss, judged, sure = Population(own, [1, 2]).evaluate(own.validation)
    assert torch.equal(loss, judged)
    assert float(sure[1]) == pytest.approx(_brute(own, 2, own.also[0]), rel=1e-5)


def test_a_run_keeps_their_curves_and_is_otherwise_the_same() -> None:
    runs = [Run(method("adam"), {"lr": rate}, 3) for rate in (0.01, 0.1)]
    regime = Regime(3, 24, evaluations=5)
    several, one = (train(task(m), runs, regime, test=True) for m in (ALL, "accuracy"))
    for more, less in zip(several, one, strict=True):
        kept = more.to_dict()
        also = kept.pop("also")
        assert json_safe(kept) == json_safe(less.to_dict())
        assert list(also) == ["confidence", "miss <rate>"]
        assert all(len(parts["validation"]) == len(more.steps) for parts in also.values())
        assert all(len(parts["test"]) == 2 for parts in also.values())
        for part in ("validation", "test"):  # one is the other's complement
            sums = np.add(also["confidence"][part], also["miss <rate>"][part])
            assert sums == pytest.approx(np.ones_like(sums), abs=1e-6)


def _outcome(curve: list[float | None], diverged: bool = False) -> Outcome:
    own = MetricCurves(validation=[0.0], test=curve)
    record = RunRecord(
        steps=[0],
        train_loss=[1.0],
        validation_loss=[1.0],
        validation_metric=[0.5],
        also=dict.fromkeys(("confidence", "miss <rate>"), own),
    )
    return Outcome(record, 0.0, 0.0, 0.0, diverged)


def test_a_run_that_diverged_has_the_worst_value_of_the_others() -> None:
    runs = [_outcome([0.3, 0.9]), _outcome([0.4, 5.0], diverged=True), _outcome([0.35, None])]
    found = others(task(), runs, "test")
    assert found == {"confidence": [0.9, 0.3, 0.3], "miss <rate>": [0.9, 0.9, 0.9]}
    nothing = others(task(), [_outcome([None, math.nan])], "test")
    assert nothing == {"confidence": [None], "miss <rate>": [None]}


# A race, from its records to what is drawn of it.

OPTIONS: dict[str, Any] = {
    "optimizers": ["adam", "sgd"],
    "budget": 4,
    "seeds": 4,
    "epochs": 3,
    "progress": False,
}


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Race, Path]:
    out = tmp_path_factory.mktemp("several") / "race"
    return tw.race(model, X, Y, metrics=ALL, out=out, **OPTIONS), out


def _finals(race: Race, name: str) -> list[Mapping[str, Any]]:
    ids = race.document["record_ids"]
    records = (race.records[i] for i in ids)
    return [r for r in records if (r["run"]["optimizer"], r["run"]["stage"]) == (name, "final")]


def test_a_race_is_judged_by_the_first_alone(raced: tuple[Race, Path]) -> None:
    one = tw.race(model, X, Y, metrics="accuracy", **OPTIONS)
    assert not any(r.also or r.run.also for r in one.runs.values())
    assert not one.document["setting"]["also"]
    for few, many in zip(one.optimizers, raced[0].optimizers, strict=True):
        assert not few["also"]
        for key in ("name", "rank", "learning_rate", "test", "by_seed", "versus_best"):
            assert few[key] == many[key]
    without = [
        {k: v for k, v in r.items() if k not in ("also", "run")} for r in raced[0].records.values()
    ]
    with_one = [
        {k: v for k, v in r.items() if k not in ("also", "run")} for r in one.records.values()
    ]
    assert without == with_one


def test_the_document_has_intervals_and_curves_of_the_others(raced: tuple[Race, Path]) -> None:
    race, out = raced
    assert json.loads((out / "race.json").read_text()) == race.document
    assert race.document["setting"]["also"] == [
        {"name": "confidence", "higher_is_better": True},
        {"name": "miss <rate>", "higher_is_better": False},
    ]
    for entry in race.optimizers:
        finals = _finals(race, entry["name"])
        for name in ("confidence", "miss <rate>"):
            for part in ("validation", "test"):
                ends = [r["also"][name][part][-1] for r in finals]
                assert len(ends) == 4
                assert entry["also"][name][part] == statistics.interval(ends)._asdict()
            course = entry["curve"]["also"][name]["mean"]
            first = fmean(r["also"][name]["validation"][0] for r in finals)
            assert course[0] == pytest.approx(first)
            assert len(course) == len(entry["curve"]["steps"])


def test_the_frame_and_the_exports_have_their_columns(raced: tuple[Race, Path]) -> None:
    race, out = raced
    pytest.importorskip("pandas")
    frame = race.to_frame()
    rows = frame.set_index("run")
    for identity, record in race.records.items():
        for name, parts in record["also"].items():
            assert rows.loc[identity, f"validation_{name}"] == parts["validation"][-1]
            if parts["test"]:
                assert rows.loc[identity, f"test_{name}"] == parts["test"][-1]
            else:
                assert math.isnan(rows.loc[identity, f"test_{name}"])
    place = export.export(folders.read(out).races, "csv", out.with_name("runs.csv"))
    with place.open(newline="") as file:
        read = list(csv.DictReader(file))
    assert list(read[0]) == list(frame.columns)
    assert [float(r["validation_confidence"]) for r in read] == list(frame["validation_confidence"])


def test_tensorboard_takes_their_curves(raced: tuple[Race, Path]) -> None:
    race, out = raced
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    place = export.export(folders.read(out).races, "tensorboard", out.with_name("board"))
    for identity, record in race.records.items():
        (events,) = place.rglob(f"*-{identity[:8]}")
        found = EventAccumulator(str(events)).Reload().Scalars("validation_confidence")
        want = list(zip(record["steps"], record["also"]["confidence"]["validation"], strict=True))
        assert [(e.step, pytest.approx(e.value, rel=1e-6)) for e in found] == want


def test_mlflow_takes_their_curves(raced: tuple[Race, Path]) -> None:
    race, out = raced
    mlflow = pytest.importorskip("mlflow")
    place = export.export(folders.read(out).races, "mlflow", out.with_name("mlflow.db"))
    client = mlflow.MlflowClient(f"sqlite:///{place}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "model"]
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    assert len(runs) == len(race.records)
    for run in runs:
        also = race.records[run.data.tags["thalweg.run"]]["also"]
        own = run.data.metrics
        assert own["validation_confidence"] == also["confidence"]["validation"][-1]
        assert own["validation_miss -rate-"] == also["miss <rate>"]["validation"][-1]


def test_exports_of_races_with_other_metrics_have_all_columns(
    raced: tuple[Race, Path], tmp_path: Path
) -> None:
    tw.race(model, X, Y, metrics="accuracy", out=tmp_path / "one", **OPTIONS)
    both = [*folders.read(tmp_path / "one").races, *folders.read(raced[1]).races]
    table = export.table(both)
    assert len({tuple(row) for row in table}) == 1
    assert list(table[0])[-3:] == ["diverged_at", "stopped_at", "stopped_why"]
    assert table[0]["validation_confidence"] is None
    assert table[-1]["test_confidence"] is not None


def test_the_page_and_the_markdown_show_them(
    raced: tuple[Race, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    race, out = raced
    page = html.render(race.document, race.records)
    assert "<h2>Also measured</h2>" in page
    assert "test miss &lt;rate&gt;<small>lower is better</small>" in page
    assert 'value="also-0"><span>validation confidence</span>' in page
    assert 'value="also-1"><span>validation miss &lt;rate&gt;</span>' in page
    words = markdown.summary(race.result)
    assert "| optimizer | test confidence | test miss \\<rate\\> |" in words
    for entry in race.optimizers:
        test = entry["also"]["confidence"]["test"]
        (shown,) = (cells[0] for name, cells in also.table(race.result) if name == entry["name"])
        mean, half = map(float, shown.split(" ± "))
        assert mean == pytest.approx(test["mean"], abs=1e-2)
        assert half == pytest.approx((test["high"] - test["low"]) / 2, abs=1e-2)
        assert shown in page
        assert shown in words
    assert main(["report", str(out), "--markdown"]) == 0
    assert capsys.readouterr().out == words
    run = json.loads(page.split('id="runs">')[1].split("</script>")[0])
    assert len(run["list"]) == len(race.records)
    for shown_run, identity in zip(run["list"], race.document["record_ids"], strict=True):
        curve = race.records[identity]["also"]["confidence"]["validation"]
        assert shown_run["also-0"] == pytest.approx(curve, rel=1e-3)


def test_the_terminal_shows_them(raced: tuple[Race, Path]) -> None:
    race = raced[0]
    lines = terminal.table(race.result).splitlines()
    start = next(k for k, line in enumerate(lines) if line.strip().startswith("also measured"))
    for name, cells in also.table(race.result):
        (line,) = [line for line in lines[start:] if line.split()[:1] == [name]]
        assert all(cell in line for cell in cells)
    assert "miss <rate>" in "\n".join(lines)


def test_a_page_without_others_says_nothing_of_them() -> None:
    one = tw.race(model, X, Y, metrics="accuracy", **OPTIONS)
    page = html.render(one.document, one.records)
    assert "Also measured" not in page
    assert 'value="also-' not in page
    assert "Also measured" not in markdown.summary(one.result)
    assert "also measured" not in terminal.table(one.result)
    assert [c for c in one.to_frame() if c.startswith("validation")] == [
        "validation_loss",
        "validation_metric",
    ]


def _files(out: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (out / "records").glob("*.json")}


def test_a_race_that_was_broken_off_goes_on_and_is_drawn_meanwhile(
    raced: tuple[Race, Path], tmp_path: Path
) -> None:
    race, out = raced
    before, copy = _files(out), tmp_path / "race"
    store = Store(copy / "records")
    tuned = {i: r for i, r in race.records.items() if r["run"]["stage"] == "tuning"}
    store.add(tuned)  # as if broken off before the fresh seeds
    (found,) = folders.read(copy).races
    assert found.document.setting.also == race.result.setting.also
    page = html.render(found.document, found.records)
    assert 'value="also-0"' in page
    assert "<h2>Also measured</h2>" not in page  # nothing was tested yet
    for entry in found.document.optimizers:
        assert len(entry.curve.also["confidence"].mean) == len(entry.curve.steps)
    again = tw.race(model, X, Y, metrics=ALL, out=copy, **OPTIONS)
    assert dict(again.records) == dict(race.records)
    assert [e["also"] for e in again.optimizers] == [e["also"] for e in race.optimizers]
    tw.race(model, X, Y, metrics=ALL, out=out, **OPTIONS)
    assert _files(out) == before
