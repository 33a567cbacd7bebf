"""`thalweg race` on a terminal: the table, and the progress while it races."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from thalweg.racing import run
from thalweg.racing.progress import Progress
from thalweg.records import as_race
from thalweg.report import terminal
from thalweg.training.execution.plan import ExecutionPlan

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[2]
SMALL = ["--optimizers", "sgd,adam", "--budget", "2", "--seeds", "2", "--epochs", "1"]


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty current folder, and no need to measure how to run."""
    monkeypatch.setattr(run, "choose", lambda *args: ExecutionPlan("lanes", 8, 1, 1, 10.0, 40.0))
    monkeypatch.chdir(tmp_path)
    return tmp_path


# The table.


def interval(mean: float, half: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - half, "high": mean + half}


def example(names: list[str], tied: int) -> dict[str, Any]:
    entries = [
        {
            "name": name,
            "rank": 1 if k < tied else k + 1,
            "tied": k < tied,
            "learning_rate": 3e-4 * 10**k,
            "edge": k == 1,
            "good_range": {"decades": 0.5 * k},
            "validation": interval(0.98 - 0.01 * k, 0.0021),
            "test": interval(0.97 - 0.01 * k, 0.003),
            "steps_to_target": None if k else 34.5,
            "ms_per_step": 0.123 * k,
            "diverged": k / 7,
            "diverged_tuning": k / 7,
            "diverged_final": k / 10,
        }
        for k, name in enumerate(names)
    ]
    return {
        "schema": "thalweg.race/1",
        "task": "x",
        "setting": {
            "metric": {"name": "accuracy", "higher_is_better": True},
            "executor": "runs in a dream",
            "seeds": 10,
        },
        "optimizers": entries,
        "runs": 1234,
        "seconds": 61.4,
        "verdict": {"best": names[:tied], "sentence": "On x, a [b] is best.", "code": "opt(lr=1)"},
    }


def test_the_table_shows_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    shown = terminal.table(as_race(example(["nadam", "adam", "rmsprop_centered"], tied=2)))
    rows = [line.split() for line in shown.splitlines()]
    nadam = "1= nadam 0.0003 0.0 0.9800 ± 0.0021 0.9700 ± 0.0030 34.5 0 % 0 % 0.00"
    adam = "1= adam 0.003 edge 0.5 0.9700 ± 0.0021 0.9600 ± 0.0030 never 14 % 10 % 0.12"
    assert nadam.split() in rows
    assert adam.split() in rows
    third = next(row for row in rows if "rmsprop_centered" in row)
    assert third[:2] == ["3", "rmsprop_centered"]
    assert "On x, a [b] is best." in shown  # brackets are no markup
    assert "    opt(lr=1)" in shown.splitlines()
    assert "1,234 runs in 61" in shown


def test_a_sole_winner_has_no_equals_sign_and_no_code_leaves_no_gap() -> None:
    document = example(["nadam", "adam"], tied=1)
    document["verdict"]["code"] = None
    shown = terminal.table(as_race(document))
    assert "1=" not in shown
    assert "None" not in shown


@pytest.mark.parametrize("columns", [100, 120, 200])
def test_the_table_fits_the_terminal_a_line_to_a_row(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    names = ["rmsprop_centered", "adam", "random_search"]
    shown = terminal.table(as_race(example(names, tied=2))).splitlines()
    assert max(map(len, shown)) <= columns
    assert not any(line != line.rstrip() for line in shown)
    rows = [line for line in shown if any(f" {name} " in line for name in names)]
    assert len(rows) == 3
    assert all(line.count("±") == 2 for line in rows)


# Progress.


class Terminal(io.StringIO):
    """A terminal as far as rich can tell."""

    def isatty(self) -> bool:
        return True


def test_the_bar_covers_the_whole_race_and_shrinks_with_what_is_not_needed() -> None:
    with Progress(Terminal()) as progress:
        progress.stage("measuring")
        (task,) = progress.bars.tasks
        assert task.total is None
        progress.stage("learning rates", 100, later=300)
        progress.advance(50)
        assert (task.completed, task.total) == (50, 400)
        progress.advance(50)
        progress.stage("fresh seeds", 100, later=0)
        assert (task.completed, task.total) == (100, 200)
        assert task.description == "fresh seeds"


def test_a_reader_of_progress_that_leaves_does_not_end_the_race(here: Path) -> None:
    program = here / "program.py"
    program.write_text(
        "import sys\nfrom thalweg.cli import main\n"
        "if __name__ == '__main__':\n    sys.exit(main(['race', *sys.argv[1:]]))\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        ["bash", "-c", '"$@" 2> >(true)', "bash", sys.executable, program, "wine-mlp", *SMALL],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0
    assert "sgd" in done.stdout
    assert (here / "races/wine-mlp/race.json").exists()


def test_on_a_terminal_progress_is_live_and_leaves_only_the_table(here: Path) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "thalweg", "race", "wine-mlp", *SMALL[:-1], "40"],
        stdout=slave,
        stderr=slave,
        stdin=slave,
        cwd=here,
        env={
            **os.environ,
            "TERM": "xterm",
            "COLUMNS": "120",
            "LINES": "40",
            "OMP_NUM_THREADS": "1",
        },
    )
    os.close(slave)
    seen = b""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if not select.select([master], [], [], 1.0)[0]:
            continue
        try:
            chunk = os.read(master, 65536)
        except OSError:  # the other side has closed
            break
        seen += chunk
    os.close(master)
    assert process.wait(timeout=10) == 0
    text = seen.decode("utf-8", errors="replace")
    assert "learning rates: 8 runs" in text
    assert re.search(r"\d:\d\d:\d\d.*left", text)
    assert "\x1b[?25l" in text  # the cursor is hidden while the bar moves
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # and shown again
    final = "\n".join(screen(text))
    assert "left" not in final
    assert "runs of" not in final
    assert "rank optimizer" in final
    assert final.count("report: ") == 1


def screen(text: str) -> list[str]:
    """What a terminal shows after all this: the few controls that progress bars use."""
    lines, row, column = [""], 0, 0
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+|\x1b", text):
        if token == "\n":
            row += 1
            lines += [""] * (row - len(lines) + 1)
        elif token == "\r":
            column = 0
        elif token.startswith("\x1b["):
            number = int(re.sub(r"\D", "", token) or 1)
            if token.endswith("A"):
                row = max(0, row - number)
            elif token.endswith("K") and number == 2:
                lines[row] = ""
        else:
            lines[row] = (
                lines[row].ljust(column)[:column] + token + lines[row][column + len(token) :]
            )
            column += len(token)
    return lines
