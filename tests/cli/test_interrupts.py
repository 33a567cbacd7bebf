"""Ctrl-C at many moments of a race, as a real signal to a real process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# The program, with a plan of its own: what is measured would depend on the machine.
PROGRAM = """
import sys
import thalweg.__main__ as program
if {plan!r}:
    from thalweg.racing import run
    from thalweg.training.execution.plan import ExecutionPlan
    run.choose = lambda *args: ExecutionPlan({plan})
if __name__ == "__main__":
    sys.exit(program.main())
"""
RACE = ["race", "digits-mlp", "--optimizers", "sgd,adam,momentum", "--budget", "4"]
ENDING = "thalweg: interrupted, ending; Ctrl-C again ends at once"
LANES, PROCESSES = '"lanes", 6', '"processes", 1, 2'


def interrupted(
    folder: Path, plan: str, line: str, delay: float, twice: bool = False
) -> tuple[int, str]:
    """Start a race, wait for a line and a while, interrupt; the exit code and what is said then."""
    program = folder / "program.py"
    program.write_text(PROGRAM.format(plan=plan), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, program, *RACE],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    assert process.stderr is not None
    with process:
        while line and not re.search(line, text := process.stderr.readline()):
            assert text, "the race ended before it came to the line"
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGINT)
        if twice:
            os.killpg(process.pid, signal.SIGINT)
        said = process.stderr.read()
        return process.wait(timeout=60), said


@pytest.mark.parametrize(
    ("plan", "line", "delay", "kept"),
    [
        ("", "", 0.4, None),  # Python's modules, and torch
        (PROCESSES, "^learning rates", 0.0, "no run was finished"),  # workers start
        (
            LANES,
            "^fresh seeds",
            0.0,
            r"\d+ of about \d+ runs are kept in races/digits-mlp; the same",
        ),
    ],
    ids=["while modules are read", "workers start", "kept"],
)
def test_an_interrupt_is_answered_and_says_what_is_kept(
    plan: str, line: str, delay: float, kept: str | None, tmp_path: Path
) -> None:
    code, said = interrupted(tmp_path, plan, line, delay)
    assert code == 130
    assert "Traceback" not in said
    lines = said.strip().splitlines()
    assert ENDING in lines, said
    if kept is not None:
        assert re.search(f"^thalweg( race)?: interrupted; {kept}", lines[-1]), said
    if kept and kept.startswith("no run"):
        assert not (tmp_path / "races" / "digits-mlp" / "race.json").exists()


def test_the_second_interrupt_ends_the_program_and_its_workers_at_once(tmp_path: Path) -> None:
    code, said = interrupted(tmp_path, PROCESSES, "^learning rates", 0.2, twice=True)
    assert code == 130
    assert "Traceback" not in said


def test_an_error_that_a_library_makes_of_the_interrupt_is_one(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import os, signal, sys, time\n"
        "import thalweg.__main__ as program\n"
        "from thalweg import cli\n"
        "def reads_modules(*args):\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        time.sleep(30)\n"
        "    except KeyboardInterrupt:\n"
        "        raise RecursionError('maximum recursion depth exceeded')\n"
        "cli.main = reads_modules\n"
        "sys.exit(program.main())\n"
    )
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr.strip()) == (130, ENDING)
