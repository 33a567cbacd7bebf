"""`thalweg race`: what goes to which stream, the table, bad input, folders, a real terminal."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thalweg import cli
from thalweg.cli import task_list
from thalweg.racing import multitask, run
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


@pytest.fixture
def thalweg(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command line: exit code, stdout and stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(["race", *arguments])
        return (code, *capsys.readouterr())

    return call


Call = Callable[..., tuple[int, str, str]]


# Streams and files.


def test_json_prints_exactly_one_document(thalweg: Call, here: Path) -> None:
    code, out, err = thalweg("wine-mlp", *SMALL, "--json")
    assert code == 0
    document = json.loads(out)
    assert out.count("\n") == 1
    assert document["schema"] == "thalweg.race/1"
    assert [e["name"] for e in document["optimizers"]]
    assert document == json.loads((here / "races/wine-mlp/race.json").read_text(encoding="utf-8"))
    assert (here / "races/wine-mlp/report.html").stat().st_size > 10_000
    assert err.splitlines()[-1] == f"report: {Path('races/wine-mlp/report.html')}"


def test_without_a_terminal_progress_is_plain_lines_on_stderr(thalweg: Call) -> None:
    code, out, err = thalweg("wine-mlp", *SMALL)
    assert code == 0
    assert "\x1b" not in out + err
    lines = err.splitlines()
    assert lines[0] == "measuring the fastest way to run"
    assert lines[1].startswith("up to 8 runs together as lanes of one stacked model, 1 thread:")
    assert "learning rates: 8 runs of 7 steps" in lines
    assert "fresh seeds: 4 runs of 7 steps" in lines
    assert lines[-2] == "time per step"


def test_a_warning_of_a_run_is_one_line_of_the_progress() -> None:
    stream = io.StringIO()
    with Progress(stream), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("adam at {'lr': 1.0}, seed 3, fails", RuntimeWarning, stacklevel=1)
    assert stream.getvalue() == "adam at {'lr': 1.0}, seed 3, fails\n"


def test_a_finished_race_says_no_stage_again(thalweg: Call) -> None:
    _, first, _ = thalweg("wine-mlp", *SMALL)
    code, again, err = thalweg("wine-mlp", *SMALL)
    assert code == 0
    assert "runs of" not in err
    # The same but for times and the line of the way to run.
    assert (
        re.sub(r"\d+\.\d\d\n", "\n", again).splitlines()[:7]
        == (re.sub(r"\d+\.\d\d\n", "\n", first).splitlines()[:7])
    )


def test_tasks_are_listed(thalweg: Call, here: Path) -> None:
    from thalweg.tasks import registry

    code, out, err = thalweg("--list")
    assert (code, err) == (0, "")
    head, *rows = out.partition("\n\n")[0].splitlines()
    assert head.split()[:4] == ["task", "parameters", "samples", "steps"]
    assert [line.split()[0] for line in rows] == list(registry())
    assert list(here.iterdir()) == []


def test_the_list_of_tasks_has_their_true_sizes_and_the_recorded_times() -> None:
    """After a task was added or changed: python benchmarks/task_times.py --sizes."""
    path = ROOT / "benchmarks" / "task_times.py"
    spec = importlib.util.spec_from_file_location("task_times", path)
    assert spec is not None
    assert spec.loader is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path.parent)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    assert json.loads(task_list.FILE.read_text(encoding="utf-8")) == module.document(
        module.recorded()
    )


def test_recorded_times_are_shown_with_their_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    document = json.loads(task_list.FILE.read_text(encoding="utf-8"))
    for seconds, task in zip((None, 75.0, 300.0), document["tasks"], strict=False):
        task["seconds"] = seconds
    changed = tmp_path / "tasks.json"
    changed.write_text(json.dumps({**document, "machine": "a machine"}), encoding="utf-8")
    monkeypatch.setattr(task_list, "FILE", changed)
    lines = task_list.lines().replace("\u202f", " ").splitlines()
    assert [line.split("  ")[0] for line in lines[1:4]] == [
        task["name"] for task in document["tasks"][:3]
    ]
    assert " – " in lines[1]
    assert " 75 s " in lines[2]
    assert " 5.0 min " in lines[3]
    assert lines[-1].endswith("on a machine")


def test_the_list_needs_no_framework() -> None:
    code = (
        "import sys; from thalweg.cli import main; main(['race', '--list']);"
        "print([m for m in ('numpy', 'torch', 'numba', 'scipy', 'sklearn') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("task", "folder"),
    [
        ("wine-mlp", "wine-mlp"),
        ("quadratic:dim=4", "quadratic-dim=4"),
        ("quadratic:condition=10,dim=4", "quadratic-dim=4-condition=10"),
        ("quadratic:dim=100", "quadratic"),
        ("quadratic:noise=0.5,rotated=yes", "quadratic-noise=0.5-rotated=true"),
    ],
)
def test_every_task_has_a_folder_of_its_own(task: str, folder: str) -> None:
    from thalweg.tasks import find

    assert multitask.folder(find(task).name) == folder


def test_options_reach_the_race(thalweg: Call, here: Path) -> None:
    code, out, _ = thalweg(
        "quadratic:dim=3",
        "--optimizers",
        " sgd , nadam,",
        "--budget",
        "4",
        "--seeds",
        "3",
        "--epochs",
        "2",
        "--batch-size",
        "64",
        "--out",
        "elsewhere",
        "--json",
    )
    assert code == 0
    document = json.loads(out)
    setting = document["setting"]
    assert document["task"] == "quadratic:dim=3"
    assert sorted(e["name"] for e in document["optimizers"]) == ["nadam", "sgd"]
    assert (setting["budget"], setting["seeds"], setting["epochs"]) == (4, 3, 2)
    assert (setting["batch_size"], setting["steps"]) == (64, 2 * 256 // 64)
    assert sorted(p.name for p in here.iterdir()) == ["elsewhere"]
    names = {p.name for p in (here / "elsewhere").iterdir()}
    assert names == {"records", "execution", "race.json", "report.html"}


OWN = """
import thalweg as tw

