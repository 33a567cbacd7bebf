"""Figures in files: one outlier flattens nothing, and every curve can be told from the others."""

from __future__ import annotations

import copy
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report_sample import summary
from thalweg.plotting import looks, save, spread
from thalweg.records import as_race
from thalweg.report import folders, pictures, ranges

Document = dict[str, Any]


def with_outlier() -> Document:
    """A race in which one optimizer breaks down half way, and another is far behind in the end."""
    document = summary()
    rprop, random = document["optimizers"][16:]
    for name in ("train_loss", "validation_loss"):
        for part in rprop["curve"][name].values():
            part[30:] = [1e5 * value for value in part[30:]]
    for part in random["curve"]["validation_metric"].values():
        part[30:] = [value - 50 for value in part[30:]]
    random["test"] = {"mean": -50.0, "low": -60.0, "high": -40.0}
    random["sensitivity"][3]["validation"]["mean"] = -80.0
    random["expected_best"] = [value - 40 for value in random["expected_best"]]
    return document


def drawn(document: Document) -> dict[str, Any]:
    """The figures of a race by name."""
    race = folders.Found(Path(), as_race(document), {})
    return dict(pictures.figures(race))


def named(ax: Any) -> dict[str, Any]:
    """The curves of a panel by label."""
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def test_the_metric_that_judges_comes_first() -> None:
    labels = [ax.get_ylabel() for ax in drawn(summary(4))["curves"].axes]
    assert labels == ["validation accuracy", "training loss", "validation loss"]


def test_an_outlier_flattens_no_axis() -> None:
    plain, outlier = drawn(summary()), drawn(with_outlier())
    for name in ("curves", "curves_close_up", "sensitivity", "expected_best"):
        for before, after in zip(plain[name].axes, outlier[name].axes, strict=True):
            scale = math.log if after.get_yscale() == "log" else float
            spans = [abs(scale(b) - scale(a)) for a, b in (before.get_ylim(), after.get_ylim())]
            assert spans[1] < 1.5 * spans[0], (name, after.get_ylabel())
    low, high = outlier["results"].axes[0].get_xlim()
    assert high - low < 0.1


def test_what_lies_outside_is_marked() -> None:
    outlier = drawn(with_outlier())
    for name in ("curves", "sensitivity", "expected_best"):
        ax = outlier[name].axes[0]
        marks = [line for line in ax.lines if line.get_label() == "_outside"]
        assert marks, name
        assert all(line.get_ydata()[0] in ax.get_ylim() for line in marks)
    texts = [text.get_text() for text in outlier["curves"].axes[0].texts]
    assert "random ↓" in texts
    assert "rprop ↑" in [text.get_text() for text in outlier["curves"].axes[1].texts]
    assert "← -50" in [text.get_text() for text in outlier["results"].axes[0].texts]


def test_a_higher_is_better_metric_has_no_logarithmic_axis() -> None:
    for figure in (drawn(summary())[name] for name in ("curves", "curves_close_up")):
        assert [ax.get_yscale() for ax in figure.axes] == ["linear", "log", "log"]
    document = as_race(summary(3))
    assert not ranges.may_be_logarithmic(document, ranges.METRIC)
    assert ranges.may_be_logarithmic(document, "train_loss")


def test_a_close_up_holds_all_of_the_better_curves() -> None:
    document = with_outlier()
    for ax in drawn(document)["curves_close_up"].axes:
        low, high = ax.get_ylim()
        better = [e["name"] for e in ranges.better(document["optimizers"])]
        assert len(better) == 13
        for name in better:
            x, y = named(ax)[name].get_data()
            assert x[0] >= 340 == 0.5 * 680
            assert low <= min(y)
            assert max(y) <= high


