"""The page of `thalweg play` as a person uses it, in the system's Chromium."""

from __future__ import annotations

import csv
import json
from io import BytesIO

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

import thalweg as tw
from browser_pages import chromium, opened
from browsers import needs_chromium

pytestmark = needs_chromium

DESKTOP = {"width": 1400, "height": 900}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tw.play().write(tmp_path_factory.mktemp("play") / "play.html")


@pytest.fixture
def page(browser, file):
    with opened(browser, file, viewport=DESKTOP) as found:
        yield found


def state(page):
    return page.evaluate("thalweg.state()")


def pixels(page):
    """The map as an array of colours."""
    return np.asarray(Image.open(BytesIO(page.locator("#map").screenshot())))


def until(page, condition):
    """Wait for a condition; the page's policy forbids to hand it over as text."""
    for _ in range(100):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{condition} did not come true")


def settle(page):
    """Wait until what was changed has been drawn."""
    page.evaluate("new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")


def test_dragging_the_start_moves_the_path(page):
    before = pixels(page)
    box = page.locator("#map").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 150, steps=4)
    page.mouse.up()
    settle(page)
    x, y = state(page)["start"]
    left, right, bottom, top = page.evaluate("thalweg.surface('beale').view")
    assert x == pytest.approx(left + 200 / box["width"] * (right - left), abs=0.02)
    assert y == pytest.approx(top - 150 / box["height"] * (top - bottom), abs=0.02)
    assert np.any(pixels(page) != before)


def test_a_slider_changes_the_setting_of_the_active_rule_and_its_path(page):
    before = pixels(page)
    page.locator("#hyper-lr-slider").fill("300")
    settle(page)
    lr = state(page)["hyper"]["adam"]["lr"]
    assert lr == float(page.locator("#hyper-lr").input_value())
    assert np.any(pixels(page) != before)
    page.locator("#hyper-lr").fill("0.25")
    page.locator("#hyper-lr").blur()
    assert state(page)["hyper"]["adam"]["lr"] == 0.25
    page.get_by_role("button", name="Back to defaults").click()
    assert "adam" not in state(page)["hyper"]


def test_rules_are_chosen_and_looked_at(page):
    page.get_by_label("lion", exact=True).check()
    settle(page)
    assert state(page)["rules"][-1] == state(page)["active"] == "lion"
    assert page.locator("#which").inner_text() == "lion"
    assert page.locator("#results tbody tr").count() == 5
    page.locator("#results input[value=sgd]").check()
    settle(page)
    assert page.locator("#lines .line").count() == 1
    for name in ("momentum", "rmsprop", "adam", "lion", "sgd"):
        page.locator(f"#rules input[value={name}]").click()
    settle(page)
    assert state(page)["rules"] == ["sgd"]  # the last one stays
    assert page.locator("#rules input[value=sgd]").is_checked()


def test_the_formula_holds_the_numbers_of_the_next_step(page):
    page.evaluate("thalweg.set({step: 2, rules: ['adam'], active: 'adam'})")
    settle(page)
    lines = page.evaluate(
        "thalweg.explain({...thalweg.state(), rule: 'adam', "
        "hyper: thalweg.state().hyper.adam, at: 3})"
    )["lines"]
    shown = page.locator("#lines .line b").all_inner_texts()
    assert len(shown) == len(lines) == 5
    for text, line in zip(shown, lines, strict=True):
        (value,) = line["gives"].values()
        assert float(text.lstrip("= ").replace("−", "-")) == pytest.approx(
            value["0"] if isinstance(value, dict) else value[0], rel=1e-3
        )


