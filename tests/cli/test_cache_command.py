"""`thalweg cache`: what it shows, removes and leaves; and programs that run meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from thalweg import cli
from thalweg.engines import cache

KERNEL, SOURCE = "adam-float32-0123456789abcdef.o", "adam-float32-0123456789abcdef.py"
DRAFT = f".{KERNEL}.01234567"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with a kernel, its source, an old and a new draft, and files of other people."""
    place = tmp_path / "cache"
    monkeypatch.setenv("THALWEG_CACHE", str(place))
    place.mkdir(mode=0o700)
    for name in (KERNEL, SOURCE, DRAFT, f".{SOURCE}.89abcdef", "thesis.py", "notes-1.o"):
        (place / name).write_bytes(b"12345")
    os.utime(place / DRAFT, (0, 0))
    (place / "data-0123456789abcdef.py").mkdir()
    return place


def test_the_cache_is_shown_and_emptied_of_what_is_ours(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["cache"]) == 0
    assert capsys.readouterr().out == f"{folder} (THALWEG_CACHE): 3 files, 0.0 MB\n"
    assert cli.main(["cache", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == {"folder": str(folder), "files": 3, "bytes": 15}
    assert cli.main(["cache", "--clear"]) == 0
    assert capsys.readouterr().out == f"{folder} (THALWEG_CACHE): removed 3 files, 0.0 MB\n"
    left = {path.name for path in folder.iterdir()}
    assert left == {f".{SOURCE}.89abcdef", "thesis.py", "notes-1.o", "data-0123456789abcdef.py"}
    assert cli.main(["cache", "--clear", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["removed"] == 0


def test_a_folder_that_is_not_there_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("THALWEG_CACHE", str(tmp_path / "none"))
    assert cli.main(["cache"]) == cli.main(["cache", "--clear"]) == 0
    assert "0 files, 0.0 MB" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()
    monkeypatch.delenv("THALWEG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cli.main(["cache"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'thalweg'}: 0 files, 0.0 MB\n"


def test_a_file_that_another_process_removed_first_is_no_failure(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = list(cache.files())
    (folder / KERNEL).unlink()
    monkeypatch.setattr(cache, "files", lambda: iter(listed))
    assert cache.clear() == (2, 10)


WORK = """
import sys, warnings
warnings.simplefilter("error")
import torch
from thalweg import optim
from thalweg.engines.numba import launch
for name in ["SGD", "Adam"] * 2:
    launch.KERNELS.clear()
    theta = torch.nn.Parameter(torch.ones(1000))
    theta.grad = torch.ones(1000)
    getattr(optim, name)([theta], lr=0.1).step()
    assert (theta != 1).all()
print("done")
"""


def test_programs_that_compile_and_load_go_on_while_the_cache_is_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THALWEG_CACHE", str(tmp_path))
    tmp_path.chmod(0o700)
    worker = subprocess.Popen(
        [sys.executable, "-c", WORK],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    removed = 0
    while worker.poll() is None:
        removed += cache.clear()[0]
        time.sleep(0.01)
    out, err = worker.communicate()
    assert (out, err, worker.returncode) == ("done\n", "", 0)
    assert removed >= 4
