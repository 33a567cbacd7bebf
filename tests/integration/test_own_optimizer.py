"""The example of an optimizer of one's own: every engine and every face, with no further code."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from oracles import Compiled, assert_agree, formula, problem
from thalweg.cli import main
from thalweg.engines.registry import named
from thalweg.rules import Rule
from thalweg.tape import trace

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_optimizer.py"


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLE))


def test_it_is_six_lines() -> None:
    lines = EXAMPLE.read_text().splitlines()
    first = lines.index("@tw.rule")
    written = [x for x in lines[first + 1 : lines.index("", first)] if '"""' not in x]
    assert len(written) <= 6


def test_the_compiled_engine_computes_the_formula(example: dict[str, Any]) -> None:
    heed: Rule = example["heed"]
    theta, gradients = problem("float64")
    compiled = Compiled(heed, "float64", [theta], [{"lr": 0.1}], [0])
    for g in gradients:
        compiled.step([g])
    assert_agree(compiled.result(), formula(heed, theta, gradients, {"lr": 0.1}), 1e-13)


def test_the_gpu_engine_writes_its_kernels(example: dict[str, Any]) -> None:
    formats = ["float32", "float32", "int8", "bfloat16~"]
    source = named("triton").source(trace(example["heed"]), formats)
    compile(source, "heed", "exec")
    assert "Heed: Adam that halves its step" in source


@pytest.mark.parametrize("options", [{}, {"state_dtype": "int8"}, {"engine": "eager"}])
def test_it_trains(example: dict[str, Any], options: dict[str, Any]) -> None:
    before, after = (example["train"](steps, **options) for steps in (1, 150))
    assert after < 0.05 * before


def test_it_is_an_optax_transformation(example: dict[str, Any]) -> None:
    jax = pytest.importorskip("jax")
    from thalweg import optax

    heed = example["heed"]
    transformation = optax.from_rule(heed, 0.1)
    theta, gradients = problem("float32", size=9)
    x, state = jax.numpy.asarray(theta), transformation.init(jax.numpy.asarray(theta))
    for g in gradients[:3]:
        updates, state = transformation.update(jax.numpy.asarray(g), state, x)
        x = x + updates
    expected = formula(heed, theta.astype(float), gradients[:3], {"lr": 0.1})["theta"]
    np.testing.assert_allclose(x, expected, atol=1e-6)  # float32, three steps


def test_it_races(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    options = ["--budget", "2", "--seeds", "2", "--epochs", "1", "--out", str(tmp_path)]
    assert main(["race", "quadratic", "--optimizers", f"sgd,{EXAMPLE}:heed", *options]) == 0
    assert "heed" in capsys.readouterr().out


def test_its_state_is_what_a_checkpoint_holds(example: dict[str, Any]) -> None:
    p = torch.zeros(300, requires_grad=True)
    optimizer = example["Heed"]([p], state_dtype="int8")
    p.grad = torch.randn(300, generator=torch.Generator().manual_seed(0))
    optimizer.step()
    saved = optimizer.state_dict()["state"][0]
    assert {key: x.dtype for key, x in saved.items()} == dict.fromkeys(
        ("step", "m", "v"), torch.float32
    )