def test_every_optimizer_looks_as_it_does_everywhere() -> None:
    document = summary()
    expected = looks(e["name"] for e in document["optimizers"])
    figures = drawn(document)
    for name in ("curves", "sensitivity", "expected_best"):
        for ax in figures[name].axes:
            for label, line in named(ax).items():
                assert line.get_color() == expected[label].light
    shown = {line.get_label(): line for line in figures["curves"].axes[0].lines}
    patterns = {(shown[n].get_color(), str(shown[n]._unscaled_dash_pattern)) for n in expected}
    assert len(patterns) == len(expected)


def test_every_curve_has_its_name_at_its_end() -> None:
    for name in ("curves", "expected_best"):
        ax = drawn(summary())[name].axes[0]
        at = {text.get_text(): text.xy[1] for text in ax.texts}
        assert len(at) == 18
        heights = sorted(at.values())
        inches = ax.get_figure().get_size_inches()[1]
        gap = min(b - a for a, b in itertools.pairwise(heights)) * inches
        assert gap > 0.09  # of letters that are 7.5 points high: 0.104 inches


def test_odd_races_are_drawn(tmp_path: Path) -> None:
    nothing = summary(3)
    for entry in nothing["optimizers"]:
        entry["validation"] = entry["test"] = None
        for band in (entry["curve"][k] for k in ("train_loss", "validation_loss")):
            band.update({part: [None] * len(values) for part, values in band.items()})
        for point in entry["sensitivity"]:
            point["validation"] = None
    crowd = summary(1)
    crowd["optimizers"] = [copy.deepcopy(crowd["optimizers"][0]) for _ in range(60)]
    for k, entry in enumerate(crowd["optimizers"]):
        entry["name"] = f"an optimizer with a very long name, number {k} <script>"
    short = summary(2)
    for entry in short["optimizers"]:
        curve = entry["curve"]
        curve["steps"] = curve["steps"][:1]
        for band in (curve[k] for k in curve if k != "steps"):
            band.update({part: values[:1] for part, values in band.items()})
        entry["expected_best"] = entry["expected_best"][:1]
    for document in (nothing, crowd, short, summary(1), summary(0)):
        for name, figure in drawn(document).items():
            save(figure, tmp_path / f"{name}.png")


@given(st.lists(st.floats(-5, 6, allow_nan=False), min_size=1, max_size=40), st.floats(0.001, 0.2))
def test_labels_are_spread(wanted: list[float], gap: float) -> None:
    places = spread(wanted, gap, 0.0, 1.0)
    room = min(gap, 1 / max(1, len(wanted) - 1))
    order = sorted(range(len(wanted)), key=lambda k: wanted[k])
    tolerance = 1e-9  # of sums of forty numbers near 1
    for a, b in itertools.pairwise(order):
        assert places[b] - places[a] >= room - tolerance
    assert min(places) >= -tolerance
    assert max(places) <= 1 + tolerance


def test_labels_with_room_stay_where_they_belong() -> None:
    assert spread([0.9, 0.1, 0.5], 0.1, 0, 1) == [0.9, 0.1, 0.5]
    # Two that want one place share the distance.
    assert spread([0.5, 0.5], 0.1, 0, 1) == pytest.approx([0.45, 0.55])


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        ([0.1, 0.9], {"higher": True}, (0.06, 0.94)),
        # An untrained model scores 0.1: a tenth of the rest is left below it.
        ([-50.0, 0.1, 0.9], {"higher": True, "worst": 0.1}, (-0.024, 0.944)),
        # Where most is worse than that, nothing is cut off.
        ([-5.0, -4.0, -3.0, 0.2], {"higher": True, "worst": 0.1}, (-5.26, 0.46)),
        ([math.nan, None, math.inf], {"higher": True}, None),
        ([-1.0, 0.0], {"higher": False, "log": True}, None),
        ([1.0], {"higher": True}, (0.95, 1.05)),
    ],
)
def test_ranges_of_axes(values: Any, options: Any, expected: Any) -> None:
    found = ranges.shown(values, **options)
    assert found == (None if expected is None else pytest.approx(expected))
