"""Records: complete or not there, continued bit for bit, safe from disks, signals and versions."""

from __future__ import annotations

import errno
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from executed import watch_races
from thalweg import records
from thalweg.errors import ThalwegError
from thalweg.racing import race, run
from thalweg.records import SCHEMA, Store, identity
from thalweg.training.context import TrainingContext
from thalweg.training.execution.plan import ExecutionPlan
from thalweg.training.runs import Run
from timeless import without_times

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL: dict[str, Any] = {"optimizers": ["sgd", "adam"], "budget": 3, "seeds": 3, "epochs": 1}


@pytest.fixture(autouse=True)
def lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Races of this file need not measure how to run."""
    monkeypatch.setattr(run, "choose", lambda *args: ExecutionPlan("lanes", 4))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Run]]:
    """The runs that were really trained."""
    done: list[Run] = []

    def seen(context: TrainingContext, groups: Sequence[Sequence[Run]]) -> None:
        done.extend(r for group in groups for r in group)

    watch_races(monkeypatch, seen)
    return done  # type: ignore[return-value]


class Told:
    """A watcher that remembers what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def stage(self, text: str, run_steps: int = 0, later: int = 0) -> None:
        self.lines.append(text)

    def advance(self, run_steps: int) -> None:
        pass

    def say(self, text: str) -> None:
        self.lines.append(text)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "records").iterdir()}


# The files.


def test_a_text_is_put_in_place_whole_and_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.json"
    records.write(path, "old")
    records.write(path, "new")
    assert path.read_text(encoding="utf-8") == "new"
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]
    mask = os.umask(0o027)
    try:
        records.write(path, "masked")
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("broken", ["fsync", "mkdir", "replace"])
def test_a_full_disk_harms_nothing_and_leaves_nothing(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    records.write(path, "old")

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os if broken == "fsync" else Path, broken, full)
    with pytest.raises(ThalwegError, match=r"a\.json: No space left on device; what was there"):
        records.write(path, "new")
    monkeypatch.undo()
    assert path.read_text(encoding="utf-8") == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_an_interrupted_write_leaves_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        records.write(tmp_path / "a.json", "new")
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_json_cannot_say_become_null(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    records.write_json(path, {"a": [float("nan"), (float("inf"), 1.5)], 2: {"b": -0.0}})
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "a": [None, [None, 1.5]],
        "2": {"b": 0.0},
    }


def test_an_identity_is_the_same_in_every_process_and_order() -> None:
    assert identity({"a": 1.0, "b": [1, 2]}) == identity({"b": (1, 2), "a": 1.0})
    assert identity({"a": 0.1 + 0.2}) != identity({"a": 0.3})
    program = "from thalweg.records import identity; print(identity({'a': 0.1, 'b': None}))"
    said = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert said.stdout.strip() == identity({"a": 0.1, "b": None})


def test_a_store_gives_back_what_was_added_to_the_last_bit(tmp_path: Path) -> None:
    values = [random.Random(0).uniform(-1, 1) * 10.0**k for k in range(-300, 300, 37)]
    curves = ("train_loss", "validation_loss", "validation_metric")
    given = {
        "x": {"steps": [*range(len(values) + 1)], **{key: [*values, math.nan] for key in curves}},
        "y": {"steps": [0], **{key: [0.5] for key in curves}},
    }
    store = Store(tmp_path)
    store.add(given)
    again = Store(tmp_path)
    assert again.found == store.found
    assert again.found["x"]["train_loss"] == again.runs["x"].train_loss == [*values, None]
    assert again.runs["y"].steps == [0]
    assert again.missing(["z", "x"]) == ["z"]
    in_memory = Store(None)
    in_memory.add(given)
    assert in_memory.found == store.found


# What happens to the files.


def harm_schema(path: Path) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**document, "schema": SCHEMA + 1}), encoding="utf-8")


