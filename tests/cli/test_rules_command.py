"""`thalweg rules`: what a person and a program read."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from thalweg import cli, formula, rules, tape

FILE = """\
from thalweg import rule

@rule
def halfway(theta, g, m, t, *, lr=0.1, beta=0.5):
    '''Halfway: for the test.'''
    m = beta * m + g
    return theta - lr * m, m

@rule
def broken(theta, g, t, *, lr=0.1):
    if g > 0:
        g = -g
    return theta - lr * g
"""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command line with this command alone: exit code, stdout, stderr."""
    monkeypatch.setattr(cli, "_COMMANDS", ("rules",))

    def call(*argv: str) -> tuple[int, str, str]:
        try:
            code = cli.main(["rules", *argv])
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return call


def test_list(run: Any) -> None:
    code, out, err = run()
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 100
    listed = [line.split()[:2] for line in out.splitlines() if line[1:2].isalpha()]
    assert listed[0] == ["name", "year"]
    assert listed[-1] == ["`thalweg", "rules"]  # the hint at the end
    assert listed[1:-1] == [
        [r.name, str(r.reference.year)] for r in rules.registry().values() if r.reference
    ]
    for rule in rules.registry().values():
        for name, value in rule.defaults.items():
            assert f"{name}={value:g}" in out


@pytest.mark.parametrize("name", rules.registry())
def test_one(run: Any, name: str) -> None:
    code, out, err = run(name)
    assert (code, err) == (0, "")
    rule = rules.find(name)
    for line in (rule.title, *formula.text(rule).splitlines()):
        assert f"  {line}\n" in out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.startswith("  ")}
    for hyper, value in rule.defaults.items():
        assert rows[hyper][2] == f"{value:g}"
    for slot in rule.slots:
        assert "starts" in rows[slot]
    assert rule.reference is not None
    assert rule.reference.authors in out


def test_details(run: Any) -> None:
    _, out, _ = run("asgd")
    assert "  lr     η₀  0.01    searched from 0.001 to 10\n" in out
    assert "  average  average  starts at 0   shaped like the parameter\n" in out
    assert "  eta      η        starts at lr  one number\n" in out
    assert "state\n  none\n" in run("sgd")[1]


def test_json(run: Any) -> None:
    code, out, _ = run("--json")
    document = json.loads(out)
    assert code == 0
    assert document["schema"] == "thalweg.rules/1"
    assert [r["name"] for r in document["rules"]] == list(rules.registry())
    (adam,) = json.loads(run("adam", "--json")[1])["rules"]
    assert adam == next(r for r in document["rules"] if r["name"] == "adam")
    assert set(adam) == {
        "name",
        "title",
        "formula",
        "hyperparameters",
        "state",
        "search",
        "reference",
    }
    assert adam["formula"] == {
        "text": formula.text(rules.adam),
        "latex": formula.latex(rules.adam),
        "mathml": formula.mathml(rules.adam),
    }
    assert adam["hyperparameters"][1] == {"name": "beta1", "symbol": "β₁", "default": 0.9}
    assert adam["state"][0] == {"name": "m", "symbol": "m", "start": 0.0, "shape": "parameter"}
    assert set(adam["search"]) == {"lr", "beta1", "beta2", "eps"}
    assert adam["search"]["lr"] == {"centre": 3e-3, "low": 3e-5, "high": 0.3}
    assert (adam["search"]["beta2"]["low"], adam["search"]["beta2"]["high"]) == (0.9, 0.9999)
    assert adam["reference"]["year"] == 2015


def test_latex_and_kernel(run: Any) -> None:
    assert run("lion", "--latex")[1] == formula.latex(rules.lion) + "\n"
    assert run("lion", "--javascript")[1] == formula.javascript(rules.lion) + "\n"
    from thalweg.engines.registry import named

    _, out, _ = run("lion", "--kernel")
    assert out.rstrip() == named("numba").source(tape.trace(rules.lion), "float32").rstrip()
    assert "def " in out


def test_a_rule_of_your_own(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(FILE)
    code, out, _ = run(f"{file}:halfway")
    assert code == 0
    assert out.startswith("halfway\n  Halfway: for the test.\n")
    assert "  m ← β·m + g\n  θ ← θ − η·m\n" in out
    assert "  lr    η  0.1  searched from 0.001 to 10\n" in out
    assert "paper\n  none given\n" in out
    code, out, err = run(f"{file}:broken")
    assert (code, out) == (2, "")
    assert f"{file}:11: " in err
    assert "where" in err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["adma"], "did you mean adam"),
        (["--latex"], "--latex needs a name, as in `thalweg rules adam --latex`"),
        (["--kernel"], "--kernel needs a name"),
        (["missing.py:rule"], "missing.py"),
        (["adam", "--latex", "--json"], "not allowed with argument"),
    ],
)
def test_wrong_usage(run: Any, argv: list[str], message: str) -> None:
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_help_teaches(run: Any) -> None:
    code, out, _ = run("--help")
    assert code == 0
    for example in ("thalweg rules adam --latex", "thalweg rules my_rule.py:my_adam"):
        assert example in out


def test_narrow_terminal(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    plain = re.sub(r"\x1b\[\d*m", "", run()[1])
    table = plain[: plain.index("`thalweg")]
    assert max(map(len, table.splitlines())) <= 60
