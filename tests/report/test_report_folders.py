"""`thalweg report`: from files alone, whole or half finished, one race or several."""

from __future__ import annotations

import json
import re
import shutil
from html import escape
from pathlib import Path
from typing import Any

import pytest

from report_pages import HOSTILE, Page, browser, drawn, renamed
from report_sample import race as made
from thalweg.cli import main
from thalweg.racing.multitask import across as together
from thalweg.records import Store, as_race, as_races, as_runs, to_plain
from thalweg.report import across, folders, html, markdown, paper, pictures, runs
from thalweg.rules import find


def _folder(place: Path, *, finished: bool = True, **size: int) -> Path:
    document, records = made(**{"configurations": 4, "tuning_seeds": 1, "seeds": 3, **size})
    Store(place / "records").add(records)
    if finished:
        (place / "race.json").write_text(json.dumps(document))
    return place


def _several() -> dict[str, Any]:
    """Two tasks that the same three optimizers were raced on."""
    documents = []
    for task in ("a", "b"):
        document, _ = made(2, 1, 3)
        document["task"], document["optimizers"] = task, document["optimizers"][:3]
        names = {entry["name"] for entry in document["optimizers"]}
        document["pairs"] = [p for p in document["pairs"] if {p["a"], p["b"]} <= names]
        for k, entry in enumerate(document["optimizers"]):
            entry["by_seed"] = {
                "steps": 680,
                "steps_to_target": [17 * (k + 1), 34, None],
                "test": [0.9, 0.9, 0.9],
            }
        documents.append(document)
    return to_plain(together([as_race(document) for document in documents]))


# --- from files alone -----------------------------------------------------------------------


def test_report_is_drawn_from_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _folder(tmp_path / "race")
    assert main(["report", str(folder)]) == 0
    (race,) = folders.read(folder).races
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page == html.render(race.document, race.records)
    runs = json.loads(Page(page).inside["script"][1])
    assert len(runs["rows"]) == len(runs["list"]) == 18 * 7
    assert capsys.readouterr().err == f"report: {folder / 'report.html'}\n"


def test_unfinished_race_is_drawn_without_a_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _folder(tmp_path / "race", finished=False)
    assert main(["report", str(folder)]) == 0
    assert "not finished: of digits-mlp 72 runs of the search and 54 on fresh seeds" in (
        capsys.readouterr().err
    )
    (race,) = folders.read(folder).races
    assert race.document.verdict.best == []
    every = [point for entry in race.document.optimizers for point in entry.sensitivity]
    assert sorted(point.preference for point in every) == list(range(1, len(every) + 1))
    for entry in race.document.optimizers:
        points = [point for point in entry.sensitivity if point.stopped_at is None]
        assert entry.validation.mean == max(point.validation.mean for point in points)
        chosen = min(entry.sensitivity, key=lambda point: point.preference)
        assert chosen.configuration == entry.configuration
    assert not any(entry.tied for entry in race.document.optimizers)
    assert list(pictures.figures(race))


def test_what_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _folder(tmp_path / "race")
    (folder / "records" / "more.json").write_text("{")
    assert main(["report", str(folder)]) == 0
    assert "more.json is damaged or no record" in capsys.readouterr().err
    shutil.rmtree(folder / "records")
    assert main(["report", str(folder)]) == 0
    assert "126 of 126 records are missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("files", "code", "message"),
    [
        ({}, 2, "there is no race in"),
        ({"race.json": "{"}, 1, "race.json is damaged: Input data was truncated; delete it"),
        ({"race.json": "[]"}, 1, "race.json is damaged: Expected `object`, got `array`"),
        ({"race.json": '{"schema": "thalweg.races/1"}'}, 1, "it has no 'tasks'"),
        ({"race.json": '{"schema": "thalweg.race/9"}'}, 1, "upgrade thalweg"),
        ({"records/a.json": "{}"}, 2, "there is no finished run in"),
    ],
)
def test_folders_without_a_race_are_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    files: dict[str, str],
    code: int,
    message: str,
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert main(["report", str(tmp_path)]) == code
    assert message in capsys.readouterr().err


def test_no_folder_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path / "nothing")]) == 2
    assert "there is no folder" in capsys.readouterr().err


# --- size -----------------------------------------------------------------------------------


def test_a_thousand_runs_stay_under_six_megabytes() -> None:
    document, records = made()
    assert len(records) >= 1000
    assert len(html.render(document, records).encode()) < 6_000_000


def test_a_page_has_room_for_so_many_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    document, records = made(2, 1, 2)
    whole = html.render(document, records)
    assert "are left out, so that" not in whole
    finals = sum(record["run"]["stage"] == "final" for record in records.values())
    # Six quantities, each measured 41 times: room for the runs on fresh seeds and one more.
    monkeypatch.setattr(runs, "_VALUES", 6 * 41 * (finals + 1))
    page = html.render(document, records)
    assert f"The curves of {len(records) - finals - 1} runs are left out" in page
    drawn = json.loads(Page(page).inside["script"][1])
    assert sum(run["stage"] == "final" for run in drawn["list"]) == finals
    assert len(drawn["list"]) == finals + 1
    assert len(drawn["rows"]) == len(records)


