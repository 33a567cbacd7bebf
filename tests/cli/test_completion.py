"""`thalweg --completion`, in real shells: bash always, zsh and fish where they are installed."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from thalweg.cli import completion, main
from thalweg.rules import registry

# What is typed, and what must be among the completions of its last word.
CASES = [
    ("thalweg ra", {"race"}),
    ("thalweg race dig", {"digits-softmax", "digits-svm", "digits-mlp", "digits-cnn"}),
    ("thalweg race wine-mlp --schedule c", {"constant", "cosine"}),
    ("thalweg race wine-mlp --optimizers lam", {"lamb"}),
    ("thalweg draw bea", {"beale"}),
    ("thalweg draw beale nad", {"nadam"}),
    ("thalweg race my", {"my_task.py"}),
    ("thalweg report rac", {"races"}),
    ("thalweg race wine-mlp --sched", {"--schedule"}),
]

BASH = """
eval "$(cat "$1")"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_shtab_thalweg thalweg "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a task, a race, and the scripts of all shells, as the command prints them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_task.py").touch()
    (tmp_path / "my_notes.txt").touch()
    (tmp_path / "races").mkdir()
    for shell in completion.SHELLS:
        done = subprocess.run(
            [sys.executable, "-m", "thalweg", "--completion", shell],
            capture_output=True,
            text=True,
            check=True,
        )
        (tmp_path / f".{shell}").write_text(done.stdout, encoding="utf-8")
    return tmp_path


def installed(shell: str) -> str:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed")
    return path


def test_bash_completes(scripts: Path) -> None:
    for typed, wanted in CASES:
        done = subprocess.run(
            [installed("bash"), "-c", BASH, "bash", ".bash", *typed.split()],
            capture_output=True,
            text=True,
            check=True,
        )
        found = set(done.stdout.split())
        last = typed.split()[-1]
        assert wanted <= found, (typed, done.stdout, done.stderr)
        assert all(each.startswith(last) for each in found), (typed, found)
        assert done.stderr == ""


def test_fish_completes(scripts: Path) -> None:
    fish = installed("fish")
    for typed, wanted in CASES:
        done = subprocess.run(
            [fish, "--no-config", "-c", f"source .fish; complete -C '{typed}'"],
            capture_output=True,
            text=True,
            check=True,
        )
        found = {line.split("\t")[0].rstrip("/") for line in done.stdout.splitlines()}
        assert wanted <= found, (typed, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("thalweg expo", "thalweg export "),
        ("thalweg race wine-mlp --schedule cos", "--schedule cosine "),
        ("thalweg draw bea", "thalweg draw beale "),
        ("thalweg race my", "thalweg race my_task.py "),
    ],
)
def test_zsh_completes(typed: str, completed: str, scripts: Path) -> None:
    master, terminal = pty.openpty()
    variables = {**os.environ, "PS1": "ready> ", "TERM": "dumb", "ZDOTDIR": str(scripts)}
    process = subprocess.Popen(
        [installed("zsh"), "-f", "-i"],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=variables,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        setup = "unsetopt zle_bracketed_paste; autoload -U compinit; compinit -u -D; source .zsh"
        os.write(master, f"{setup}; echo set''up\n".encode())
        read_until(master, "setup")
        os.write(master, f"{typed}\t".encode())
        read_until(master, completed)
    finally:
        process.kill()
        process.wait()
        os.close(master)


def read_until(master: int, wanted: str) -> None:
    """Read what a terminal shows until a text is in it."""
    seen, end = b"", time.monotonic() + 60
    while wanted not in seen.decode(errors="replace"):
        assert time.monotonic() < end, seen
        if select.select([master], [], [], 1.0)[0]:
            seen += os.read(master, 65536)


def test_every_rule_and_every_command_is_in_every_script(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from thalweg import cli

    for shell in completion.SHELLS:
        with pytest.raises(SystemExit) as ended:
            main(["--completion", shell])
        assert not ended.value.code
        out = capsys.readouterr().out
        assert all(name in out for name in (*registry(), *cli._COMMANDS))
    with pytest.raises(SystemExit):
        main(["--completion", "bahs"])
    err = capsys.readouterr().err
    said = "thalweg: argument --completion: no completion named 'bahs'; did you mean bash"
    assert err.startswith(said)
