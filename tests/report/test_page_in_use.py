"""The page in use: on a desktop and a phone, in both themes, by mouse, touch and keys."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest

from chromium import DESKTOP, PHONE, Chromium
from report_pages import HOSTILE, browser, renamed
from report_sample import race, summary
from thalweg.plotting import looks
from thalweg.report import html

pytestmark = browser
AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("browser")) as found:
        yield found
        assert found.messages == []


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a page of a race with runs."""
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(html.render(*race(6, 1, 3)), encoding="utf-8")
    return file.as_uri()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a page of a race in which learning rates alone were tuned."""
    file = tmp_path_factory.mktemp("plain") / "report.html"
    file.write_text(html.render(summary()), encoding="utf-8")
    return file.as_uri()


def box(chromium: Chromium, selector: str) -> dict[str, float]:
    """Where an element lies in the window, scrolled into view."""
    found: dict[str, float] = chromium.evaluate(
        f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
        "e.scrollIntoView({ block: 'center' }); const r = e.getBoundingClientRect();"
        "return { x: r.x, y: r.y, width: r.width, height: r.height, right: r.right }; })()"
    )
    return found


CURVES = "figure[data-chart=curves] .plot > svg"


def ticks(chromium: Chromium) -> list[float]:
    """The numbers on the horizontal axis of the learning curves."""
    found: list[float] = chromium.evaluate(
        f"[...document.querySelectorAll('{CURVES} > text[text-anchor=middle]:not(.label)')]"
        ".map(t => Number(t.textContent))"
    )
    return found


# --- what is seen first ---------------------------------------------------------------------


def test_a_desktop_shows_the_whole_table(chromium: Chromium, plain: str) -> None:
    chromium.open(plain, DESKTOP)
    widths = "(e => [e.scrollWidth, e.clientWidth])(document.querySelector('.scroll'))"
    needed, room = chromium.evaluate(widths)
    assert needed <= room
    assert chromium.evaluate("document.querySelector('.more').hidden")


def test_a_phone_shows_the_judging_column_and_that_there_are_more(
    chromium: Chromium, page: str
) -> None:
    chromium.open(page, PHONE)
    head = box(chromium, "#results thead th:nth-child(3)")
    assert chromium.evaluate("document.querySelector('#results thead th:nth-child(3)').innerText")[
        :4
    ] in ("test", "TEST")
    assert head["x"] >= 0
    assert head["right"] <= PHONE[0]
    assert not chromium.evaluate("document.querySelector('.more').hidden")
    assert chromium.evaluate("document.querySelector('.scroll').dataset.more") == "right"
    chromium.evaluate("document.querySelector('.scroll').scrollLeft = 1e6")
    chromium.wait("document.querySelector('.scroll').dataset.more === 'left '")


def test_the_toolbar_covers_nothing_on_a_phone(chromium: Chromium, page: str) -> None:
    chromium.open(page, PHONE)
    chromium.evaluate("document.querySelector('figure[data-chart=expected]').scrollIntoView()")
    assert chromium.evaluate("document.querySelector('#legend').getBoundingClientRect().bottom") < 0


def test_the_judging_metric_is_drawn_first(chromium: Chromium, page: str) -> None:
    chromium.open(page)
    label = chromium.evaluate(f"document.querySelector('{CURVES}').getAttribute('aria-label')")
    assert label.startswith("Learning curves: validation accuracy")
    # An accuracy is offered no logarithmic axis; a loss is.
    assert chromium.evaluate("document.querySelector('#scale').disabled")
    chromium.evaluate("document.querySelector('input[value=train_loss]').click()")
    chromium.wait("!document.querySelector('#scale').disabled")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_lines_look_as_in_the_figures(chromium: Chromium, page: str, dark: bool) -> None:
    chromium.open(page, dark=dark)
    chromium.evaluate("[...document.querySelectorAll('#presets button')][2].click()")  # All
    chromium.wait(f"document.querySelectorAll('{CURVES} .line:not(.muted)').length === 18")
    drawn = chromium.evaluate(
        "[...document.querySelectorAll('#chips button')].map(b => { const s = "
        "getComputedStyle(b.querySelector('path')); return [b.textContent, s.stroke, "
        "s.strokeDasharray]; })"
    )
    expected = looks(name for name, _, _ in drawn)
    for name, stroke, dash in drawn:
        look = expected[name]
        rgb = [int(n) for n in re.findall(r"\d+", stroke)]
        assert "#" + "".join(f"{n:02x}" for n in rgb) == (look.dark if dark else look.light)
        lengths = [float(n) for n in re.findall(r"[\d.]+", dash)]
        assert lengths == pytest.approx([1.9 * part for part in look.dash])
    ends = "[...document.querySelectorAll('figure[data-chart=curves] .end')].map(t => [Number("
    labels = chromium.evaluate(ends + "t.getAttribute('y')), t.textContent])")
    assert len(labels) == 18
    heights = sorted(y for y, _ in labels)
    assert min(b - a for a, b in itertools.pairwise(heights)) > 10  # px, of 11 px type


# --- zoom, and the address ------------------------------------------------------------------


def test_dragging_zooms_and_the_address_keeps_it(chromium: Chromium, page: str) -> None:
    chromium.open(page)
    place = box(chromium, CURVES)
    middle = place["y"] + place["height"] / 2
    chromium.drag((place["x"] + 300, middle), (place["x"] + 500, middle + 4))
    chromium.wait("location.hash.includes('curves.x=')")
    (ends,) = re.findall(r"curves\.x=([\d.]+),([\d.]+)", chromium.evaluate("location.hash"))
    first, last = map(float, ends)
    assert 0 < first < last < 680
    assert all(first <= tick <= last for tick in ticks(chromium))
    there = chromium.evaluate("location.href")
    chromium.evaluate("document.querySelector('figure[data-chart=curves] .reset').click()")
    chromium.wait("location.hash === ''")
    assert ticks(chromium)[-1] >= 600
    chromium.open(there)
    assert all(first <= tick <= last for tick in ticks(chromium))


@pytest.mark.parametrize(
    "hash_",
    [
        "#view&curves.x=-1e9,1e9",
        "#view&curves.x=1e300,1e308",
        "#view&curves.x=NaN,5",
        "#view&curves.x=9,3&curves.y=0,0",
        "#view&curves.y=-1e300,-1e299",
        "#view&curve=__proto__&scale=cubic&smoothing=1e9&unit=",
        "#view&on=%E0%A4%A&sensitivity-x=nothing",
        "#view&&&=&.x=1,2&__proto__.x=1,2",
    ],
)
def test_an_address_shows_only_what_there_is(chromium: Chromium, page: str, hash_: str) -> None:
    chromium.open(page + hash_)
    found = ticks(chromium)
    assert found
    assert min(found) >= 0
    assert max(found) <= 680
    lines = "[...document.querySelectorAll('.line')].map(line => line.getAttribute('d'))"
    paths = chromium.evaluate(lines)
    assert not any(re.search("NaN|Infinity|undefined", path) for path in paths)
    assert chromium.evaluate("Number(document.querySelector('#smoothing').value)") <= 0.95


def test_an_address_names_curve_unit_and_optimizers(chromium: Chromium, page: str) -> None:
    chromium.open(page + "#view&curve=validation_loss&smoothing=0.6&on=sgd%2Clion")
    drawn = f"document.querySelectorAll('{CURVES} .line:not(.muted)').length"
    assert chromium.evaluate(drawn) == 2
    assert chromium.evaluate(f"document.querySelectorAll('{CURVES} .raw').length") == 2
    label = chromium.evaluate(f"document.querySelector('{CURVES}').getAttribute('aria-label')")
    assert label.startswith("Learning curves: validation loss")
    chromium.evaluate("document.querySelector('#rest').click()")
    kept = chromium.evaluate("location.hash")
    assert all(part in kept for part in ("curve=validation_loss", "smoothing=0.6", "rest=0"))


def test_keys_zoom(chromium: Chromium, page: str) -> None:
    chromium.open(page)
    chromium.evaluate(f"document.querySelector('{CURVES}').focus()")
    chromium.key("End")
    chromium.key("+")
    chromium.wait("location.hash.includes('curves.x=')")
    chromium.key("0")
    chromium.wait("location.hash === ''")


def test_a_close_up_cuts_no_curve_in_colour(chromium: Chromium, plain: str) -> None:
    chromium.open(plain)
    chromium.evaluate("document.querySelector('input[name=curves-range][value=close]').click()")
    chromium.wait("document.querySelector('input[name=curves-range]:checked').value === 'close'")
    assert min(ticks(chromium)) >= 340
    inside = chromium.evaluate(
        "(() => { const svg = document.querySelector('figure[data-chart=curves] .plot > svg');"
        "const clip = svg.querySelector('clipPath rect').getBBox();"
        "return [...svg.querySelectorAll('.line:not(.muted)')].map(line => "
        "[...line.getAttribute('d').matchAll(/[ML]([-\\d.]+) ([-\\d.]+)/g)]"
        ".filter(m => Number(m[1]) >= clip.x).every(m => Number(m[2]) >= clip.y && "
        "Number(m[2]) <= clip.y + clip.height)); })()"
    )
    assert inside == [True] * 6


# --- touch and explanations -----------------------------------------------------------------


def test_what_a_finger_taps_stays(chromium: Chromium, page: str) -> None:
    chromium.open(page, PHONE)
    place = box(chromium, CURVES)
    chromium.tap(place["x"] + 200, place["y"] + 60)
    readout = "document.querySelector('figure[data-chart=curves] .readout').innerText"
    chromium.wait(f"{readout}.includes('step')")
    chromium.evaluate("new Promise(done => setTimeout(done, 400))")
    assert "step" in chromium.evaluate(readout)
    head = box(chromium, "#results thead th:nth-child(3) button")
    chromium.tap(head["x"] + 5, head["y"] + 5)
    chromium.wait("!document.querySelector('#tip').hidden")
    assert "What ranks" in chromium.evaluate("document.querySelector('#tip').textContent")
    chromium.evaluate("new Promise(done => setTimeout(done, 400))")
    assert not chromium.evaluate("document.querySelector('#tip').hidden")
    assert chromium.evaluate(readout) == ""
    chromium.key("Escape")
    chromium.wait("document.querySelector('#tip').hidden")


def test_without_scripts_verdict_and_table_are_there(chromium: Chromium, page: str) -> None:
    chromium.open(page, scripts=False)
    try:
        document = chromium.send("DOM.getDocument", depth=-1)
        text = json.dumps(document)
    finally:
        chromium.send("Emulation.setScriptExecutionDisabled", value=False)
    assert "tie for first on digits-mlp" in text
    assert "The charts need JavaScript" in text
    assert "0.9716" in text


# --- for everybody --------------------------------------------------------------------------


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_no_violation(
    chromium: Chromium, page: str, size: tuple[int, int], dark: bool
) -> None:
    chromium.open(page, size, dark=dark)
    assert violations(chromium) == []


def test_axe_finds_no_violation_among_hostile_names(chromium: Chromium, tmp_path: Path) -> None:
    document, records = race(3, 1, 2)
    file = tmp_path / "report.html"
    file.write_text(html.render(renamed(document, HOSTILE), renamed(records, HOSTILE)))
    chromium.open(file.as_uri(), PHONE)
    assert violations(chromium) == []
    assert not chromium.evaluate("document.title.startsWith('owned')")


def violations(chromium: Chromium) -> list[Any]:
    """What axe-core has to say against a page, shortly."""
    chromium.evaluate(AXE.read_text(encoding="utf-8") + "; 0")
    found: list[Any] = chromium.evaluate(
        "axe.run().then(r => r.violations.map(v => [v.id, v.nodes.length, v.nodes[0].html, "
        "v.nodes[0].failureSummary]))"
    )
    return found