@tw.rule
def mine(theta, g, m, t, *, lr=0.1):
    m = 0.9 * m + g
    return theta - lr * m, m
"""


def test_an_optimizer_of_ones_own_takes_part(thalweg: Call, here: Path) -> None:
    (here / "my_rule.py").write_text(OWN, encoding="utf-8")
    names = ["--optimizers", "sgd,my_rule.py:mine"]
    code, out, _ = thalweg("wine-mlp", *SMALL[2:], *names, "--json")
    assert code == 0
    mine = next(e for e in json.loads(out)["optimizers"] if e["name"] == "mine")
    assert mine["code"].startswith("thalweg.optim.from_rule(mine)(model.parameters(), lr=")
    assert mine["formula_mathml"].startswith("<math")


# Bad input.

BAD_RULES = {
    "branch.py": "import thalweg as tw\n@tw.rule\ndef bad(theta, g, t, *, lr=0.1):\n"
    "    if g > 0:\n        return theta\n    return theta - lr * g\n",
    "slots.py": "import thalweg as tw\n@tw.rule\ndef bad(theta, g, m, t, *, lr=0.1):\n"
    "    return theta - lr * g\n",
    "broken.py": "import thalweg as tw\n1 / 0\n",
    "empty.py": "x = 1\n",
}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "name a task; --list shows them"),
        (["digit-mlp"], 2, "no task named 'digit-mlp'; did you mean digits-mlp"),
        (["quadratic:dim=0"], 2, "task 'quadratic': dim=0 must be >= 1"),
        (["quadratic:size=3"], 2, "task 'quadratic' has no option 'size'"),
        (["wine-mlp", "--optimizers", "adm"], 2, "no optimizer named 'adm'; did you mean adam"),
        (["wine-mlp", "--optimizers", ""], 2, "optimizers is empty; name at least one"),
        (["wine-mlp", "--optimizers", "adam,adam"], 2, "optimizer 'adam' takes part twice"),
        (["wine-mlp", "--budget", "0"], 2, "budget=0 must be a whole number, at least 1"),
        (["wine-mlp", "--seeds", "-3"], 2, "seeds=-3 must be a whole number, at least 1"),
        (["wine-mlp", "--epochs", "0"], 2, "epochs=0 must be a whole number, at least 1"),
        (["wine-mlp", "--batch-size", "0"], 2, "batch_size=0 must be a whole number"),
        (["wine-mlp", "--batch-size", "107"], 2, "batch_size=107 is larger than the training data"),
        (["wine-mlp", "--out", "bad/slots.py"], 2, "out=bad/slots.py is a file; name a folder"),
        (["wine-mlp", "--optimizers", "none.py:x"], 2, "there is no file 'none.py'"),
        (["wine-mlp", "--optimizers", "bad/branch.py"], 2, "branch.py:4: `if g > 0:`"),
        (["wine-mlp", "--optimizers", "bad/slots.py"], 2, "slots.py:4: `return theta - lr * g`"),
        (
            ["wine-mlp", "--optimizers", "bad/slots.py:worse"],
            2,
            "no optimizer in bad/slots.py named",
        ),
        (["wine-mlp", "--optimizers", "bad/broken.py"], 2, "broken.py:2: ZeroDivisionError"),
        (["wine-mlp", "--optimizers", "bad/empty.py"], 2, "empty.py makes no rule"),
        (["wine-mlp", "--out", "bad/slots.py/below"], 1, "Not a directory"),
    ],
)
def test_bad_input_is_one_line_and_makes_nothing(
    arguments: list[str], code: int, said: str, thalweg: Call, here: Path
) -> None:
    (here / "bad").mkdir()
    for name, text in BAD_RULES.items():
        (here / "bad" / name).write_text(text, encoding="utf-8")
    before = sorted(p for p in here.rglob("*") if "__pycache__" not in p.parts)
    found, out, err = thalweg(*arguments)
    assert (found, out) == (code, "")
    last = err.splitlines()[-1]
    assert last.startswith("thalweg race: ")
    assert said in last
    # A race that got as far as its folder has said how it runs.
    assert len(err.splitlines()) == 1 or code == 1
    assert sorted(p for p in here.rglob("*") if "__pycache__" not in p.parts) == before


def test_an_unwritable_folder_is_said_in_one_line(thalweg: Call, here: Path) -> None:
    (here / "races").write_text("a file in the way", encoding="utf-8")
    code, out, err = thalweg("wine-mlp", *SMALL)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("thalweg race: cannot write races/wine-mlp")
    assert "Traceback" not in err


def test_an_interrupt_says_what_is_kept(thalweg: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*args: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "make_executor", stop)
    code, out, err = thalweg("wine-mlp", *SMALL)
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == (
        "thalweg race: interrupted; no run was finished, so none is kept"
    )


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


def test_several_tasks_and_the_options_of_a_search(thalweg: Call, here: Path) -> None:
    code, out, err = thalweg(
        "wine-mlp",
        "quadratic:dim=4",
        "--optimizers",
        "sgd,adam",
        "--budget",
        "4",
        "--seeds",
        "2",
        "--epochs",
        "1",
        "--tune",
        "weight_decay",
        "--schedule",
        "cosine",
        "--clip",
        "1",
        "--no-prune",
        "--json",
        "--out",
        "both",
    )
    assert code == 0, err
    document = json.loads(out)
    assert document["schema"] == "thalweg.races/1"
    for own, name in zip(document["races"], ("wine-mlp", "quadratic-dim=4"), strict=True):
        assert own["search"]["tune"] == ["weight_decay"]
        assert own["search"]["fixed"] == {"schedule": "cosine", "warmup": 0.0, "clip": 1.0}
        assert own["search"]["pruned"] is False
        assert (here / "both" / name / "report.html").is_file()
