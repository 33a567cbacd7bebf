"""The race's HTML report: complete in itself, safe with any names, drawn by a real browser."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from report_pages import HOSTILE, Page, browser, drawn, renamed
from report_sample import summary as sample
from thalweg.errors import ThalwegError, UsageError
from thalweg.records import Interval, as_race, to_plain
from thalweg.report import html, text
from thalweg.report.looks import classes

Document = dict[str, Any]


def nulled(value: Any) -> Any:
    """The same document with None for every number that can be unknown."""
    if isinstance(value, dict):
        return {k: v if k == "steps" else nulled(v) for k, v in value.items()}
    if isinstance(value, list):
        return [nulled(v) for v in value]
    return None if isinstance(value, int | float) and not isinstance(value, bool) else value


_FLIPPED = {"mean": "mean", "low": "high", "high": "low"}


def regression() -> Document:
    """A race in which lower is better, one of its values beyond all bounds."""
    document = sample(5)
    document["setting"]["metric"] = {"name": "error", "higher_is_better": False, "margin": None}
    for entry in document["optimizers"]:
        points = [point["validation"] or {} for point in entry["sensitivity"]]
        for estimate in (entry["validation"], entry["test"], *points):
            estimate.update({_FLIPPED[key]: 1 - value for key, value in estimate.items()})
        band = entry["curve"]["validation_metric"]
        band.update({_FLIPPED[key]: [1 - v for v in values] for key, values in band.items()})
        entry["expected_best"] = [1 - value for value in entry["expected_best"]]
    document["optimizers"][4]["sensitivity"][8]["validation"]["mean"] = 1e30
    return document


def several(document: Document) -> Document:
    """The document of a race with a metric that decided nothing."""
    document["setting"]["also"] = [{"name": "recall & 'more'", "higher_is_better": True}]
    for entry in document["optimizers"]:
        recall = {"validation": entry["validation"], "test": entry["test"]}
        entry["also"] = {"recall & 'more'": recall}
        entry["curve"]["also"] = {"recall & 'more'": entry["curve"]["validation_metric"]}
    return document


DOCUMENTS: dict[str, Callable[[], Document]] = {
    "eighteen": sample,
    "one": lambda: sample(1),
    "none": lambda: sample(0),
    "nulls": lambda: nulled(several(sample(4))),
    "hostile": lambda: renamed(several(sample(3)), HOSTILE),
    "lower is better": regression,
}


# --- complete in itself ---------------------------------------------------------------------


def test_page_asks_nothing_of_any_network() -> None:
    source = html.render(sample())
    page = Page(source)
    loading = ("src", "srcset", "action", "poster", "data", "background", "xlink:href", "ping")
    assert not [a for _, a in page.tags if any(name in a for name in loading)]
    links = [a["href"] or "" for _, a in page.tags if "href" in a]
    assert len(links) == 19  # one to each method of the eighteen, and the icon
    assert all(link.startswith("#") or link == "data:," for link in links)
    assert re.search(r"https?:|@import|import\(|fetch\(|XMLHttp|WebSocket", source) is None
    assert set(re.findall(r"url\(.", source)) <= {"url(#"}


def test_page_forbids_every_script_but_its_own() -> None:
    page = Page(html.render(sample(2)))
    (policy,) = [a["content"] for a in page.all("meta") if "http-equiv" in a]
    assert "default-src 'none'" in policy
    own = base64.b64encode(hashlib.sha256(page.inside["script"][-1].encode()).digest()).decode()
    assert f"script-src 'sha256-{own}';" in policy
    assert [a.get("type") for a in page.all("script")] == [
        "application/json",
        "application/json",
        "application/json",
        None,
    ]


def test_page_without_data_is_small() -> None:
    assert (
        len(html.render(sample(0)).encode()) < 110_000
    )  # style, scripts and looks, for a page of any size


def test_report_imports_neither_race_nor_framework() -> None:
    code = (
        "import sys, thalweg.report.html\n"
        "print([m for m in ('thalweg.racing', 'torch', 'numpy', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- what it says ---------------------------------------------------------------------------


def test_table_holds_every_method_with_its_numbers() -> None:
    page = html.render(sample())
    rows = re.findall(r'<tr data-i="(\d+)" class="(\w+)">(.*?)</tr>', page)
    assert [int(i) for i, _, _ in rows] == list(range(18))
    assert [kind for _, kind, _ in rows] == ["tied"] * 4 + ["behind"] * 14
    ranks = [re.sub("<.*?>", " ", row).split()[0] for _, _, row in rows]
    assert ranks == ["1="] * 4 + [str(rank) for rank in range(5, 19)]
    nadam = rows[0][2]
    assert "<b>0.9782</b>" in nadam
    given = sample()["optimizers"][0]["validation"]
    low, high = f"{given['low']:.4f}", f"{given['high']:.4f}"
    assert f"95 % interval 0.9782 [{low}, {high}]" in nadam
    assert ">170<" in nadam
    assert ">edge<" in rows[12][2]  # lion's best rate is at the edge
    assert nadam.count("<svg") == 4  # its line, and three bars


def test_one_winner_is_first_without_a_tie() -> None:
    (row,) = re.findall(r'<tr data-i="0".*?</tr>', html.render(sample(1)))
    assert ">1</td>" in row
    assert "1=" not in row


def test_good_rates_that_go_on_are_said() -> None:
    document = sample(3)
    document["optimizers"][1]["good_range"]["at_least"] = True
    page = html.render(document)
    rows = re.findall(r"<tr data-i.*?</tr>", page)
    assert ["<b>≥ " in row for row in rows] == [False, True, False]
    folded = re.findall(r'<details id="method-.*?</details>', page)
    assert [", ≥ 1.0 decades: a rate beside" in one for one in folded] == [False, True, False]


def test_no_optimizer_is_said() -> None:
    assert "No optimizer finished a run." in html.render(sample(0))


def test_unknown_numbers_are_dashes() -> None:
    page = re.sub(
        r"<style>.*?</style>|<script.*?</script>", "", html.render(nulled(sample(3))), flags=re.S
    )
    assert re.search(r"\bNone\b|\bnan\b|\bnull\b", page) is None
    (row,) = re.findall(r'<tr data-i="0".*?</tr>', page)
    assert row.count(">–<") >= 6


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (text.number(1e-5), "1e-5"),
        (text.number(0.003), "0.003"),
        (text.number(-2.5), "−2.5"),
        (text.number(float("nan")), "–"),
        (text.number(True), "–"),
        (text.count(12345.0), "12\u202f345"),
        (text.share(0.125), "12\u202f%"),
        (text.duration(61.2), "61\u202fs"),
        (text.duration(600), "10.0\u202fmin"),
        (text.fixed(3.2e9, 3), "3.2e9"),
        (text.fixed(0.00004, 2), "4e-5"),
        (text.interval(Interval(mean=0.97812, low=0.974, high=0.982)), "0.9781 [0.9740, 0.9820]"),
        (text.interval(Interval(mean=0.5, low=None, high=1.0)), "0.5"),
        (text.interval(None), "–"),
    ],
)
def test_numbers_are_written_as_people_read_them(shown: str, expected: str) -> None:
    assert shown == expected


# --- safe with anything ---------------------------------------------------------------------


def test_hostile_texts_stay_text() -> None:
    page = Page(html.render(DOCUMENTS["hostile"]()))
    assert len(page.all("script")) == 4
    assert not page.all("img")
    assert not [a for _, a in page.tags if any(name.startswith("on") for name in a)]
    assert HOSTILE in page.inside["h1"]


def test_data_is_the_document_with_null_for_what_json_cannot_say() -> None:
    document = sample(2)
    expected = copy.deepcopy(document)
    document["optimizers"][1]["test"]["mean"] = float("nan")
    expected["optimizers"][1]["test"]["mean"] = None
    embedded = Page(html.render(document)).inside["script"][0]
    assert "<" not in embedded
    assert json.loads(embedded, parse_constant=pytest.fail) == to_plain(as_race(expected))


def test_formula_keeps_presentation_and_nothing_else() -> None:
    markup = (
        '<math xmlns="http://www.w3.org/1998/Math/MathML" display="block" onclick="x()">'
        '<mi style="color:red">θ</mi><mo>&lt;</mo><script>x()</script>'
        '<mrow href="javascript:x()"><mn>1</mn></mrow><maction>y</maction></math><p>after</p>'
    )
    kept = text.formula(markup)
    assert kept == (
        '<div class="formula" tabindex="0"><math display="block"><mi>θ</mi><mo>&lt;</mo>'
        "<mrow><mn>1</mn></mrow></math></div>"
    )
    assert text.formula("<math><mi>x</math>") == "<pre>&lt;math&gt;&lt;mi&gt;x&lt;/math&gt;</pre>"
    assert text.formula(None) == ""


@pytest.mark.parametrize("schema", ["thalweg.race/2", "thalweg.race/17"])
def test_newer_schema_says_to_upgrade(schema: str) -> None:
    with pytest.raises(ThalwegError, match=f"{schema}.*upgrade thalweg") as caught:
        html.render({**sample(1), "schema": schema})
    assert not isinstance(caught.value, UsageError)


@pytest.mark.parametrize("schema", [None, 1, "thalweg.study/1", "thalweg.race/", "thalweg.race/0"])
def test_other_documents_are_refused(schema: Any) -> None:
    with pytest.raises(UsageError, match="not that of a race's summary"):
        html.render({**sample(1), "schema": schema})


@pytest.mark.parametrize("key", ["setting", "optimizers", "verdict"])
def test_damaged_document_names_what_it_lacks(key: str) -> None:
    document = sample(1)
    del document[key]
    with pytest.raises(ThalwegError, match=f"damaged: it has no '{key}'"):
        html.render(document)


# --- written whole or not at all ------------------------------------------------------------


def test_write_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    html.write(sample(1), path)
    assert path.read_text(encoding="utf-8") == html.render(sample(1))
    assert list(tmp_path.iterdir()) == [path]


def _full(handle: int) -> None:
    raise OSError(28, "No space left on device")


def _refused(path: Path, target: Path) -> Path:
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize(
    ("of", "step", "fault"), [(os, "fsync", _full), (Path, "replace", _refused)]
)
def test_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: Any, step: str, fault: Callable[..., Any]
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    monkeypatch.setattr(of, step, fault)
    with pytest.raises(ThalwegError, match=r"cannot write .*(No space|denied)"):
        html.write(sample(1), path)
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# --- in a real browser ----------------------------------------------------------------------


@browser
@pytest.mark.parametrize("name", DOCUMENTS)
def test_browser_draws_the_page_without_error(name: str, tmp_path: Path) -> None:
    document = DOCUMENTS[name]()
    dom = drawn(html.render(document), tmp_path)
    count = len(document["optimizers"])
    page = Page(dom)
    assert "data-ready" in page.all("body")[0]
    assert "owned" not in page.inside["title"]
    assert len(re.findall(r"<button[^>]*aria-pressed", dom)) == count
    lines = re.findall(r'<path class="line [^"]*" d="([^"]+)"', dom)
    assert not any(re.search("NaN|Infinity|undefined", line) for line in lines)
    # One line per method in each of the three charts, wherever there are numbers to draw.
    assert len(lines) == (0 if name == "nulls" else 3 * count)


_ACTIONS = """
<script>
const done = {}, all = s => [...document.querySelectorAll(s)];
const names = () => all('#results tbody tr th').map(cell => cell.dataset.v);
const figure = all('figure')[0], root = figure.querySelector('.plot > svg');
const press = key => root.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
(async () => {
  const rate = all('#results thead button')[4];
  rate.click(); done.up = names().slice(0, 3);
  rate.click(); done.down = names().slice(-1);
  done.sorted = all('th[aria-sort]').map(head => head.getAttribute('aria-sort'));
  press('End'); press('ArrowDown');
  done.readout = figure.querySelector('.readout').innerText;
  press('Escape');
  done.hidden = figure.querySelector('.readout').innerText;
  all('#presets button').find(b => b.textContent === 'None').click();
  all('#rest')[0].click();
  await new Promise(setTimeout);
  done.none = all('.plot .line').length;
  all('#chips button')[7].click();
  await new Promise(setTimeout);
  done.one = all('.plot .line').map(line => line.getAttribute('class'));
  done.vertices = all('.plot .line').map(line => line.getAttribute('d').match(/[ML]/g).length);
  done.crosses = all('.plot .cross').length;
  all('input[value=train_loss]')[0].click();
  await new Promise(setTimeout);
  done.label = root.getAttribute('aria-label');
  all('input[value=also-0]')[0].click();
  await new Promise(setTimeout);
  done.also = [root.getAttribute('aria-label'), figure.querySelector('.line').getAttribute('d')];
  all('#theme')[0].click(); done.theme = document.documentElement.dataset.theme;
  location.hash = '#method-3';
  await new Promise(setTimeout);
  done.open = all('details[open]').map(d => d.id);
  const pre = document.createElement('pre');
  pre.id = 'done';
  pre.textContent = JSON.stringify(done);
  document.body.append(pre);
})();
</script>
"""


@browser
def test_controls_do_what_they_say(tmp_path: Path) -> None:
    document = several(sample(10))
    page = re.sub("<meta http-equiv=.*?>", "", html.render(document))
    dom = drawn(page.replace("</body>", _ACTIONS + "</body>"), tmp_path)
    found = Page(dom).inside["pre"]
    done = json.loads(found[-1])
    assert done["up"] == ["rmsprop", "rmsprop_centered", "nadam"]  # lr 1e-3 twice, then 3e-3
    assert done["down"] == ["rmsprop_centered"]
    assert done["sorted"] == ["descending"]
    curve = document["optimizers"][1]["curve"]
    assert f"step {curve['steps'][0]}" in done["readout"]
    assert f"{curve['validation_metric']['mean'][0]:#.4g}" in done["readout"]
    assert done["hidden"] == ""
    assert done["none"] == 0
    (look,) = classes(["adamax"])
    assert done["one"] == [f"line {look}"] * 3
    adamax = document["optimizers"][7]
    known = sum(point["validation"] is not None for point in adamax["sensitivity"])
    assert done["vertices"] == [len(adamax["curve"]["steps"]), known, len(adamax["expected_best"])]
    assert done["crosses"] == len(adamax["sensitivity"]) - known > 0
    assert done["label"].startswith("Learning curves: training loss")
    label, path = done["also"]
    assert label.startswith("Learning curves: validation recall & 'more'")
    assert path.count("L") + 1 == len(adamax["curve"]["steps"])
    assert done["theme"] in ("light", "dark")
    assert done["open"] == ["method-3"]
