"""docs/gallery.md: its code runs as it stands, and its pictures are there and small."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
PICTURES = re.findall(r"\]\((images/[^)]+)\)", PAGE)


def test_the_code_of_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    open_before = plt.get_fignums()
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.S | re.M)
    assert len(blocks) == 4
    exec(compile("\n".join(blocks), "gallery", "exec"), {"__name__": "gallery"})
    written = {path.name for path in tmp_path.iterdir() if path.is_file()}
    pictures = {"ravine.png", "ravine.gif", "around.png", "between.png", "raced.png"}
    assert written == {*pictures, "around.npz"}
    assert "adam: ends at loss" in capsys.readouterr().out
    assert plt.get_fignums() == open_before


@pytest.mark.parametrize("picture", PICTURES)
def test_pictures_are_small(picture):
    assert (ROOT / "docs" / picture).stat().st_size < 150_000


def test_every_picture_has_its_script(monkeypatch):
    gallery = runpy.run_path(str(ROOT / "examples" / "gallery.py"))
    monkeypatch.setitem(gallery["network"].__globals__, "STEPS", 10)
    drawn = {**gallery["surfaces"](), **gallery["network"]()}
    assert {f"images/{name}.png" for name in drawn} | {"images/ravine.gif"} == set(PICTURES)
    assert gallery["film"]().axes