def test_the_state_goes_through_the_address(browser, file, page):
    page.evaluate(
        "thalweg.set({surface: 'bowl', rules: ['adam', 'mistake:adam_restarted'], start: [-3, 2.5],"
        " hyper: {adam: {lr: 0.2}}, steps: 77, step: 12, noise: 0.5, seed: 3, lang: 'ko',"
        " view: '3d'})"
    )
    until(page, "location.hash.includes('steps=77')")
    with opened(browser, file, page.evaluate("location.hash")) as again:
        assert state(again) == state(page)
    hostile = "#steps=1e99&start=a,b&rules=none&surface=<img>&adam.lr=-1&text=1/&turn=x,y&zoom=1"
    with opened(browser, file, hostile) as made_by_hand:
        found = state(made_by_hand)
        assert found["steps"] == 10000
        assert found["surface"] in page.evaluate("thalweg.surfaces().map((s) => s.name)")
        assert "steps=1e99" in made_by_hand.locator("#message").inner_text().replace('"', "")


def test_a_typed_function_is_drawn_and_its_mistakes_are_shown(page):
    page.locator("#text").fill("x^2 +")
    assert "character" in page.locator("#wrong").inner_text()
    page.locator("#text").fill("log(x) + y^2")
    settle(page)
    assert page.locator("#wrong").inner_text() == ""
    assert state(page)["text"] == "log(x) + y^2"
    # The start lies where the logarithm has no value: the page says so and goes on.
    assert "no finite value" in page.locator("#message").inner_text()
    page.locator("#text").fill("(x - 1)^2 + 3*y^2")
    settle(page)
    assert page.locator("#message").inner_text() == ""
    assert page.locator("#results tbody tr").count() == 4
    for pole in ("1/x", "exp(exp(x^2))", "0/(x*y)"):
        page.locator("#text").fill(pole)
        settle(page)


def test_playing_moves_on_and_pauses(browser, file):
    with opened(browser, file, viewport=DESKTOP, reduced_motion="no-preference") as page:
        until(page, "thalweg.state().step > 3")  # it begins by itself
        page.locator("#go").click()
        until(page, "document.getElementById('go').textContent === 'Play'")
        step = state(page)["step"]
        page.locator("#on").click()
        assert state(page)["step"] == step + 1
        page.locator("#back").click()
        page.locator("#first").click()
        assert state(page)["step"] == 0


def test_nothing_moves_by_itself_where_motion_is_unwanted(page):
    first = state(page)
    page.wait_for_timeout(300)
    assert state(page) == first
    assert first["step"] == first["steps"]


def test_the_relief_turns(page):
    page.get_by_role("button", name="3D").click()
    settle(page)
    before = pixels(page)
    box = page.locator("#map").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 220, steps=3)
    page.mouse.up()
    settle(page)
    assert np.mean(pixels(page) != before) > 0.1
    assert state(page)["start"] == [1, 1.5]


def test_the_keyboard_alone_will_do(page):
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the link to the map
    page.locator("#map").focus()
    page.keyboard.press("ArrowRight")
    x, y = state(page)["start"]
    assert (x, y) == (pytest.approx(1.18), 1.5)
    reached = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    wanted = {"surface", "text", "hyper-lr", "hyper-lr-slider", "steps", "go", "step", "race"}
    assert wanted <= reached


def test_both_languages(page):
    page.locator("#lang").click()
    settle(page)
    assert page.locator("html").get_attribute("lang") == "ko"
    shown = page.locator("body").inner_text()
    for key in ("optimizers", "settings", "here", "contest", "limit"):
        assert page.evaluate("document.body.innerText").count("undefined") == 0, key
    assert "최적화 알고리즘" in shown
    assert "Start the race" not in shown
    page.locator("#lang").click()
    settle(page)
    assert not any("가" <= one <= "힣" for one in page.locator("main").inner_text())


def test_every_story_plays(page):
    stories = page.locator("#story option").evaluate_all("(all) => all.map((one) => one.value)")
    assert len(stories) == 16
    for story in stories[1:]:
        page.locator("#story").select_option(story)
        settle(page)
        assert page.locator("#tale").is_visible()
        assert page.locator("#message").inner_text() == ""
        assert page.locator("#results tbody tr").count() == len(state(page)["rules"])
        assert state(page)["step"] == state(page)["steps"]


