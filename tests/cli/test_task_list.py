"""`thalweg race --list`: sizes as they are, times as they were recorded, no framework."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from thalweg.cli import task_list

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[2]


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