def harm_value(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    at = text.index("validation_loss") + 20
    digit = next(k for k in range(at, len(text)) if text[k].isdigit())
    path.write_text(text[:digit] + str((int(text[digit]) + 1) % 10) + text[digit + 1 :], "utf-8")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def scribble(path: Path) -> None:
    path.write_bytes(b"\xff\x00 not json")


def replace_by(text: str) -> Callable[[Path], None]:
    def harm(path: Path) -> None:
        path.write_text(text, encoding="utf-8")

    harm.__name__ = text[:12]
    return harm


HARMS = [
    truncate,
    scribble,
    harm_value,
    replace_by(""),
    replace_by("[]"),
    replace_by("null"),
    replace_by('{"schema": "x", "runs": {}}'),
    replace_by('{"schema": 1, "runs": [1]}'),
    replace_by('{"schema": 1, "runs": {"a": 1}}'),
    replace_by("[" * 100_000),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished race; copy it before doing anything to it."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "choose", lambda *args: ExecutionPlan("lanes", 4))
        race("wine-mlp", out=folder, **SMALL)
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "race"))


def test_a_finished_race_is_not_run_again(copy: Path, trained: list[Run]) -> None:
    before, kept = json.loads((copy / "race.json").read_text(encoding="utf-8")), files(copy)
    again = race("wine-mlp", out=copy, **SMALL)
    assert trained == []
    assert without_times(again.document) == without_times(before)
    assert files(copy) == kept


def test_a_race_in_memory_finds_the_same(finished: Path) -> None:
    found = race("wine-mlp", **SMALL).document
    written = json.loads((finished / "race.json").read_text(encoding="utf-8"))
    assert without_times(found) == without_times(written)


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_what_a_harmed_file_held_is_run_again(
    harm: Callable[[Path], None], copy: Path, trained: list[Run]
) -> None:
    before, kept = json.loads((copy / "race.json").read_text(encoding="utf-8")), files(copy)
    victim = sorted((copy / "records").iterdir())[1]
    lost = len(json.loads(victim.read_text(encoding="utf-8"))["runs"])
    harm(victim)
    told = Told()
    again = race("wine-mlp", out=copy, watcher=told, **SMALL)
    assert any(str(victim) in line and "damaged" in line for line in told.lines)
    assert len(trained) == lost
    assert files(copy) == kept
    assert without_times(again.document) == without_times(before)


def test_what_was_deleted_is_run_again(copy: Path, trained: list[Run]) -> None:
    kept = files(copy)
    for path in sorted((copy / "records").iterdir())[::2]:
        path.unlink()
    race("wine-mlp", out=copy, **SMALL)
    assert 0 < len(trained) < 30
    assert files(copy) == kept


def test_foreign_files_are_left_alone(copy: Path, trained: list[Run]) -> None:
    foreign = {"notes.json": b'{"mine": 1}', "README": b"hello", ".x.json.draft": b"{"}
    for name, content in foreign.items():
        (copy / "records" / name).write_bytes(content)
    told = Told()
    race("wine-mlp", out=copy, watcher=told, **SMALL)
    assert trained == []
    assert foreign.items() <= files(copy).items()
    assert sum("notes.json" in line for line in told.lines) == 1


def test_a_newer_record_stops_the_race_before_it_begins(copy: Path, trained: list[Run]) -> None:
    harm_schema(sorted((copy / "records").iterdir())[0])
    kept = files(copy)
    with pytest.raises(
        ThalwegError, match=r"newer thalweg \(record schema 2.*choose another --out"
    ):
        race("wine-mlp", out=copy, **SMALL)
    assert trained == []
    assert files(copy) == kept


def test_records_need_a_folder(tmp_path: Path) -> None:
    (tmp_path / "records").write_text("a file", encoding="utf-8")
    with pytest.raises(ThalwegError, match="records is a file; records need a folder"):
        race("wine-mlp", out=tmp_path, **SMALL)
    with pytest.raises(ThalwegError, match=r"out=.*records is a file; name a folder"):
        race("wine-mlp", out=tmp_path / "records", **SMALL)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        "3",
        '{"mode": "lanes"}',
        '{"mode": "teleport", "fits": 9}',
        '{"mode": "lanes", "fits": 0}',
    ],
)
def test_a_damaged_way_to_run_is_measured_again(copy: Path, content: str) -> None:
    (path,) = (copy / "execution").iterdir()
    kept = path.read_text(encoding="utf-8")
    path.write_text(content, encoding="utf-8")
    told = Told()
    race("wine-mlp", out=copy, watcher=told, **SMALL)
    assert "measuring the fastest way to run" in told.lines
    assert path.read_text(encoding="utf-8") == kept


