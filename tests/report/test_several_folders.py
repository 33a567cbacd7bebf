"""Races side by side, and the list of a folder: said what sets them apart, and what is damaged."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from chromium import DESKTOP, PHONE, Chromium
from report_pages import HOSTILE, Page, browser, renamed
from report_sample import race, summary
from thalweg.cli import main
from thalweg.records import Store, as_race
from thalweg.report import comparison, folders

Document = dict[str, Any]


def put(place: Path, document: Document | None = None, *, records: bool = False) -> Path:
    """A race in a folder."""
    place.mkdir(parents=True)
    made, runs = race(2, 1, 2)
    document = document or made
    (place / "race.json").write_text(json.dumps(document))
    if records:
        Store(place / "records").add(runs)
    return place


def same(count: int = 4) -> Document:
    document = summary(count)
    document["setting"]["fingerprint"] = "f" * 24
    return document


def other() -> Document:
    document = same(5)
    document["setting"] |= {"fingerprint": "e" * 24, "budget": 32, "seeds": 3}
    document["setting"]["metric"] = {"name": "loss", "higher_is_better": False}
    document["optimizers"][4]["name"] = "SOAP"
    return document


def caveats(*documents: Document) -> str:
    return " ".join(comparison.caveats([as_race(document) for document in documents]))


# --- side by side ---------------------------------------------------------------------------


def test_two_races_are_shown_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = put(tmp_path / "a", same()), put(tmp_path / "b", other())
    page = tmp_path / "both.html"
    assert main(["report", str(a), str(b), "--out", str(page)]) == 0
    assert capsys.readouterr().err == f"report: {page}\n"
    shown = page.read_text(encoding="utf-8")
    assert shown.count(same()["verdict"]["sentence"]) == 2  # every race keeps its own
    assert "judged by different metrics (accuracy, loss): compare places, not scores" in shown
    assert "Not in every race: SOAP" in shown
    assert len(re.findall(r'<figure data-chart="race\d"', shown)) == 2
    assert "Nothing here was tested across races" in shown


def test_the_same_task_is_said_and_what_differs() -> None:
    first, second = same(), same()
    second["setting"]["budget"] = 32
    second["environment"]["torch"] = "2.14.0"
    said = caveats(first, second)
    assert "same model, data and metric" in said
    assert "They also differ in: configurations each, torch." in said
    assert "also differ" not in caveats(first, same())


def test_documents_without_a_fingerprint_are_not_taken_for_one_task() -> None:
    assert "or do not say that these are the same" in caveats(summary(2), summary(2))


def test_five_races_of_different_metrics() -> None:
    documents = [same() for _ in range(5)]
    for k, document in enumerate(documents):
        document["setting"]["metric"]["name"] = f"metric {k} <script>"
        document["task"] = HOSTILE
    sides = [comparison.Side(HOSTILE + str(k), as_race(d)) for k, d in enumerate(documents)]
    page = Page(comparison.render(sides))
    assert len(page.all("script")) == 3
    assert not page.all("img")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--markdown"], "--markdown is of one race"),
        (["--figures", "x"], "--figures is of one race"),
        (["--out", "missing/both.html"], "there is no folder missing"),
    ],
)
def test_what_several_races_have_not_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    a, b = put(tmp_path / "a", same()), put(tmp_path / "b", same())
    assert main(["report", str(a), str(b), *flags]) == 2
    assert message in capsys.readouterr().err


def test_a_race_named_twice_and_a_folder_of_races_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = put(tmp_path / "all" / "a", same())
    put(tmp_path / "all" / "b", same())
    assert main(["report", str(a), str(a / ".")]) == 2
    assert "is named twice" in capsys.readouterr().err
    assert main(["report", str(a), str(tmp_path / "all")]) == 2
    assert "holds 2 races; name the folder of a single one" in capsys.readouterr().err


def test_names_tell_folders_apart() -> None:
    assert comparison.named([Path("/x/a"), Path("/x/b")]) == ["a", "b"]
    assert comparison.named([Path("/x/mine/a"), Path("/x/theirs/a")]) == ["mine/a", "theirs/a"]


def test_a_foreign_file_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = put(tmp_path / "a", same()), put(tmp_path / "b", same())
    page = tmp_path / "both.html"
    page.write_text("mine")
    assert main(["report", str(a), str(b), "--out", str(page)]) == 2
    assert page.read_text() == "mine"


# --- a folder of races ----------------------------------------------------------------------


def crowd(place: Path) -> Path:
    """A folder with a finished race, an unfinished one, damaged ones, and something else."""
    put(place / "good", same())
    _, runs = race(2, 1, 2)
    Store(place / "going" / "records").add(runs)
    (place / "broken").mkdir()
    (place / "broken" / "race.json").write_text("{")
    (place / "newer").mkdir()
    (place / "newer" / "race.json").write_text('{"schema": "thalweg.race/9"}')
    (place / "empty" / "records").mkdir(parents=True)
    (place / "notes").mkdir()
    (place / "notes" / "todo.txt").write_text("x")
    return place


def test_a_folder_of_races_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = crowd(tmp_path / "races")
    assert main(["report", str(place)]) == 0
    said = capsys.readouterr().err
    assert "broken/race.json is damaged" in said
    shown = (place / "index.html").read_text(encoding="utf-8")
    rows = re.findall(r'<tr><th scope="row".*?</tr>', shown, flags=re.S)
    assert len(rows) == 5
    state = {re.findall(r'data-v="([^"]*)"', row)[0]: row for row in rows}
    assert 'href="good/report.html"' in state["good"]
    assert "nadam, adam, radam, adamw" in state["good"]
    assert ">unfinished<" in state["going"]
    assert (place / "going" / "report.html").is_file()
    for name in ("broken", "newer", "empty"):
        assert ">not shown<" in state[name]
        assert "href" not in state[name]
        assert not (place / name / "report.html").exists()
    assert "upgrade thalweg" in state["newer"]
    assert {race.folder.name for race in folders.read(place).races} == {"going", "good"}
    # Drawn again, it replaces its own pages.
    assert main(["report", str(place)]) == 0


@browser
def test_browser_draws_both_kinds(tmp_path: Path) -> None:
    place = crowd(tmp_path / "races")
    put(place / "theirs", renamed(other(), HOSTILE))
    assert main(["report", str(place)]) == 0
    both = tmp_path / "both.html"
    pair = [str(place / "good"), str(place / "theirs")]
    assert main(["report", *pair, "--out", str(both)]) == 0
    with Chromium(tmp_path) as chromium:
        for page in (place / "index.html", both):
            for size in (DESKTOP, PHONE):
                chromium.open(page.as_uri(), size)
                wide = "document.scrollingElement.scrollWidth - innerWidth"
                assert chromium.evaluate(wide) <= 0
        assert chromium.evaluate("document.querySelectorAll('.line').length") > 4
        assert "owned" not in chromium.evaluate("document.title")
        assert chromium.messages == []
