"""A person's own code on the command line: it prints, warns, ends the program, and is drawn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import thalweg as tw
from thalweg import cli
from thalweg.errors import UsageError
from thalweg.plotting import check_file

TALKATIVE = """
import numpy as np
import torch
import thalweg as tw
from torch import nn

print("reading data")

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(4, 2))
    def forward(self, x):
        print("forward")
        # embedding_bag has no batching rule in torch, which says so in a warning
        return nn.functional.embedding_bag(x.long(), self.table)

rng = np.random.default_rng(0)
x = rng.integers(0, 4, size=(60, 3))
task = tw.Task(model=Net, train=(x.astype(float), (x[:, 0] > 1).astype(int)))
"""

PROGRAM = """
import sys
from thalweg.cli import main
from thalweg.racing import run
from thalweg.training.execution.plan import ExecutionPlan
if {processes}:
    run.choose = lambda *args: ExecutionPlan("processes", 1, 2)
if __name__ == "__main__":
    sys.exit(main())
"""

SMALL = ["--optimizers", "sgd,adam", "--budget", "2", "--seeds", "2", "--epochs", "1", "--json"]


@pytest.mark.parametrize("processes", [False, True])
def test_what_a_task_prints_and_torch_warns_of_is_no_result(
    processes: bool, tmp_path: Path
) -> None:
    (tmp_path / "task.py").write_text(TALKATIVE, encoding="utf-8")
    (tmp_path / "program.py").write_text(PROGRAM.format(processes=processes), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "program.py", "race", "task.py", *SMALL],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["task"] == "task"  # one document, and nothing else
    assert "reading data" in done.stderr
    assert "batching rule" not in done.stderr


ENDS = {
    "at once": "import sys\nprint('hello')\nsys.exit(3)\n",
    "as the model is built": "import sys, torch, thalweg as tw\n"
    "data = torch.ones(20, 1), torch.ones(20)\n"
    "task = tw.Task(model=lambda: sys.exit('no model'), train=data)\n",
    "as it trains": "import sys, torch, thalweg as tw\n"
    "def loss(outputs, targets):\n"
    "    sys.exit('no loss')\n"
    "task = tw.Task(model=lambda: torch.nn.Linear(1, 1), loss=loss,\n"
    "               train=(torch.ones(20, 1), torch.ones(20, 1)))\n",
}


@pytest.mark.parametrize("when", ENDS)
def test_a_task_that_ends_the_program_is_said_in_one_line(
    when: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ends.py").write_text(ENDS[when], encoding="utf-8")
    assert cli.main(["race", "ends.py", *SMALL]) in (1, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert "ends.py:" in err.splitlines()[-1]
    assert "SystemExit" in err.splitlines()[-1]
    assert "Traceback" not in err


# A surface of one's own, and pictures.

SURFACE = """
import thalweg as tw
from thalweg.ops import exp

def f(x, y):
    return x**2 + 3 * y**2 + exp(-x)

def bad(x, y):
    raise ValueError("no value")

bowl = tw.surfaces.Surface.of(f, name="my-bowl", view=(-1, 1, -1, 1))
"""


def test_a_function_of_ones_own_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(SURFACE, encoding="utf-8")
    assert cli.main(["draw", "own.py:f", "adam", "sgd", "--view", "-2,2,-1,3", "--steps", "5"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("wrote f.png\nf from (-1.4, 2.2), 5 steps")
    assert Path("f.png").stat().st_size > 10_000
    assert cli.main(["draw", "own.py:bowl", "adam", "--start", "0.5,0.5", "--out", "b.svg"]) == 0
    assert "my-bowl from (0.5, 0.5)" in capsys.readouterr().out
    for arguments, said in (
        (["own.py", "adam"], "name the function of two variables in own.py: own.py:f or :bad"),
        (["own.py:g", "adam"], "no function in own.py named 'g'"),
        (["own.py:bad", "adam"], "surface 'bad' cannot be differentiated: no value"),
        (["none.py:f", "adam"], "there is no file 'none.py'"),
        (["own.py:f", "adam", "--view", "2,-2,0,1"], "view=(2.0, -2.0, 0.0, 1.0) is empty"),
    ):
        assert cli.main(["draw", *arguments]) == 2
        assert said in capsys.readouterr().err


def test_paths_are_plotted_on_axes_of_ones_own_or_new_ones() -> None:
    from matplotlib.figure import Figure

    walked = tw.trajectory(["adam", "sgd"], "beale", steps=5)
    ax = Figure().subplots()
    assert walked.plot(ax) is ax
    assert len(ax.get_lines()) >= 2
    assert walked.plot().figure is not ax.figure


@pytest.mark.parametrize("ending", ["png", "SVG", "pdf"])
def test_the_formats_that_a_message_names_are_taken(ending: str, tmp_path: Path) -> None:
    assert check_file(tmp_path / f"picture.{ending}") == tmp_path / f"picture.{ending}"


@pytest.mark.parametrize("ending", ["jpg", "eps", "tif", "webp", "svgz", "raw", "pgf", "", "txt"])
def test_and_no_others(ending: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must end in a picture's format: .png, .svg or .pdf"):
        check_file(tmp_path / f"picture.{ending}")