def test_every_task_and_regime_keeps_a_way_to_run_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = iter([ExecutionPlan("lanes", 3), ExecutionPlan("lanes", 5), ExecutionPlan("one by one")])
    monkeypatch.setattr(run, "choose", lambda *args: next(ways))
    first = race("wine-mlp", out=tmp_path, **SMALL).document
    second = race("wine-mlp", out=tmp_path, **{**SMALL, "epochs": 2}).document
    third = race("quadratic:dim=4", out=tmp_path, overwrite=True, **SMALL).document
    said = [d["setting"]["executor"] for d in (first, second, third)]
    assert said == [
        str(ExecutionPlan("lanes", 3)),
        str(ExecutionPlan("lanes", 5)),
        str(ExecutionPlan("one by one")),
    ]
    for arguments, way in (({}, said[0]), ({"epochs": 2}, said[1])):
        again = race("wine-mlp", out=tmp_path, overwrite=True, **{**SMALL, **arguments}).document
        assert again["setting"]["executor"] == way


# Races that share a folder.


def test_an_optimizer_that_joins_later_runs_alone(copy: Path, trained: list[Run]) -> None:
    race("wine-mlp", out=copy, **{**SMALL, "optimizers": ["sgd", "adam", "nadam"]})
    # The others may be asked to continue their grids with it, but never to repeat a run.
    assert {r.method.name for r in trained if r.seed < 100} == {"nadam"}
    assert len({(r.method.name, r.hyper["lr"], r.seed) for r in trained}) == len(trained)
    once = len(trained)
    race("wine-mlp", out=copy, **{**SMALL, "optimizers": ["sgd", "adam", "nadam"]})
    assert len(trained) == once


def test_seeds_that_are_added_later_run_alone(copy: Path, trained: list[Run]) -> None:
    race("wine-mlp", out=copy, **{**SMALL, "seeds": 5})
    assert sorted((r.method.name, r.seed) for r in trained) == [
        ("adam", 3),
        ("adam", 4),
        ("sgd", 3),
        ("sgd", 4),
    ]


@pytest.mark.parametrize("changed", [{"epochs": 2}, {"batch_size": 8}, {"task": "quadratic:dim=4"}])
def test_another_race_in_the_folder_finds_what_it_finds_alone(
    copy: Path, tmp_path: Path, changed: dict[str, Any], trained: list[Run]
) -> None:
    other: dict[str, Any] = {"task": "wine-mlp", **SMALL, **changed}
    apart = race(**other, out=tmp_path / "apart").document
    shared = race(**other, out=copy, overwrite=True).document
    assert without_times(shared) == without_times(apart)
    trained.clear()
    first = race("wine-mlp", out=copy, overwrite=True, **SMALL).document
    assert trained == []
    alone = race("wine-mlp", **SMALL).document
    assert without_times(first) == without_times(alone)


def test_a_larger_budget_in_the_folder_repeats_no_run(copy: Path, trained: list[Run]) -> None:
    # Three rates are too few to stop any; five are compared with each other as they train, if so.
    larger = {**SMALL, "budget": 5, "prune": False}
    apart = race("wine-mlp", **larger).document
    every = len(trained)
    trained.clear()
    shared = race("wine-mlp", out=copy, **larger).document
    # The two grids share their ends and their centre; two seeds each, two optimizers.
    assert len(trained) <= every - 2 * 2 * 3
    for one, other in zip(apart["optimizers"], shared["optimizers"], strict=True):
        for key in ("name", "learning_rate", "configurations", "edge"):
            assert one[key] == other[key]


# Interrupted races. The program races as the command line does, in lanes of four.