# --- figures, Markdown, a paragraph for a paper -----------------------------------------------


def test_every_figure_is_a_picture_and_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = _folder(tmp_path / "race"), tmp_path / "figures"
    assert main(["report", str(folder), "--figures", str(out)]) == 0
    names = {
        "curves",
        "curves_close_up",
        "sensitivity",
        "expected_best",
        "results",
        "pairs",
        "configurations",
        "diagnostics",
    }
    assert {path.stem for path in out.glob("*.png")} == names
    assert {path.stem for path in out.glob("*.pdf")} == names
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in out.glob("*.png"))
    assert all(path.read_bytes()[:4] == b"%PDF" for path in out.glob("*.pdf"))
    assert len(capsys.readouterr().out.splitlines()) == 16
    assert not (folder / "report.html").exists()


def test_names_that_look_like_formulas_are_drawn_as_they_are(tmp_path: Path) -> None:
    document, records = made(2, 1, 2)
    document = renamed(document, "$x_{$")
    assert list(pictures.figures(folders.Found(tmp_path, as_race(document), as_runs(records))))


def test_markdown_says_what_the_page_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _folder(tmp_path / "race")
    assert main(["report", str(folder), "--markdown"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("# digits-mlp\n")
    rows = [line for line in shown.splitlines() if re.match(r"\| (\d+|\d+, tied) \|", line)]
    assert len(rows) == 18
    assert rows[0].startswith("| 1, tied | nadam | lr 4.7e-5, beta1 0.806, ")
    hostile, _ = made(2, 1, 2)
    document = renamed(hostile, "a | b ](x) <script> `c`\n# d")
    table = [
        line for line in markdown.summary(as_race(document)).splitlines() if line.startswith("|")
    ]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {10}
    assert "<script>" not in re.sub(
        r"```.*?```", "", markdown.summary(as_race(document)), flags=re.S
    )


def test_methods_tell_what_was_run_and_cite_it() -> None:
    document, _ = made(2, 1, 2)
    work = {
        "authors": "Kingma & Ba",
        "year": 2015,
        "title": "Adam: A {Method} of 100 %",
        "where": "ICLR",
    }
    document["optimizers"] = document["optimizers"][:2]
    document["optimizers"][1]["citation"] = work
    document["search"] = {
        "tune": ["lr"],
        "sampler": "grid",
        "fixed": {"schedule": "cosine"},
        "stopped": 3,
        "saved": 0.25,
    }
    document = as_race(document)
    words = paper.paragraph(document)
    assert "We compare 2 optimizers on digits-mlp (1,077 training" in words
    assert "adam (Kingma & Ba, 2015)" in words
    assert "the learning rate was searched on a logarithmic grid" in words
    assert "all with schedule cosine" in words
    assert "saved 25 %" in words
    assert "10 fresh seeds" in words
    entries = re.findall(r"@[a-z]+\{(\w+),", paper.bibtex(document))
    assert entries[0] == "kingma2015adam"
    assert "jamieson2016nonstochastic" in entries or "jamieson2016stochastic" in entries
    assert r"title = {{Adam: A \{Method\} of 100 \%}}" in paper.bibtex(document)
    assert "author = {Kingma and Ba}" in paper.bibtex(document)
    assert "@article{efron1987better,\n  author = {Efron, Bradley}," in paper.bibtex(document)


def test_a_built_in_rule_is_cited_in_full() -> None:
    document, _ = made(2, 1, 2)
    document["optimizers"][0]["citation"] = vars(find("adam").reference)
    entry, *_ = paper.bibtex(as_race(document)).split("\n\n")
    assert entry == (
        "@inproceedings{kingma2015adam,\n"
        "  author = {Kingma, Diederik P. and Ba, Jimmy},\n"
        "  title = {{Adam: A Method for Stochastic Optimization}},\n"
        "  booktitle = {International Conference on Learning Representations},\n"
        "  year = {2015},\n"
        "  eprint = {1412.6980},\n"
        "  archiveprefix = {arXiv}\n}"
    )


# --- several tasks --------------------------------------------------------------------------


def test_several_races_are_drawn_together(tmp_path: Path) -> None:
    document = _several()
    for race in document["races"]:
        (tmp_path / race["task"]).mkdir()
        (tmp_path / race["task"] / "race.json").write_text(json.dumps(race))
    (tmp_path / "race.json").write_text(json.dumps(document))
    assert main(["report", str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'href="a/report.html"' in page
    assert (tmp_path / "b" / "report.html").is_file()
    assert main(["report", str(tmp_path), "--figures", str(tmp_path / "f")]) == 0
    assert (tmp_path / "f" / "profile.pdf").is_file()
    assert (tmp_path / "f" / "a" / "curves.png").is_file()


# --- in a real browser ----------------------------------------------------------------------


@browser
@pytest.mark.parametrize("name", ["plain", HOSTILE])
def test_browser_draws_several_races(name: str, tmp_path: Path) -> None:
    document = _several()
    document["optimizers"][0]["name"] = document["tasks"][0] = name
    dom = drawn(across.render(as_races(document), {"b": "b/report.html"}), tmp_path)
    assert "data-ready" in Page(dom).all("body")[0]
    assert "owned" not in Page(dom).inside["title"]
    assert len(re.findall(r'<path class="line', dom)) == 3


@browser
def test_browser_draws_hostile_runs(tmp_path: Path) -> None:
    document, records = made(2, 1, 2)
    dom = drawn(html.render(renamed(document, HOSTILE), renamed(records, HOSTILE)), tmp_path)
    assert "data-ready" in Page(dom).all("body")[0]
    assert "owned" not in Page(dom).inside["title"]
    assert not Page(dom).all("img")


_ACTIONS = """
<script>
const done = {}, all = s => [...document.querySelectorAll(s)];
const pick = (id, value) => { const s = document.getElementById(id); s.value = value;
  s.dispatchEvent(new Event('change', { bubbles: true })); };
(async () => {
  done.axes = all('#parallel .grip').map(g => g.getAttribute('aria-label'));
  done.all = document.getElementById('parallel-status').textContent;
  const press = key => all('#parallel .grip').at(-1)
    .dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
  press('ArrowDown');
  done.top = document.getElementById('parallel-status').textContent;
  press('Escape');
  done.again = document.getElementById('parallel-status').textContent;
  pick('pairs-of', '1');
  done.pairs = all('#pairs-table tbody tr').map(r => r.innerText.split('\\t').map(c => c.trim()));
  pick('run-method', '2');
  await new Promise(setTimeout);
  done.finals = all('#diagnostics .line').length;
  pick('run-which', 'tuning'); pick('run-series', 'effective_lr');
  await new Promise(setTimeout);
  done.tuning = all('#diagnostics .line').length;
  done.label = all('#diagnostics .plot > svg')[0].getAttribute('aria-label');
  pick('sensitivity-x', 'schedule');
  await new Promise(setTimeout);
  done.words = all('figure[data-chart=sensitivity] text').map(t => t.textContent);
  done.csv = csv().split('\\r\\n');
  const pre = document.createElement('pre');
  pre.id = 'done';
  pre.textContent = JSON.stringify(done);
  document.body.append(pre);
})();
</script>
"""


@browser
def test_controls_of_runs_do_what_they_say(tmp_path: Path) -> None:
    document, records = made(4, 2, 3)
    page = re.sub("<meta http-equiv=.*?>", "", html.render(document, records))
    done = json.loads(
        Page(drawn(page.replace("</body>", _ACTIONS + "</body>"), tmp_path)).inside["pre"][-1]
    )
    # lr, beta1, schedule, and the metric; warm-up was the same for all.
    assert len(done["axes"]) == 4
    assert done["all"].startswith("24 of 72 configurations")  # of the six in colour
    assert 0 < int(done["top"].split()[0]) < 24
    assert done["again"] == done["all"]
    assert len(done["pairs"]) == 17
    # The sample has a − b alike for all pairs: of the first and the second it is turned round.
    assert done["pairs"][0] == ["nadam", "−0.010 [−0.030, 0.010]", "40 %", "0.2000"]
    assert done["pairs"][1] == ["radam", "0.010 [−0.010, 0.030]", "60 %", "0.2000"]
    assert (done["finals"], done["tuning"]) == (3, 8)
    assert done["label"].startswith(
        "effective learning rate against training step, 8 runs of radam"
    )
    assert {"constant", "cosine", "linear"} <= set(done["words"])
    assert len(done["csv"]) == 1 + len(records) + 1
    assert done["csv"][0].startswith("run,task,optimizer,stage,seed,param_lr,")


@browser
@pytest.mark.parametrize("kind", ["one", "several"])
def test_a_phone_scrolls_down_alone(kind: str, tmp_path: Path) -> None:
    page = html.render(*made(4, 1, 2)) if kind == "one" else across.render(as_races(_several()), {})
    page = re.sub("<meta http-equiv=.*?>", "", page)
    frame = (
        f'<!doctype html><iframe srcdoc="{escape(page)}" width="390" height="800"></iframe><script>'
        "onload = () => { const d = document.querySelector('iframe').contentDocument;"
        "const e = d.scrollingElement; document.title = `${d.body.dataset.ready !== undefined} "
        "${innerWidth > 390} ${e.scrollWidth - e.clientWidth} ${e.clientWidth > 300}`; };</script>"
    )
    dom = drawn(frame, tmp_path)
    assert Page(dom).inside["title"] == ["true true 0 true"]
