"""`thalweg race`: what goes to which stream, bad input, folders, several tasks."""

from __future__ import annotations

import io
import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from thalweg import cli
from thalweg.racing import multitask, run
from thalweg.racing.progress import Progress
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