def test_a_race_orders_all_rules_and_shows_one(page):
    page.evaluate("thalweg.set({surface: 'bowl', start: null, steps: 60})")
    page.locator("#race").click()
    page.wait_for_selector("#places tbody tr", timeout=60000)
    rows = page.locator("#places tbody tr")
    assert rows.count() == len(tw.rules.registry())
    name = rows.nth(0).locator("td").nth(1).inner_text()
    rows.nth(0).get_by_role("button").click()
    settle(page)
    assert state(page)["active"] == name


def frame(picture, k):
    """A frame of a picture as an array of whole numbers."""
    picture.seek(k % getattr(picture, "n_frames", 1))
    return np.asarray(picture.convert("RGB"), dtype=int)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "CSV", "JSON"])
def test_what_is_saved_can_be_read(page, kind, tmp_path):
    page.evaluate("thalweg.set({steps: 25, step: 25})")
    settle(page)
    with page.expect_download() as found:
        page.locator("#save").select_option(kind)
    saved = tmp_path / found.value.suggested_filename
    found.value.save_as(saved)
    if kind in ("PNG", "GIF"):
        with Image.open(saved) as picture:
            assert getattr(picture, "n_frames", 1) == (26 if kind == "GIF" else 1)
            first, last = (frame(picture, k) for k in (0, -1))
        shown = Image.fromarray(pixels(page)).convert("RGB").resize(last.shape[1::-1])
        # A GIF has a table of 256 colours; values run to 255.
        assert np.mean(np.abs(last - np.asarray(shown, dtype=int))) < 6
        assert np.any(first != last) == (kind == "GIF")
        return
    paths = {
        p["rule"]: p
        for p in page.evaluate("""thalweg.state().rules.map((rule) => {
        const hyper = thalweg.state().hyper[rule] ?? {};
        const found = thalweg.path({...thalweg.state(), rule, hyper});
        return {rule, points: [...found.points]};
    })""")
    }
    if kind == "CSV":
        rows = list(csv.DictReader(saved.read_text().splitlines()))
        assert len(rows) == 4 * 26
        for row in rows:
            k = int(row["step"])
            assert [float(row["x"]), float(row["y"])] == paths[row["optimizer"]]["points"][
                2 * k : 2 * k + 2
            ]
    else:
        document = json.loads(saved.read_text())
        assert {p["rule"]: p["points"] for p in document["paths"]} == {
            name: p["points"] for name, p in paths.items()
        }


def test_a_phone_shows_all_and_takes_a_finger(browser, file):
    with opened(browser, file, **PHONE) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        box = page.locator("#map").bounding_box()
        page.touchscreen.tap(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4)
        x, y = state(page)["start"]
        assert (x, y) == (pytest.approx(-2.25, abs=0.05), pytest.approx(2.25, abs=0.05))
        small = page.locator("button:visible").evaluate_all(
            "(all) => all.filter((one) => one.getBoundingClientRect().height < 38)"
            ".map((one) => one.id)"
        )
        assert small == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", ["map", "3d"])
def test_axe_finds_no_violation(browser, file, scheme, view):
    with opened(
        browser, file, f"#view={view}&surface=bowl", viewport=DESKTOP, color_scheme=scheme
    ) as page:
        page.locator("details").evaluate_all("(all) => all.forEach((one) => { one.open = true; })")
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()


def test_an_own_rule_and_surface_are_shown_first(browser, tmp_path):
    @tw.rule
    def halved(theta, g, t, *, lr=0.1):
        """Halved descent, of a person's own."""
        return theta - lr / 2 * g

    def trough(x, y):
        return x**2 + 5 * y**2

    written = tw.play(halved, trough).write(tmp_path / "own.html")
    with opened(browser, written) as page:
        assert state(page)["surface"] == "trough"
        assert state(page)["active"] == "halved"
        assert page.locator("#rules .own input").count() == 1
        assert page.locator("#results tbody tr").count() == 2
