"""The page as a file: one, small, closed to the network; rules and surfaces of a person's own."""

from __future__ import annotations

import json
import re
import webbrowser
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest

import thalweg as tw
from browsers import answer, needs_chromium, needs_node
from report_pages import Page as Parsed
from report_pages import drawn
from thalweg import ops, surfaces
from thalweg.cli import main
from thalweg.errors import ThalwegError, UsageError
from thalweg.playground.page import core, found_in
from thalweg.rules import RuleError, registry

LARGEST = 300_000  # bytes of the page with the built-in rules and surfaces

SCALE = 0.5
FIXED = {"function": {"lr": 0.1}, "values": {"lr": 0.05}, "constructor": {}}  # no rate is searched


@tw.rule
def function(w, dw, new, size, t, *, lr=0.1, this=0.9):
    """Own </script><script>document.title = 'owned'</script> --> & <b>names</b>."""
    new = this * new + dw
    size = size + ops.sqrt(ops.sum(dw * dw))
    return w - lr * SCALE * new / (1 + size), new, size


@tw.rule(scalars=("out",), init={"out": "lr", "x": 2.0})
def values(theta, g, x, out, t, *, lr=0.05, h=3.0, s=0.1, gx=0.2):
    """The names that the generated function uses itself."""
    small = out < h
    x = ops.where(small, s * x + gx * g, 7.0)
    return theta - lr * x, x, out * 0.9


@tw.rule
def constructor(theta, g, valueOf, t, *, toString=0.1, hasOwnProperty=0.5):
    """Names that every object of JavaScript has."""
    valueOf = hasOwnProperty * valueOf + g
    return theta - toString * valueOf, valueOf


def valley(x, y):
    """A valley of one's own."""
    return ops.log(1 + (y - x**2) ** 2) + x**2 / 10


@pytest.fixture(scope="module")
def page():
    return tw.play().html


def test_the_page_is_small_and_asks_nothing_of_any_network(page):
    assert len(page.encode()) < LARGEST
    parsed = Parsed(page)
    assert not [tag for tag, found in parsed.tags if "src" in found]
    assert [f["href"] for _, f in parsed.tags if "href" in f] == ["data:,", "#map"]
    (policy,) = [m["content"] for m in parsed.all("meta") if "http-equiv" in m]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    assert "unsafe-inline" not in policy.partition("style-src")[0]
    for script in parsed.inside["script"]:
        assert not re.search(
            r"\beval\(|new Function|fetch\(|XMLHttpRequest|import\(|document\.write", script
        )


def test_only_the_interface_joins_core_and_page(page):
    generated, drawing = Parsed(page).inside["script"]
    assert "window.thalweg = " in generated
    assert "document" not in re.sub(r"//.*|\"[^\"\n]*\"", "", generated)
    assert "window.thalweg" in drawing


@needs_chromium
def test_a_browser_opens_the_page_without_a_complaint(page, tmp_path):
    found = drawn(page, tmp_path)
    assert 'data-ready="true"' in found


# --- rules and surfaces of a person's own ---


@needs_node
@pytest.mark.parametrize("rule", [function, values, constructor], ids=lambda r: r.name)
def test_an_own_rule_steps_as_in_python(rule):
    script = core([rule], [surfaces.Surface.of(valley)])
    options = {"rule": rule.name, "surface": "valley", "steps": 120, "details": True}
    found, lines = answer(
        f"[T.path({json.dumps(options)}), T.explain({json.dumps({**options, 'at': 5})}).lines]",
        script,
    )
    wanted = tw.trajectory(rule, valley, steps=120, **FIXED[rule.name])[rule.name]
    points = np.reshape(found["points"], (-1, 2))
    # log is V8's own, and may differ from NumPy's by a unit in the last place.
    np.testing.assert_allclose(points, wanted.points, rtol=0, atol=1e-12)
    assert [name for line in lines for name in line["gives"]]


@needs_node
def test_own_ones_come_first_and_may_stand_for_a_built_in_one():
    script = core([function], [surfaces.Surface.of(valley)])
    rules, listed = answer("[T.rules(), T.surfaces()]", script)
    assert rules[0]["name"] == "function"
    assert rules[0]["title"] == function.title
    assert listed[0]["title"] == "A valley of one's own."
    assert len(rules) == len(answer("T.rules()")) + 1

    @tw.rule
    def sgd(theta, g, t, *, lr=0.5):
        return theta - 2 * lr * g

    points = answer("T.path({rule: 'sgd', surface: 'bowl', steps: 1}).points", core([sgd]))
    assert points[2:] == [-7 + 0.7, 2 - 4]


@needs_chromium
def test_a_hostile_title_stays_text(tmp_path):
    found = drawn(tw.play(function, surfaces.Surface.of(valley, name="<img src=x>")).html, tmp_path)
    assert "<title>thalweg play</title>" in found
    assert 'data-ready="true"' in found


TYPED = """
@rule
def typed(theta, g, m, t, *, lr=0.1):
    m = 0.5 * m + g
    return theta - lr * m, m
"""