RACE = """
    import sys
    from thalweg.cli import main
    from thalweg.racing import run
    from thalweg.training.execution.plan import ExecutionPlan
    import torch

    torch.set_num_threads(1)
    run.choose = lambda *args: ExecutionPlan({way})
    {more}
    if __name__ == "__main__":
        sys.exit(main(["race", "wine-mlp", "--optimizers", "sgd,adam", "--budget", "3",
                       "--seeds", "3", "--epochs", "1", "--out", sys.argv[1]]))
"""


def program(tmp_path: Path, way: str = '"lanes", 4', more: str = "") -> Path:
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(RACE).format(way=way, more=more), encoding="utf-8")
    return path


def start(path: Path, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, path, out], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


SLOW = """
    import time
    from thalweg.records import files
    write = files.write
    def slow(path, text, **more):
        write(path, text, **more)
        time.sleep(0.05)
    files.write = slow
"""


def test_a_race_killed_again_and_again_ends_like_an_undisturbed_one(
    tmp_path: Path, finished: Path
) -> None:
    path, out = program(tmp_path, more=SLOW.replace("\n    ", "\n")), tmp_path / "killed"
    draw = random.Random(4)
    kills = 0
    for _ in range(3):
        process = start(path, out)
        before = len(list(out.glob("records/*.json")))
        # Once at least one more record is there, at a random moment.
        while process.poll() is None and len(list(out.glob("records/*.json"))) <= before:
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.1))
        kills += process.poll() is None
        process.kill()
        process.communicate()
    assert kills >= 2
    assert set(files(out)) < set(files(finished))
    last = start(path, out)
    _, said = last.communicate(timeout=120)
    assert last.returncode == 0, said
    drafts = {name for name in files(out) if name.startswith(".")}
    assert {k: v for k, v in files(out).items() if k not in drafts} == files(finished)


@pytest.mark.long  # the one before kills a race of lanes; workers are killed in test_workers.py
def test_a_race_in_processes_killed_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    way = '"lanes", 4, 2'
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    path = program(tmp_path, way)
    first = start(path, undisturbed)
    _, said = first.communicate(timeout=120)
    assert first.returncode == 0, said
    assert "in 2 processes of one thread each" in said
    process = start(path, killed)
    while process.poll() is None and not list(killed.glob("records/*.json")):
        time.sleep(0.001)
    process.kill()
    process.communicate()
    assert set(files(killed)) < set(files(undisturbed))
    last = start(path, killed)
    _, said = last.communicate(timeout=120)
    assert last.returncode == 0, said
    assert {k: v for k, v in files(killed).items() if not k.startswith(".")} == files(undisturbed)


def test_an_interrupted_race_exits_130_and_keeps_what_is_finished(
    tmp_path: Path, finished: Path
) -> None:
    out = tmp_path / "stopped"
    process = start(program(tmp_path, more=SLOW.replace("\n    ", "\n")), out)
    while process.poll() is None and len(list(out.glob("records/*.json"))) < 2:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    output, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == ""
    assert re.fullmatch(
        r"thalweg race: interrupted; \d+ of about \d+ runs are kept in "
        f"{out}; the same command goes on from there",
        said.splitlines()[-1],
    )
    assert "Traceback" not in said
    kept = files(out)
    assert len(kept) >= 2
    assert kept.items() <= files(finished).items()


def test_a_full_disk_stops_the_race_with_one_line(tmp_path: Path, finished: Path) -> None:
    # No file may grow past 1,000 bytes, which is less than the records of four runs.
    limit = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))"
    )
    out = tmp_path / "full"
    shutil.copytree(finished / "records", out / "records")
    for victim in sorted((out / "records").iterdir())[:2]:
        victim.unlink()
    kept = files(out)
    process = start(program(tmp_path, more=limit), out)
    output, said = process.communicate(timeout=120)
    assert process.returncode == 1, said
    assert output == ""
    assert "File too large; what was there is unharmed" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert files(out) == kept


def test_two_races_in_one_folder_do_each_other_no_harm(tmp_path: Path, finished: Path) -> None:
    path, out = program(tmp_path), tmp_path / "shared"
    both = [start(path, out), start(path, out)]
    for process in both:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
        assert "damaged" not in said
    assert files(out) == files(finished)
