"""Races that are killed at any moment, run out of disk, share a folder, or grow; and what names
their records.

The program under test is the command line's, in a process of its own. All of them are forked off
one that has imported everything, because imports would take longer than the races.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from thalweg import records
from thalweg.cli.load import load_task
from thalweg.errors import ThalwegError
from thalweg.racing.entrants import entrants
from thalweg.racing.spec import Spec
from thalweg.records import Store
from thalweg.training.runs import Regime, Run
from timeless import without_times

SERVER = """
    import os, sys, json
    import torch
    torch.set_num_threads(1)
    from thalweg.cli import main
    import thalweg.report.terminal, thalweg.racing, thalweg.report.html

    for line in sys.stdin:
        log, *words = json.loads(line)
        child = os.fork()
        if child == 0:
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1), os.dup2(out, 2)
            os._exit(main(words))
        print(child, flush=True)
        sys.stdin.readline()  # until then its number is not another's
        print(os.waitpid(child, 0)[1], flush=True)
"""

TASK = """
    import numpy as np
    import thalweg as tw
    from torch import nn

    X = np.random.default_rng(0).normal(size=(60, 3)).astype("float32")

    def model():
        return nn.Linear(3, 1)

    task = tw.Task(model=model, train=(X, X.sum(axis=1)), batch_size=12, epochs=2)
