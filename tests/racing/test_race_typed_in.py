"""A race whose rule, model, loss and metric were typed at a prompt: no file has their source."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = '''
import torch
from torch import nn

import thalweg as tw
from thalweg.racing import run
from thalweg.training.execution.plan import ExecutionPlan

plan = ExecutionPlan("processes", 1, 2) if {processes} else ExecutionPlan("lanes", 8)
run.choose = lambda *args: plan

@tw.rule
def mine(theta, g, m, t, *, lr=0.1, beta=0.9):
    """Mine."""
    m = beta * m + g
    return theta - lr * m, m

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)
    def forward(self, x):
        return self.layer(x)

def loss(outputs, targets):
    return (outputs - targets).square().mean()

x = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
found = tw.race(Net, x, x.sum(1, keepdim=True), loss=loss, metrics="loss", optimizers=["sgd", mine],
                budget=2, seeds=2, epochs=1, out="typed", seed=1)
print(found.optimizers[0]["formula_mathml"][:5], {{e["name"]: e["code"] for e in found.optimizers}})
print(len(found.to_frame()))
'''


@pytest.mark.parametrize(
    ("processes", "options"),
    [(True, ["-"]), (False, ["-i", "-q"])],
    ids=["standard input, in processes", "prompt, in lanes"],
)
def test_a_race_typed_in_finishes_and_can_be_drawn_again(
    processes: bool, options: list[str], tmp_path: Path
) -> None:
    typed = PROGRAM.format(processes=processes)
    done = subprocess.run(
        [sys.executable, *options],
        input=typed,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert "<math" in done.stdout
    assert "thalweg.optim.from_rule(mine)(model.parameters(), lr=" in done.stdout
    document = json.loads((tmp_path / "typed" / "race.json").read_text(encoding="utf-8"))
    assert all(e["formula_mathml"].startswith("<math") for e in document["optimizers"])
    again = subprocess.run(
        [sys.executable, "-m", "thalweg", "report", "typed"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert again.returncode == 0, again.stderr
    assert "<math" in (tmp_path / "typed" / "report.html").read_text(encoding="utf-8")
