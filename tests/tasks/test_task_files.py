"""The call with a model, task files, and what the documentation says of both."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import thalweg as tw
from thalweg.cli import main
from thalweg.cli.load import load_task
from thalweg.errors import UsageError
from thalweg.records.reading import as_race, read_race
from thalweg.tasks import Task, examine

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[2]
X = np.random.default_rng(0).normal(size=(40, 3))
Y = np.arange(40) % 4


def model() -> nn.Module:
    return nn.Linear(3, 4)


def task(train: Any = (X, Y), **more: Any) -> Task:
    return Task(**{"model": model, "train": train, "batch_size": 10, **more})


def test_a_race_of_an_example_of_a_model_starts_every_run_anew() -> None:
    example = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 4))
    before = [p.detach().clone() for p in example.parameters()]
    found = tw.race(example, X, Y, optimizers=["sgd", "adam"], budget=2, seeds=2, epochs=1)
    assert all(torch.equal(a, b) for a, b in zip(before, example.parameters(), strict=True))
    shown = found._repr_html_()
    assert "prefers-color-scheme" in shown
    assert "adam" in shown
    assert "http" not in shown

    class Raw(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(3, 4))

    with pytest.raises(UsageError, match=r"Raw has the parameter 'w' but no reset_parameters"):
        tw.race(Raw(), X, Y)
    with pytest.raises(UsageError, match="X, y is for a model"):
        tw.race("wine-mlp", X, Y)
    with pytest.raises(UsageError, match="a model needs data"):
        tw.race(model)


def test_text_of_the_users_is_escaped_in_a_notebook() -> None:
    example = task(name="<b>x")
    found = tw.race(example, optimizers=["sgd"], budget=1, seeds=1, epochs=1)
    assert "<b>x" not in found._repr_html_()


def test_init_writes_a_file_that_races_and_overwrites_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "mine.py"]) == 0
    assert "thalweg race mine.py" in capsys.readouterr().out
    written = (tmp_path / "mine.py").read_bytes()
    assert main(["init", "mine.py"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "mine.py").read_bytes() == written
    short = ["--optimizers", "sgd", "--budget", "1", "--seeds", "1", "--epochs", "1"]
    assert main(["race", "mine.py", *short]) == 0
    assert (tmp_path / "races" / "mine" / "report.html").exists()


def test_tasks_are_loaded_from_files_by_name(tmp_path: Path) -> None:
    file = tmp_path / "two.py"
    head = "import numpy as np\nimport thalweg as tw\nfrom torch import nn\nX = np.ones((40, 3))\n"
    made = "tw.Task(model=lambda: nn.Linear(3, 1), train=(X, X[:, 0]))\n"
    file.write_text(f"{head}one = {made}two = {made}", encoding="utf-8")
    assert load_task(f"{file}:two").name == "two-two"
    with pytest.raises(UsageError, match=r"several tasks; say which: .*two\.py:one or :two"):
        load_task(str(file))
    with pytest.raises(UsageError, match="did you mean one"):
        load_task(f"{file}:onne")
    file.write_text(f"{head}one = {made}\n1 / 0\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"two\.py:7: ZeroDivisionError.*1 / 0"):
        load_task(str(file))
    file.write_text("1 +\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"two\.py:1: SyntaxError"):
        load_task(str(file))
    file.write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="makes no task"):
        load_task(str(file))


def test_files_of_one_name_in_two_folders_are_two_modules(tmp_path: Path) -> None:
    made, body = (
        [],
        (
            "import numpy as np\nimport thalweg as tw\nfrom torch import nn\nX = np.ones((40, 3))\n"
            "class Net(nn.Linear):\n    def __init__(self):\n        super().__init__(3, 1)\n"
            "    def forward(self, x):\n        return {} * super().forward(x)\n"
            "task = tw.Task(name='same', model=Net, train=(X, X[:, :1]), loss='mse')\n"
        ),
    )
    for factor in (1, 2):
        file = tmp_path / str(factor) / "mine.py"
        file.parent.mkdir()
        file.write_text(body.format(factor), encoding="utf-8")
        made.append(load_task(str(file)))
    one, two = made
    assert pickle.loads(pickle.dumps(one.model)) is one.model
    assert one.fingerprint != two.fingerprint
    assert one.fingerprint == load_task(str(tmp_path / "1" / "mine.py")).fingerprint


def code_of(page: str) -> list[str]:
    """The pieces of Python on a page of the documentation."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_the_documentations_steps_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = "\n".join(code_of("tasks.md"))
    assert code.count("tw.Task(") > 20
    exec(code, {"__name__": "documentation"})


def test_the_page_on_fine_tuning_is_a_task_file_that_races(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    *file, script = code_of("fine_tuning.md")
    Path("tune_task.py").write_text("\n".join(file), encoding="utf-8")
    text = (ROOT / "docs" / "fine_tuning.md").read_text(encoding="utf-8")
    short = ["--budget", "1", "--seeds", "1", "--epochs", "1"]
    commands = re.findall(r"^    thalweg (race .*)$", text, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        assert main([*command.split(), *short]) == 0
    capsys.readouterr()
    exec("\n".join([*file, script]), {"__name__": "documentation"})
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2
    assert all(f"    {line}\n" in text for line in printed)
    documents = (read_race(Path("races", name) / "race.json") for name in ("tune_task", "scratch"))
    kept, drawn = (as_race(document).setting for document in documents)
    assert kept.weights == str(load_task("tune_task.py").weights)
    assert drawn.weights == "drawn anew for every seed, 1 of 7 tensors frozen: 0.0.weight"
    assert kept.fingerprint != drawn.fingerprint


@pytest.mark.parametrize("name", ["transformer", "lstm", "cnn_images"])
def test_the_examples_can_be_raced(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIGITS_FOLDER", str(tmp_path / "digits"))
    examine(load_task(str(ROOT / "examples" / f"{name}_task.py")))