"""
ARGUMENTS = ["--optimizers", "sgd,adam", "--budget", "6", "--seeds", "3", "--tune", "lr"]


@dataclass
class Server:
    """Starts races one after the other."""

    process: subprocess.Popen[str]
    folder: Path

    def start(self, *words: object) -> int:
        """Start a race; the number of its process."""
        line = json.dumps([str(self.folder / f"log{id(self)}"), *map(str, words)])
        self._tell(line)
        return self._number()

    def _tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def _number(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def end(self) -> int:
        """Wait for it; its exit code, or minus the signal that ended it."""
        self._tell("end")
        return os.waitstatus_to_exitcode(self._number())

    @property
    def said(self) -> str:
        """What the last one printed."""
        return (self.folder / f"log{id(self)}").read_text(encoding="utf-8")

    def race(self, *words: object) -> int:
        """Start a race and wait for its end."""
        self.start(*words)
        return self.end()


def serve(folder: Path) -> subprocess.Popen[str]:
    path = folder / "server.py"
    path.write_text(textwrap.dedent(SERVER), encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    folder = tmp_path_factory.mktemp("servers")
    found = [Server(serve(folder), folder) for _ in range(2)]
    yield found
    for server in found:
        server.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("task") / "my_task.py"
    path.write_text(textwrap.dedent(TASK), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def undisturbed(
    task: Path, servers: list[Server], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a race that nothing befell, in small groups."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert servers[0].race("race", task, *ARGUMENTS, "--out", folder) == 0, servers[0].said
    (way,) = (folder / "execution").iterdir()
    known = json.loads(way.read_text(encoding="utf-8"))
    shutil.rmtree(folder / "records")
    way.write_text(json.dumps({**known, "mode": "lanes", "lanes": 4, "threads": 1}), "utf-8")
    assert servers[0].race("race", task, *ARGUMENTS, "--out", folder) == 0, servers[0].said
    return folder


def begin(undisturbed: Path, folder: Path) -> Path:
    """An empty folder in which a race is executed as the undisturbed one was."""
    shutil.copytree(undisturbed / "execution", folder / "execution")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "records").glob("*.json")}


def result(folder: Path) -> dict[str, Any]:
    """What the race found, without what its clock measured."""
    found: dict[str, Any] = without_times(
        json.loads((folder / "race.json").read_text(encoding="utf-8"))
    )
    return found


@pytest.mark.parametrize("most", [8, pytest.param(30, marks=pytest.mark.long)])
def test_a_race_killed_at_many_moments_leaves_the_records_of_an_undisturbed_one(
    task: Path, undisturbed: Path, servers: list[Server], tmp_path: Path, most: int
) -> None:
    server, draw = servers[0], random.Random(5)
    whole = files(undisturbed)
    assert len(whole) >= 4
    runs = [run for text in whole.values() for run in json.loads(text)["runs"].values()]
    assert any(run["stopped_at"] is not None for run in runs)
    start = time.perf_counter()
    assert server.race("race", task, *ARGUMENTS, "--out", begin(undisturbed, tmp_path / "0")) == 0
    duration = time.perf_counter() - start
    kills, number, left = 0, 0, []
    while kills < most:
        out = tmp_path / str(number)
        if (out / "race.json").exists():
            number += 1
            out = begin(undisturbed, tmp_path / str(number))
        process = server.start("race", task, *ARGUMENTS, "--out", out)
        time.sleep(draw.uniform(0, duration))
        os.kill(process, signal.SIGKILL)
        code = server.end()
        assert code in (0, -9), server.said
        kills += code == -9
        left.append(len(files(out)))
        assert files(out).items() <= whole.items()
    assert len(set(left)) >= 3  # they ended at different places
    for k in range(number + 1):
        assert server.race("race", task, *ARGUMENTS, "--out", tmp_path / str(k)) == 0, server.said
        assert files(tmp_path / str(k)) == whole
        assert result(tmp_path / str(k)) == result(undisturbed)


def test_a_full_disk_harms_nothing_and_the_race_goes_on_once_there_is_room(
    task: Path, undisturbed: Path, servers: list[Server], tmp_path: Path
) -> None:
    disk, server = tmp_path / "disk", servers[0]
    disk.mkdir()

    def mount(size: int, *options: str) -> bool:
        how = ",".join([*options, f"size={size}k"])
        command = ["mount", "-t", "tmpfs", "-o", how, "tmpfs", str(disk)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    if not (sys.platform == "linux" and os.geteuid() == 0 and mount(16)):
        pytest.skip("needs a small disk of its own, which only root may mount on Linux")
    try:
        out, size, refused = begin(undisturbed, disk / "race"), 16, 0
        while server.race("race", task, *ARGUMENTS, "--out", out) != 0:
            last = server.said.splitlines()[-1]
            assert "No space left on device" in last, server.said
            assert "Traceback" not in server.said
            assert files(out).items() <= files(undisturbed).items()
            assert not list(out.rglob(".*"))  # no draft
            refused, size = refused + 1, size + 16
            assert size < 2000
            assert mount(size, "remount")
        assert refused >= 3
        assert files(out) == files(undisturbed)
        assert result(out) == result(undisturbed)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_two_races_that_begin_together_agree_on_how_and_leave_the_records_of_one(
    task: Path, servers: list[Server], tmp_path: Path
) -> None:
    out = tmp_path / "both"
    for server in servers:
        server.start("race", task, *ARGUMENTS, "--out", out)
    for server in servers:
        assert server.end() == 0, server.said
        assert "damaged" not in server.said
    alone = begin(out, tmp_path / "alone")
    assert servers[0].race("race", task, *ARGUMENTS, "--out", alone) == 0
    assert files(alone) == files(out)
    assert result(alone) == result(out)


def runs_of(folder: Path) -> list[tuple[str, Any, int]]:
    """All runs that were trained: optimizer, configuration, seed."""
    texts = [json.loads(text)["runs"].values() for text in files(folder).values()]
    return [
        (run["run"]["optimizer"], json.dumps(run["run"]["configuration"]), run["run"]["seed"])
        for group in texts
        for run in group
    ]


def test_what_is_added_later_is_all_that_runs(
    task: Path, servers: list[Server], tmp_path: Path
) -> None:
    def race(**options: object) -> tuple[int, set[str]]:
        """The number of runs that were added, and the optimizers of them."""
        before = runs_of(tmp_path)
        given = {"optimizers": "sgd,adam", "budget": 16, "seeds": 2, "sampler": "sobol", **options}
        words = [w for name, value in given.items() for w in (f"--{name}", value)]
        assert servers[0].race("race", task, *words, "--out", tmp_path) == 0, servers[0].said
        after = runs_of(tmp_path)
        assert len(set(after)) == len(after)  # none was trained twice
        known = {name for name, *_ in set(after) - set(before)}
        return len(after) - len(before), known

    first, _ = race()
    assert first >= 2 * (16 * 2 + 2)
    assert race() == (0, set())
    assert race(seeds=5) == (2 * 3, {"sgd", "adam"})
    added, names = race(optimizers="sgd,adam,nadam")
    assert "nadam" in names
    assert added >= 16 * 2 + 2
    # A second sixteen for each, at most three more rounds of two, and whoever is chosen anew.
    more, _ = race(budget=32)
    assert 2 * 16 * 2 <= more <= 2 * (16 * 2 + 3 * 2 * 2 + 2)


# What names a record.

OWN = """
    import torch
    import thalweg as tw
    from torch import nn
    import helpers

    SLOPE = 0.5
    X = torch.arange(40.0).reshape(20, 2) / 40

    def bend(x):
        return helpers.bend(x) * SLOPE

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(2, 1)
            self.start()

        def start(self):
            nn.init.constant_(self.linear.weight, 0.25)

        def forward(self, x):
            return bend(self.linear(x))

    def loss(outputs, targets):
        return (outputs - targets).abs().mean()

    task = tw.Task(name="mine", model=Net, train=(X, X[:, :1]), loss=loss, batch_size=4)
