"""A finished race in a person's hands: shown, saved, reported, plotted."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import rich.console

import thalweg as tw
from executed import watch_races
from thalweg.errors import UsageError
from thalweg.racing import run
from thalweg.racing.progress import Progress
from thalweg.records import read_race, to_plain
from thalweg.training.execution.plan import ExecutionPlan

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL: dict[str, Any] = {"optimizers": ["adam", "sgd"], "budget": 3, "seeds": 6, "epochs": 2}


@pytest.fixture(scope="module", autouse=True)
def lanes() -> Any:
    """Races of this file need not measure how to run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "choose", lambda *args: ExecutionPlan("lanes", 64))
        yield


@pytest.fixture(scope="module")
def found(lanes: None) -> tw.Race:
    return tw.race("wine-mlp", progress=False, **SMALL)


def test_print_shows_the_table_and_repr_is_a_line(found: tw.Race) -> None:
    shown = str(found)
    assert found.result.verdict.sentence in " ".join(shown.split())
    assert [row.split()[1] for row in shown.splitlines() if row.split()[1:2] in (["adam"], ["sgd"])]
    assert "learning" in shown
    first = ", ".join(found.best)
    assert repr(found) == f"<Race 'wine-mlp': 2 optimizers, 6 seeds; first: {first}>"


def test_a_race_is_saved_as_out_leaves_it_and_goes_on_from_there(
    found: tw.Race, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = found.save(tmp_path / "saved")
    assert read_race(place / "race.json").task == "wine-mlp"
    assert to_plain(read_race(place / "race.json")) == found.document
    assert "wine-mlp" in (place / "report.html").read_text(encoding="utf-8")
    trained: list[Any] = []
    watch_races(monkeypatch, lambda context, groups: trained.extend(groups))
    again = tw.race("wine-mlp", out=place, progress=False, **SMALL)
    assert not trained
    assert to_plain(again.result.optimizers)[0]["test"] == found.optimizers[0]["test"]
    assert found.save(place) == place  # nothing is written twice
    with pytest.raises(UsageError, match="is of 'wine-mlp', not of 'spiral-mlp'"):
        tw.race("spiral-mlp", progress=False, **SMALL).save(place)


def test_out_leaves_the_report_and_no_other_page_is_replaced(tmp_path: Path) -> None:
    raced = tw.race("wine-mlp", out=tmp_path / "out", progress=False, **SMALL)
    page = tmp_path / "out" / "report.html"
    assert raced.pages == [page]
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    page.write_text("my own notes", encoding="utf-8")
    with pytest.raises(UsageError, match=r"report\.html is no page of thalweg's"):
        tw.race("wine-mlp", out=tmp_path / "out", progress=False, **SMALL)
    several = tw.races(["wine-mlp", "spiral-mlp"], out=tmp_path / "two", progress=False, **SMALL)
    assert several.pages == [
        tmp_path / "two" / "report.html",
        tmp_path / "two" / "wine-mlp" / "report.html",
        tmp_path / "two" / "spiral-mlp" / "report.html",
    ]
    assert all(page.is_file() for page in several.pages)
    assert several.result.verdict.sentence in " ".join(str(several).split())
    assert repr(several) == "<Races on wine-mlp, spiral-mlp: 2 optimizers>"


def test_a_report_is_written_where_one_wants_it(found: tw.Race, tmp_path: Path) -> None:
    assert found.report(tmp_path / "mine.html") == tmp_path / "mine.html"
    (tmp_path / "notes.txt").write_text("my own", encoding="utf-8")
    with pytest.raises(UsageError, match=r"notes\.txt is no page of thalweg's"):
        found.report(tmp_path / "notes.txt")
    with pytest.raises(UsageError, match="there is no folder"):
        found.report(tmp_path / "nowhere" / "mine.html")


def test_a_plot_is_matplotlibs(found: tw.Race) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    ax = found.plot()
    assert ax.get_ylabel() == "validation accuracy"
    given = Figure().add_subplot()
    assert found.plot(given) is given
    drawn = {tuple(line.get_ydata()) for line in given.get_lines()}
    for entry in found.optimizers:
        assert tuple(entry["curve"]["validation_metric"]["mean"]) in drawn


def test_what_was_decided_is_said_without_a_terminal(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    X = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    given = {**SMALL, "seeds": 2}
    model = torch.nn.Linear(2, 1)
    tw.race(model, X, X.sum(1, keepdim=True), **given)
    said = capsys.readouterr()
    assert not said.out
    assert "validation" in said.err  # how the data were divided
    assert "lanes" in said.err  # how the runs are executed
    assert "fresh seeds" not in said.err  # which is progress
    with caplog.at_level(logging.INFO, logger="thalweg"):
        tw.race(model, X, X.sum(1, keepdim=True), **given)
    assert any("lanes" in message for message in caplog.messages)
    assert any("fresh seeds" in message for message in caplog.messages)
    assert not capsys.readouterr().err
    tw.race(model, X, X.sum(1, keepdim=True), progress=False, **given)
    assert not capsys.readouterr().err


def test_a_notebook_without_widgets_has_lines_and_no_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from thalweg.racing import progress

    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    monkeypatch.setattr(progress, "find_spec", lambda name: None)
    with Progress(sys.stderr) as shown:  # a warning of rich's would be an error here
        assert not shown.live
        shown.stage("a stage", 10)
        shown.advance(5)
