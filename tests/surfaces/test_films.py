"""Surfaces in three dimensions, several in one figure, names at the ends of paths, animations."""

from __future__ import annotations

import itertools
import shutil

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import thalweg as tw
from thalweg import plotting
from thalweg.errors import UsageError
from thalweg.plotting import END, PATH
from thalweg.surfaces import figures
from thalweg.surfaces.trajectory import view_with


def solid():
    return Figure().add_subplot(projection="3d")


def paths_of(axes):
    return [line for line in axes.get_lines() if line.get_gid() == PATH]


def points_of(line):
    return np.array(line.get_data_3d() if hasattr(line, "get_data_3d") else line.get_data())


def test_a_relief_shows_each_point_at_the_height_of_its_loss():
    result = tw.trajectory(["sgd", "adam"], "bowl", (-7, 2), 30, lr={"sgd": 0.9, "adam": 0.3})
    ax = solid()
    assert figures.relief(result, ax) is ax
    for line, path in zip(paths_of(ax), result.paths.values(), strict=True):
        x, y, z = line.get_data_3d()
        assert np.array_equal(np.transpose([x, y]), path.points)
        # Any height is a rising function of the loss alone, and 0 at the minimum.
        order = np.argsort(path.losses)
        assert (np.diff(z[order]) > 0).all()
    marks = {line.get_label(): line.get_data_3d() for line in ax.get_lines()}
    assert [float(c[0]) for c in marks["minimum"]] == [0, 0, 0]
    ticks = dict(zip((t.get_text() for t in ax.get_zticklabels()), ax.get_zticks(), strict=True))
    assert ticks["0"] == 0
    losses = np.concatenate([path.losses for path in result.paths.values()])
    heights = np.concatenate([line.get_data_3d()[2] for line in paths_of(ax)])
    for loss, height in zip(losses, heights, strict=True):
        for name, tick in ticks.items():
            assert (loss > float(name)) == (height > tick)


def test_a_relief_leaves_out_what_lies_outside_the_view():
    result = tw.trajectory("sgd", "bowl", (-7, 2), 30, lr=1.2)
    ax = figures.relief(result, solid())
    low, high = view_with(result.surface, result.start)
    x, y, _ = paths_of(ax)[0].get_data_3d()
    points = np.transpose([x, y])
    drawn = points[np.isfinite(points).all(axis=1)]
    assert 1 < len(drawn) < result["sgd"].diverged_at
    assert ((low <= drawn) & (drawn <= high)).all()


def test_the_axes_decide_whether_a_trajectory_is_flat():
    result = tw.trajectory("sgd", "saddle", steps=3, lr=0.1)
    ax = solid()
    assert result.plot(ax) is ax
    assert ax.get_zlabel() == "loss"
    flat = Figure().add_subplot()
    assert result.plot(flat) is flat
    with pytest.raises(UsageError, match='projection="3d"'):
        figures.relief(result, flat)


@pytest.mark.parametrize("function", [lambda x, y: 0 * x + 0 * y, lambda x, y: tw.ops.log(x) + y])
def test_odd_surfaces_have_a_relief(function, tmp_path):
    result = tw.trajectory("sgd", function, (1, 1), 3, lr=0.1)
    file = plotting.save(figures.figure(result, three_d=True), tmp_path / "odd.png")
    assert file.stat().st_size > 0


@pytest.mark.parametrize("three_d", [False, True])
def test_a_path_that_ends_in_view_where_there_is_no_value_is_drawn(three_d, tmp_path):
    result = tw.trajectory("sgd", lambda x, y: tw.ops.sqrt(x) + y**2, (1, 1), 20, lr=0.2)
    path = result["sgd"]
    assert path.diverged_at is not None
    assert np.isfinite(path.points[path.diverged_at]).all()
    file = plotting.save(figures.figure(result, three_d=three_d), tmp_path / "odd.png")
    assert file.stat().st_size > 0


@pytest.mark.parametrize("three_d", [False, True])
def test_several_surfaces_stand_in_one_figure_each_with_its_legend(three_d, tmp_path):
    several = [
        tw.trajectory(["sgd", "adam"], name, steps=10, lr=0.01) for name in ("bowl", "beale")
    ]
    drawn = figures.figure(*several, three_d=three_d)
    titles = [ax.get_title() for ax in drawn.axes if ax.get_title()]
    assert titles == [each.header for each in several]
    assert [ax.name for ax in drawn.axes] == ["3d" if three_d else "rectilinear", "rectilinear"] * 2
    legends = [part.legends[0] for part in drawn.subfigs]
    assert all("sgd  lr 0.01" in {t.get_text() for t in each.get_texts()} for each in legends)
    assert plotting.save(drawn, tmp_path / "two.png").stat().st_size > 0
    with pytest.raises(UsageError, match="one or more"):
        figures.figure()