"""
HELPERS = """
    def other(x):
        return x

    def bend(x):
        return x.tanh()
"""


@pytest.mark.parametrize(
    ("old", "new", "differs"),
    [
        ("SLOPE = 0.5", "SLOPE = 0.6", True),
        ("constant_(self.linear.weight, 0.25)", "constant_(self.linear.weight, 0.5)", True),
        (".abs()", ".square()", True),
        ("/ 40", "/ 41", True),
        ("x.tanh()", "x.sin()", True),
        ("nn.Linear(2, 1)", "nn.Linear(2, 1, bias=False)", True),
        ("        return x\n", "        return -x\n", False),
        ("import torch\n", "import torch  # a comment\n", False),
        ("batch_size=4", "batch_size=4, title='for people'", False),
    ],
)
def test_code_and_data_of_ones_own_name_the_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, differs: bool
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])

    def name(own: str, helpers: str, place: str) -> str:
        for file, text in (("my_task.py", own), ("helpers.py", helpers)):
            path = tmp_path / place / file
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")
        monkeypatch.delitem(sys.modules, "helpers", raising=False)
        given = load_task(str(tmp_path / place / "my_task.py"))
        (adam,) = entrants(["adam"])
        spec = Spec(given, (adam,), Regime(2, 4))
        return spec.identity(Run(adam, {"lr": 0.1}, 0), False)

    changed = OWN.replace(old, new), HELPERS.replace(old, new)
    assert changed != (OWN, HELPERS)
    before = name(OWN, HELPERS, "before")
    assert before == name(OWN, HELPERS, "again")
    assert (name(*changed, "after") != before) == differs


@pytest.mark.parametrize("version", ["thalweg.training.identity.__version__", "torch.__version__"])
def test_another_version_names_other_records(
    version: str, task: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (adam,) = entrants(["adam"])
    spec = Spec(load_task(str(task)), (adam,), Regime(2, 4))
    before = spec.identity(Run(adam, {"lr": 0.1}, 0), False)
    monkeypatch.setattr(version, "0.0.0")
    assert spec.identity(Run(adam, {"lr": 0.1}, 0), False) != before


# Files.


def test_of_several_the_first_decides(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "way.json"
    records.write_json_if_absent(path, {"lanes": 3})
    records.write_json_if_absent(path, {"lanes": 5})
    assert json.loads(path.read_text(encoding="utf-8")) == {"lanes": 3}
    assert [p.name for p in path.parent.iterdir()] == ["way.json"]


def test_old_drafts_are_removed_and_new_and_foreign_ones_left(tmp_path: Path) -> None:
    names = {f".{'a' * 24}.json.old_1234": 2, f".{'b' * 24}.json.new_1234": 0, ".mine.json.x": 2}
    for name, days in names.items():
        (tmp_path / name).write_text("{", encoding="utf-8")
        then = time.time() - days * 24 * 3600 - 60
        os.utime(tmp_path / name, (then, then))
    Store(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(list(names)[1:])


def test_a_record_of_another_machine_is_waited_for_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "one")
    curves = ("train_loss", "validation_loss", "validation_metric")
    record = {"steps": [0], **{name: [1.5] for name in curves}}
    store.take(records.write_group(tmp_path / "two", {"x": record}))
    assert store.found == {"x": record}
    monkeypatch.setattr(records.store, "_PATIENCE", 0.2)
    harmed = tmp_path / "harmed.json"
    harmed.write_text("{", encoding="utf-8")
    for path in (tmp_path / "none.json", harmed):
        with pytest.raises(ThalwegError, match="all of them must see the folder under this path"):
            store.take(path)