@needs_node
def test_rules_without_a_source_and_with_any_name_are_on_the_page():
    made = {"rule": tw.rule}
    exec(TYPED, made)
    names = ["typed", "__proto__", "a b</SCRIPT>'\"`${1}\\ <!--", "toString"]
    own = [replace(made["typed"], name=name) for name in names]
    peaks = [surfaces.Surface.of(lambda x, y: (x * y) ** 2 + y**2, name=name) for name in names]
    script = core(own, peaks)
    asked = [{"rule": name, "surface": name, "steps": 20, "start": [1, 2]} for name in names]
    found = answer(f"{json.dumps(asked)}.map((one) => T.path(one).points)", script)
    (wanted,) = tw.trajectory(own[:1], peaks[0], (1, 2), 20, lr=0.1).paths.values()
    for points in found:
        assert np.reshape(points, (-1, 2)).tolist() == wanted.points.tolist()
    given = json.dumps({"rules": names, "surface": names[1]})
    back = f"(T.set({given}), [T.set(T.hash()), T.state().rules, T.state().surface])"
    assert answer(back, script) == [[], names, names[1]]


def test_what_cannot_be_on_the_page_is_refused():
    with pytest.raises(UsageError, match="5 is neither a rule, a surface nor a function"):
        tw.play(5)
    with pytest.raises(UsageError, match="two rules are named 'function'"):
        tw.play(function, function)
    with pytest.raises(RuleError, match="measures a whole array"):
        tw.play(lambda x, y: ops.sum(x * y))
    with pytest.raises(RuleError, match="cannot branch"):
        tw.play(lambda x, y: x if x > y else y)
    with pytest.raises(RuleError, match=r"is 3\.0 everywhere"):
        tw.play(lambda x, y: 3.0)


def test_a_notebook_shows_the_page_in_a_frame(page):
    shown = tw.play()._repr_html_()
    (frame,) = Parsed(shown).all("iframe")
    assert frame["srcdoc"] == page
    assert frame["sandbox"] == "allow-scripts allow-downloads"
    assert "<script" not in shown
    assert unescape(shown).count("<script>") == 2


# --- writing and opening ---


def test_a_file_is_replaced_whole_or_not_at_all(page, tmp_path, monkeypatch):
    file = tmp_path / "play.html"
    file.write_text("before")
    assert tw.play().write(file) == file
    assert file.read_text(encoding="utf-8") == page
    with pytest.raises(UsageError, match="there is no folder"):
        tw.play().write(tmp_path / "none" / "play.html")
    with pytest.raises(UsageError, match="is a folder"):
        tw.play().write(tmp_path)

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(ThalwegError, match=r"cannot be written: .*No space"):
        tw.play().write(file)
    monkeypatch.undo()
    assert file.read_text(encoding="utf-8") == page
    assert [*tmp_path.iterdir()] == [file]


OWN = """
import math
from math import cos as other
import thalweg as tw
from thalweg import ops
from thalweg.rules import adam
from thalweg.surfaces import Surface, beale

@tw.rule
def mine(theta, g, t, *, lr=0.1):
    return theta - lr * g

alias = mine
def cup(x, y): return x**4 + y**2
def _hidden(x, y): return x
def other_names(a, b): return a + b
steep = Surface.of(lambda x, y: 9 * x**2 + y**2, name="steep")
"""


def test_a_file_gives_its_rules_its_surfaces_and_its_functions_of_x_and_y(tmp_path, capsys):
    (tmp_path / "own.py").write_text(OWN)
    out = tmp_path / "play.html"
    assert main(["play", str(tmp_path / "own.py"), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"wrote {out}\n"
    text = out.read_text(encoding="utf-8")
    for name in ("mine", "cup", "steep"):
        assert re.search(rf"[\n{{]{name}:{{", text)
    assert "_hidden" not in text
    assert "other_names" not in text


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = 1", "has nothing for the page"),
        ("def", "fails when it is run"),
        (
            "import thalweg as tw\n@tw.rule\ndef bad(w, g, t):\n    return w if g > 0 else g",
            "cannot branch",
        ),
        ("def bad(x, y): return max(x, y)", "ops.where"),
        ("def bad(x, y):\n    import math\n    return math.sin(x)", "thalweg.ops"),
    ],
)
def test_a_file_that_cannot_be_shown_says_why(source, words, tmp_path, capsys):
    file = tmp_path / "own.py"
    file.write_text(source)
    assert main(["play", str(file), "--out", str(tmp_path / "play.html")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "play.html").exists()


def test_a_missing_file_is_named(tmp_path, capsys):
    assert main(["play", str(tmp_path / "none.py")]) == 2
    assert "there is no file" in capsys.readouterr().err


def test_the_page_opens_in_the_browser(monkeypatch, capsys, page):
    opened = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    assert main(["play"]) == 0
    (address,) = opened
    assert Path(address.removeprefix("file://")).read_text(encoding="utf-8") == page
    assert capsys.readouterr().out == ""
    assert tw.play().open()
    assert len(opened) == 2


@pytest.mark.parametrize("screen", [False, True])
def test_where_no_window_opens_the_file_is_named(screen, monkeypatch, tmp_path, capsys, page):
    """And no file of the person's is touched, nor a browser begun that runs in the terminal."""
    asked = []
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    if screen:
        monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.setattr(webbrowser, "open", lambda address: bool(asked.append(address)))
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.chdir(tmp_path)
    assert main(["play"]) == 0
    assert len(asked) == screen
    assert [*tmp_path.iterdir()] == []
    words = capsys.readouterr().out
    assert "open it in a browser" in words
    file = Path(words.removeprefix("wrote ").partition(";")[0])
    assert file.read_text(encoding="utf-8") == page


def test_only_what_a_module_makes_is_found():
    names = {"adam": registry()["adam"], "beale": surfaces.beale, "valley": valley, "log": ops.log}
    assert found_in(names, __name__) == [valley]
