"""Figures and the `draw` command: what is on the Axes, in the file and on the terminal."""

from __future__ import annotations

import argparse
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

import thalweg as tw
from thalweg import ops, plotting, rules, surfaces
from thalweg.cli import draw
from thalweg.cli.load import load_rule
from thalweg.errors import UsageError
from thalweg.rules import registry
from thalweg.surfaces import figures

RULE_FILE = """\
import thalweg as tw
from thalweg.rules import adam

@tw.rule
def mine(theta, g, t, *, lr=0.1):
    return theta - lr * g
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*words: str) -> int:
    parser = argparse.ArgumentParser(prog="thalweg")
    draw.add(parser.add_subparsers())
    args = parser.parse_args(["draw", *words])
    return args.run(args)


def axes():
    return Figure().add_subplot()


def lines(ax):
    return {line.get_label(): line for line in ax.get_lines()}


def test_contours_show_every_path_with_its_rate_and_its_end():
    result = tw.trajectory(["sgd", "adam"], "bowl", (-7, 2), 30, lr={"sgd": 1.2, "adam": 0.3})
    ax = axes()
    assert figures.contours(result, ax) is ax
    drawn = lines(ax)
    assert np.array_equal(drawn["adam  lr 0.3"].get_xydata(), result["adam"].points)
    sgd = drawn["sgd  lr 1.2, diverged at step 12"].get_xydata()
    assert np.array_equal(sgd[:12], result["sgd"].points[:12])
    assert drawn["start"].get_xydata().tolist() == [[-7, 2]]
    assert drawn["minimum"].get_xydata().tolist() == [[0, 0]]
    shown = {text.get_text() for text in ax.get_legend().get_texts()}
    assert {"adam  lr 0.3", "sgd  lr 1.2, diverged at step 12", "start", "minimum"} <= shown
    assert ax.get_xlim() == (-10, 10)
    assert ax.get_title() == "bowl from (-7, 2), 30 steps"


def test_contour_levels_are_even_in_the_logarithm_and_begin_at_the_minimum():
    ax = figures.contours(tw.trajectory("sgd", "rosenbrock", lr=1e-3), axes())
    filled = ax.collections[0].levels
    assert filled[0] == 0
    ratios = filled[2:] / filled[1:-1]
    assert ratios == pytest.approx(np.full(len(ratios), ratios[0]))
    assert filled[1] < 1 < 1e3 < filled[-1]


def test_the_view_widens_to_hold_the_start():
    ax = figures.contours(tw.trajectory("sgd", "bowl", (20, 1), lr=0.1), axes())
    assert ax.get_xlim()[0] == -10
    assert ax.get_xlim()[1] > 20


def test_losses_are_heights_above_the_minimum():
    result = tw.trajectory(["sgd", "adam"], "styblinski-tang", steps=20, lr=0.01)
    ax = figures.losses(result, axes())
    assert ax.get_yscale() == "log"
    heights = lines(ax)["adam  lr 0.01"].get_ydata()
    assert heights == pytest.approx(result["adam"].losses + 78.33233140754282)
    unbounded = tw.trajectory("sgd", "saddle", steps=20, lr=0.01)
    ax = figures.losses(unbounded, axes())
    assert ax.get_yscale() == "linear"
    assert lines(ax)["sgd  lr 0.01"].get_ydata() == pytest.approx(unbounded["sgd"].losses)


def test_a_diverged_path_flattens_no_other():
    result = tw.trajectory(["sgd", "adam"], "bowl", (-7, 2), 30, lr={"sgd": 1e9, "adam": 0.3})
    top = figures.losses(result, axes()).get_ylim()[1]
    assert result["sgd"].final_loss > 1e15
    assert top <= 1e3 * 6.45 * 1.001


@pytest.mark.parametrize(
    "function",
    [lambda x, y: 0 * x + 0 * y, lambda x, y: ops.log(x) + y**2, lambda x, y: x],
    ids=["flat", "undefined in part", "tilted"],
)
def test_odd_surfaces_can_be_drawn(function, tmp_path):
    result = tw.trajectory("sgd", function, (1, 1), 3, lr=0.1)
    assert plotting.save(figures.figure(result), tmp_path / "odd.png").stat().st_size > 0


def test_every_rule_has_a_look_of_its_own_that_stays():
    looks = {name: plotting.style(name) for name in registry()}
    assert len({str(look) for look in looks.values()}) == len(looks)
    own = plotting.style("mine", 0), plotting.style("other", 1)
    assert own[0] != own[1]
    assert not any(look in looks.values() for look in own)
    alone = lines(figures.losses(tw.trajectory("adam", "bowl", steps=3, lr=0.1), axes()))
    beside = lines(figures.losses(tw.trajectory(["lion", "adam"], "bowl", steps=3, lr=0.1), axes()))
    label = "adam  lr 0.1"
    assert alone[label].get_color() == beside[label].get_color() == looks["adam"]["color"]


def test_a_figure_is_made_without_touching_the_users_plots(tmp_path):
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    plotting.save(figures.figure(tw.trajectory("sgd", "bowl", steps=2, lr=0.1)), tmp_path / "a.pdf")
    assert pyplot.get_fignums() == before
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_the_legend_below_the_panels_fits_the_figure():
    names = list(registry())
    for rate in (0.02, 20.0):
        figure = figures.figure(tw.trajectory(names, "rosenbrock", steps=5, lr=rate))
        figure.draw_without_rendering()
        box = figure.legends[0].get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.width
        assert figure.axes[0].get_window_extent().height > 200


def test_draw_writes_a_picture_and_says_where_and_how_each_ended(folder, capsys):
    assert (
        command(
            "beale",
            "adam",
            "sgd",
            "--start",
            "3,4",
            "--steps",
            "20",
            "--lr",
            "adam=0.05,sgd=1",
            "--out",
            "b.png",
        )
        == 0
    )
    out = capsys.readouterr().out.splitlines()
    expected = tw.trajectory(["adam", "sgd"], "beale", (3, 4), 20, lr={"adam": 0.05, "sgd": 1.0})
    assert out == ["wrote b.png", *str(expected).splitlines()]
    assert "diverged at step 1" in out[-1]
    picture = matplotlib.image.imread(folder / "b.png")
    assert picture.shape[0] > 300
    assert picture[..., :3].std() > 0.05
    assert [p.name for p in folder.iterdir()] == ["b.png"]


def test_a_start_may_begin_with_a_minus_and_the_file_is_named_for_the_surface(folder, capsys):
    assert command("bowl", "sgd", "--start", "-7,2", "--lr", "0.95", "--steps", "30") == 0
    assert "bowl from (-7, 2), 30 steps" in capsys.readouterr().out
    assert command("bowl", "sgd", "--start", "-.5,-2", "--lr", "0.95") == 0
    assert (folder / "bowl.png").exists()


def test_draw_takes_several_surfaces_in_three_dimensions_and_animates(folder, capsys):
    assert command("bowl,beale", "sgd", "--lr", "0.01", "--steps", "3", "--3d") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "wrote bowl-beale.png"
    assert sum(line.startswith("optimizer ") for line in out) == 2
    heights = [matplotlib.image.imread(folder / "bowl-beale.png").shape[0]]
    assert command("bowl", "sgd", "--lr", "0.01", "--steps", "3", "--3d") == 0
    heights.append(matplotlib.image.imread(folder / "bowl.png").shape[0])
    assert heights[0] == 2 * heights[1]
    assert command("bowl", "sgd", "--lr", "0.01", "--steps", "2", "--out", "b.GIF") == 0
    assert (folder / "b.GIF").read_bytes().startswith(b"GIF89a")


def test_draw_lists_the_surfaces(capsys):
    assert command("--list") == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == list(surfaces.registry())


def test_rules_come_from_files(folder, capsys):
    (folder / "rules_of_mine.py").write_text(RULE_FILE)
    mine = load_rule("rules_of_mine.py:mine")
    assert mine.name == "mine"
    assert mine(1.0, 2.0, 1, lr=0.25) == (0.5,)
    assert load_rule(f"{folder}/rules_of_mine.py").name == "mine"
    assert load_rule("rules_of_mine.py:adam") is rules.adam
    assert load_rule("adam") is rules.adam
    assert command("bowl", "rules_of_mine.py", "sgd", "--lr", "0.5", "--out", "own.svg") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[3:]]
    assert rows[0][0] == "mine"
    assert rows[0][1:] == rows[1][1:], "it is plain descent under another name"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("adma", "did you mean adam"),
        ("nowhere.py:mine", "no file 'nowhere.py'"),
        ("mine.py:meine", "did you mean mine"),
        ("broken.py", "SyntaxError"),
        ("broken.py:x", "SyntaxError"),
        ("empty.py", "makes no rule"),
        ("empty.py:x", "makes no rule"),
        ("two.py", "two.py:mine or :second"),
        ("bad.py", "last the step number t"),
    ],
)
def test_a_rule_that_cannot_be_loaded_says_why(folder, spec, words):
    second = "\nsecond = tw.rules.maximize(mine)\n"
    bad = "import thalweg as tw\n@tw.rule\ndef bad(theta):\n    return theta\n"
    for name, text in {
        "mine": RULE_FILE,
        "broken": "def",
        "empty": "x = 1",
        "two": RULE_FILE + second,
        "bad": bad,
    }.items():
        (folder / f"{name}.py").write_text(text)
    with pytest.raises(UsageError) as caught:
        load_rule(spec)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bealle", "adam"], "did you mean beale"),
        (["beale", "adma"], "did you mean adam"),
        (["beale"], "name one or more optimizers"),
        (["beale,bowll", "adam"], "did you mean bowl"),
        (["beale,", "adam"], "no surface named ''"),
        (["beale", "adam", "--out", "there/a.gif"], "no folder 'there'"),
        ([], "--list"),
        (["beale", "adam", "--lr", "nan"], "lr of adam=nan"),
        (["beale", "adam", "--lr", "sgd=1"], "lr names 'sgd'"),
        (["beale", "adam", "--steps", "0"], "steps=0"),
        (["beale", "adam", "--start", "inf,0"], "start=(inf, 0.0)"),
        (["beale", "adam", "--noise", "-1"], "noise=-1.0"),
        (["beale", "adam", "--out", "a.docx"], "must end in a picture's format"),
        (["beale", "adam", "--out", "there/a.png"], "no folder 'there'"),
        (["beale", "adam", "--out", "taken.png"], "is a folder"),
    ],
)
def test_wrong_usage_is_refused_and_leaves_nothing(folder, words, message):
    (folder / "taken.png").mkdir()
    with pytest.raises(UsageError) as caught:
        command(*words)
    assert message in str(caught.value)
    assert [p.name for p in folder.iterdir()] == ["taken.png"]


@pytest.mark.parametrize(
    "words",
    [["--start", "3"], ["--start", "a,b"], ["--lr", "fast"], ["--lr", "adam=x"], ["--steps", "x"]],
)
def test_malformed_options_are_refused_by_the_parser(words, capsys):
    with pytest.raises(SystemExit) as caught:
        command("beale", "adam", *words)
    assert caught.value.code == 2
    assert words[1] in capsys.readouterr().err


def test_a_failed_write_leaves_the_old_picture(folder, monkeypatch):
    (folder / "old.png").write_bytes(b"old")

    def full(*args, **options):
        args[1].write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(OSError, match="No space left"):
        plotting.save(Figure(), "old.png")
    assert (folder / "old.png").read_bytes() == b"old"
    assert [p.name for p in folder.iterdir()] == ["old.png"]


def test_help_costs_no_framework():
    code = (
        "import sys; import thalweg.cli.draw, thalweg.surfaces;"
        "print({'torch', 'numpy', 'matplotlib', 'numba'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("name", "home"), [("contours", figures), ("figure", figures), ("style", plotting)]
)
def test_the_old_names_of_figures_hold_for_one_version(name, home):
    from thalweg.report import figures as old

    with pytest.warns(DeprecationWarning, match=f"is now {home.__name__}.{name}"):
        assert getattr(old, name) is getattr(home, name)
    with pytest.raises(AttributeError, match="no attribute 'curve'"):
        old.curve  # noqa: B018
