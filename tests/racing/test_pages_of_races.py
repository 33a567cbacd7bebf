"""The documentation of races of other packages, and of what a race leaves, from its steps alone."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest

from thalweg.cli import main
from thalweg.racing import run
from thalweg.training.execution.plan import ExecutionPlan

DOCS = Path(__file__).parents[2] / "docs"

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("page", "package"), [("packages.md", "schedulefree"), ("results.md", "tensorboard")]
)
def test_the_code_of_a_page_runs(
    page: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "choose", lambda *args: ExecutionPlan("lanes", 64))
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 2
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks), encoding="utf-8")
    runpy.run_path(str(script))
    if page == "results.md":
        assert (tmp_path / "races" / "wine" / "report.html").is_file()
        assert (tmp_path / "page.html").is_file()
        assert list((tmp_path / "board").rglob("events.*"))


def test_the_first_command_of_the_page_races_another_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("schedulefree")
    text = (DOCS / "packages.md").read_text(encoding="utf-8")
    command = next(line for line in text.splitlines() if line.startswith("thalweg race"))
    monkeypatch.chdir(tmp_path)
    small = ["--budget", "2", "--seeds", "6", "--epochs", "3"]
    assert main([*shlex.split(command)[1:], *small]) == 0
    said = capsys.readouterr()
    assert "AdamWScheduleFree" in said.out
    assert "races/wine-mlp/report.html" in said.err.replace("\\", "/")