def test_every_path_has_its_name_at_its_end_and_no_name_hides_another():
    names = ["sgd", "momentum", "adam", "rmsprop", "adagrad", "nesterov"]
    result = tw.trajectory(names, "bowl", (-7, 2), 100)
    assert max(path.distance for path in result.paths.values()) < 1, "all end close together"
    drawn = figures.figure(result)
    drawn.draw_without_rendering()
    for ax in drawn.axes:
        texts = [text for text in ax.texts if text.get_gid() == END]
        assert [text.get_text().rstrip(" ↓") for text in texts] == names
        # An annotation's own extent holds its line to the point; the text is what must be free.
        centres = sorted(ax.transAxes.transform((0, text.xyann[1]))[1] for text in texts)
        line = 0.8 * plotting.LINE * drawn.dpi  # the layout leaves a panel a little less room
        assert all(b - a > line for a, b in itertools.pairwise(centres))
        assert len({text.get_color() for text in texts}) == len(names)


def test_names_are_drawn_as_they_are():
    ax = Figure().add_subplot()
    look = {"color": "black", "linestyle": "-"}
    plotting.label_points(ax, [plotting.End("a$b$", (0.5, 0.5), look)])
    plotting.label_curves(ax, [plotting.End("_x", 2.0, look)])
    assert [text.get_text() for text in ax.texts] == [r"a\$b\$", "x ↑"]


@pytest.mark.parametrize("three_d", [False, True])
def test_an_animation_grows_to_the_picture_and_leaves_the_figure_as_it_was(three_d, tmp_path):
    result = tw.trajectory(["sgd", "adam"], "bowl", (-7, 2), 6, lr=0.3)
    drawn = figures.figure(result, three_d=three_d)
    before = [points_of(line) for ax in drawn.axes for line in paths_of(ax)]
    file = plotting.save_film(drawn, tmp_path / "film.gif", dpi=40)
    with Image.open(file) as film:
        assert film.n_frames == 7 + 1  # a frame per point, and the last one, which has the names
        assert film.info["loop"] == 0
        pictures, durations = [], []
        for k in range(film.n_frames):
            film.seek(k)
            pictures.append(np.asarray(film.convert("RGB"), dtype=int))
            durations.append(film.info["duration"])
    assert durations[-1] >= 1000 > durations[0]
    assert all((a != b).any() for a, b in itertools.pairwise(pictures))
    drawn.savefig(tmp_path / "whole.png", dpi=40)
    with Image.open(tmp_path / "whole.png") as whole:
        expected = np.asarray(whole.convert("RGB"), dtype=int)
    (tmp_path / "whole.png").unlink()
    for look in plotting.looks(["sgd", "adam"]).values():
        colour = np.array([int(look.light[k : k + 2], 16) for k in (1, 3, 5)])
        drawn_as, filmed_as = (
            np.abs(picture - colour).max(axis=-1).min() for picture in (expected, pictures[-1])
        )
        assert filmed_as < drawn_as + 20, "thin lines keep their colours"
    after = [points_of(line) for ax in drawn.axes for line in paths_of(ax)]
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(before, after, strict=True))
    assert all(artist.get_visible() for artist in drawn.findobj() if artist.get_gid() == END)
    assert [p.name for p in tmp_path.iterdir()] == ["film.gif"]


def test_long_and_diverged_paths_are_animated_in_a_bounded_number_of_frames(tmp_path):
    result = tw.trajectory(["sgd", "adam"], "bowl", (-7, 2), 150, lr={"sgd": 1e9, "adam": 0.3})
    ax = Figure(figsize=(2, 2)).add_subplot()
    result.plot(ax)
    with Image.open(plotting.save_film(ax.figure, tmp_path / "a.gif", dpi=20)) as film:
        assert film.n_frames <= 101


@pytest.mark.skipif(shutil.which("ffmpeg") is not None, reason="ffmpeg is installed")
def test_a_film_without_its_program_names_the_program(tmp_path):
    with pytest.raises(UsageError, match=r"needs the program ffmpeg.*or write a \.gif"):
        plotting.save_film(Figure(), tmp_path / "a.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_a_film_is_written_by_ffmpeg(tmp_path):
    result = tw.trajectory("sgd", "bowl", steps=3, lr=0.3)
    assert plotting.save_film(figures.figure(result), tmp_path / "a.mp4").stat().st_size > 0


def test_a_failed_film_leaves_the_old_one_and_the_figure(tmp_path, monkeypatch):
    (tmp_path / "old.gif").write_bytes(b"old")
    drawn = figures.figure(tw.trajectory("sgd", "bowl", steps=3, lr=0.3))
    save, calls = Figure.savefig, itertools.count()

    def full(figure, *args, **options):
        if next(calls) == 2:
            raise OSError(28, "No space left on device")
        return save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(OSError, match="No space left"):
        plotting.save_film(drawn, tmp_path / "old.gif", dpi=20)
    assert (tmp_path / "old.gif").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["old.gif"]
    assert all(len(line.get_xdata()) == 4 for ax in drawn.axes for line in paths_of(ax))
    assert drawn.get_layout_engine() is not None
