"""The options of a race: defined once, the same in Python, on the command line and in the docs."""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import thalweg as tw
from thalweg.cli import race as command
from thalweg.errors import UsageError
from thalweg.racing.option import flag_of, switch
from thalweg.racing.options import OPTIONS, Options, completed, type_of
from thalweg.racing.spec import Spec

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("function", [tw.race, tw.races])
def test_every_option_stands_in_the_signature_and_in_the_docstring(function: Any) -> None:
    shown = inspect.signature(function).parameters
    for name, option in OPTIONS.items():
        assert shown[name].default == option.default
        assert shown[name].annotation == type_of(name)
        assert f"        {name}: " in function.__doc__
    assert "**options" not in function.__doc__
    assert all(len(line) <= 100 for line in function.__doc__.splitlines())


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser()
    command.add(whole.add_subparsers())
    return whole


def test_the_command_line_has_the_options_and_nothing_else_to_race_with() -> None:
    args = vars(parser().parse_args(["race", "task"]))
    cluster = {name for name in args if name.startswith("ray_")}
    assert set(args) - cluster - {"task", "train", "list", "dry_run", "json", "run"} == {
        name for name, option in OPTIONS.items() if option.read is not None
    }
    assert all(args[name] is None for name in OPTIONS if name in args)  # the default is race's own


EXAMPLES = {
    "optimizers": ("sgd, adam", ["sgd", "adam"]),
    "budget": ("3", 3),
    "seeds": ("4", 4),
    "seed": ("0", 0),
    "epochs": ("5", 5),
    "batch_size": ("6", 6),
    "tune": ("beta1,clip", ["beta1", "clip"]),
    "sampler": ("sobol", "sobol"),
    "learning_rates": ("0.1,1e-2", [0.1, 0.01]),
    "search": ("adam.lr=1e-5..1e-2", {"adam": {"lr": (1e-5, 1e-2)}}),
    "schedule": ("cosine", "cosine"),
    "warmup": ("0.05", 0.05),
    "clip": ("1", 1.0),
    "order": ("sequential", "sequential"),
    "init": ("given", "given"),
    "drop_last": (None, True),
    "prune": (None, False),
    "out": ("folder", "folder"),
    "overwrite": (None, True),
    "live": (None, True),
    "device": ("cuda:1", "cuda:1"),
    "ray": ("auto", "auto"),
    "time_limit": ("10m", 600.0),
    "name": ("mine", "mine"),
    "target": ("species", "species"),
    "validation": ("later.csv", "later.csv"),
    "test": ("last.csv", "last.csv"),
}


@pytest.mark.parametrize("name", [n for n, option in OPTIONS.items() if option.read is not None])
def test_an_argument_of_the_command_line_becomes_the_value_of_the_option(name: str) -> None:
    option, (text, value) = OPTIONS[name], EXAMPLES[name]
    line = ["race", "task", flag_of(name, option), *([] if option.read is switch else [text])]
    args = parser().parse_args(line)
    assert getattr(args, name) == value
    assert option.checked(name, value) == value


def test_what_is_left_out_has_its_default_and_what_is_given_is_checked() -> None:
    assert completed({"seeds": 3}) == {**{n: o.default for n, o in OPTIONS.items()}, "seeds": 3}
    for name in ("budget", "seeds", "tune", "prune"):
        assert getattr(Spec, name) == OPTIONS[name].default
    with pytest.raises(
        TypeError, match=r"race\(\) has no option named 'sedes'; did you mean seeds"
    ):
        tw.race("wine-mlp", sedes=3)  # type: ignore[call-arg]
    for name in ("budget", "seeds", "epochs", "batch_size"):
        for wrong in (0, -1, 2.0, True, "3"):
            with pytest.raises(UsageError, match=f"{name}=.* must be a whole number, at least 1"):
                tw.race("wine-mlp", **{name: wrong})
    for name in ("prune", "drop_last", "overwrite"):
        with pytest.raises(UsageError, match=f"{name}='yes' must be True or False"):
            tw.race("wine-mlp", **{name: "yes"})
    for search in ([1], {"adam": (1, 2)}):
        with pytest.raises(UsageError, match="must give ranges by optimizer and hyperparameter"):
            tw.race("wine-mlp", search=search)  # type: ignore[arg-type]
    for name in ("sampler", "schedule", "order"):
        with pytest.raises(UsageError, match=f"no {name} named 'nothing'"):
            tw.race("wine-mlp", **{name: "nothing"})


def test_the_options_can_be_read_without_a_framework() -> None:
    code = (
        "import sys, thalweg.racing.options as o; o.completed({'budget': 3});"
        "print([m for m in ('numpy', 'torch', 'numba', 'jax', 'scipy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.long
def test_a_type_checker_sees_the_options(tmp_path: Path) -> None:
    script = tmp_path / "typed.py"
    script.write_text(
        "import thalweg as tw\n"
        "tw.race('wine-mlp', budget=3, learning_rates=[0.1], tune=['beta1'], out='x')\n"
        "tw.race('wine-mlp', budget='3')\n"
        "tw.race('wine-mlp', bugdet=3)\n"
        "tw.races(['wine-mlp'], order=3)\n",
        encoding="utf-8",
    )
    found = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "", str(script)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    lines = [line.split(":")[1] for line in found.stdout.splitlines() if ": error:" in line]
    assert lines == ["3", "4", "5"], found.stdout


def test_the_page_of_options_is_what_they_are() -> None:
    """After a change to an option: python docs/make_options.py."""
    spec = importlib.util.spec_from_file_location("make_options", ROOT / "docs" / "make_options.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text(encoding="utf-8") == module.page()


def test_every_option_is_typed_and_said_in_a_sentence() -> None:
    assert set(OPTIONS) == set(Options.__annotations__)
    for option in OPTIONS.values():
        assert option.about
        assert not option.about.endswith(".")
