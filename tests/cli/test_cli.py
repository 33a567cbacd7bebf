"""The command line's frame: help, exit codes, one line for what is wrong, streams that close."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import thalweg
from thalweg import cli
from thalweg.errors import ThalwegError, UsageError

COMMANDS = cli._COMMANDS


def thalweg_process(
    *arguments: str, cwd: Path | None = None, shell: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """`python -m thalweg` in a process of its own; `shell` is what to do with its streams."""
    return subprocess.run(
        ["bash", "-c", f'"$@" {shell}', "bash", sys.executable, "-m", "thalweg", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=120,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        encoding="utf-8",
        errors="replace",
    )


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_explains_every_command_and_exits_0(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main([*command.split(), "--help"])
    assert left.value.code == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"usage: thalweg {command}".rstrip())
    assert said.err == ""
    if not command:
        assert all(re.search(rf"^ +{name} ", said.out, re.MULTILINE) for name in COMMANDS)


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"thalweg {thalweg.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rase"], "thalweg: no command named 'rase'; did you mean race or draw? `thalweg --help`"),
        (["--frobnicate"], "thalweg: no option named '--frobnicate'; `thalweg --help` explains"),
        (
            ["race", "--budget", "x"],
            "thalweg race: argument --budget: 'x' is no whole number, as 10 is; "
            "`thalweg race --help` explains",
        ),
        (
            ["race", "wine-mlp", "--shedule=cosine"],
            "thalweg race: no option named '--shedule'; did you mean --schedule",
        ),
        (["schema", "race", "races"], "thalweg schema: 'races' is one argument too many"),
        (
            ["race", "wine-mlp", "--schedule", "cosin"],
            "thalweg race: argument --schedule: no schedule named 'cosin'; did you mean cosine?",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_exits_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    assert left.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(said)
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UsageError("x=3 is odd"), 2, "thalweg rules: x=3 is odd\n"),
        (ThalwegError("the disk is full"), 1, "thalweg rules: the disk is full\n"),
        (
            PermissionError(13, "Permission denied", "f"),
            1,
            "thalweg rules: [Errno 13] Permission denied: 'f'\n",
        ),
        (KeyboardInterrupt(), 130, "thalweg rules: interrupted\n"),
        (KeyboardInterrupt("all is kept"), 130, "thalweg rules: interrupted; all is kept\n"),
    ],
)
def test_what_is_raised_becomes_a_line_and_a_code(
    error: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from thalweg.cli import rules

    def fail(args: object) -> int:
        raise error

    monkeypatch.setattr(rules, "run", fail)
    assert cli.main(["rules"]) == code
    assert capsys.readouterr() == ("", said)


def test_without_arguments_the_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert all(f"    {name} " in out for name in cli._COMMANDS)


def test_a_mistake_in_the_program_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    from thalweg.cli import rules

    def fail(args: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(rules, "run", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["rules"])


def test_the_module_and_the_script_are_the_same_program() -> None:
    module = thalweg_process("--version")
    script = subprocess.run(
        [Path(sys.executable).with_name("thalweg"), "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert module.stdout == script.stdout


@pytest.mark.parametrize("arguments", [["rules"], ["race", "--list"], ["rules", "adam"]])
def test_a_reader_that_leaves_is_no_failure(arguments: list[str]) -> None:
    done = thalweg_process(*arguments, shell="| true; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stderr) == (0, "")


def test_errors_keep_their_code_when_nobody_reads_them() -> None:
    done = thalweg_process(
        "race", "wine-mpl", shell="2>&1 >/dev/null | true; exit ${PIPESTATUS[0]}"
    )
    assert done.returncode == 2


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_are_no_failure(closed: str) -> None:
    done = thalweg_process("race", "--list", shell=closed)
    assert done.returncode == 0
    assert done.stderr == ""
    assert (done.stdout == "") == (">&-" in closed.replace("2>&-", ""))


def test_a_terminal_without_greek_gets_question_marks() -> None:
    done = thalweg_process("rules", "adam", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "?" in done.stdout
    assert done.stdout.isascii()
