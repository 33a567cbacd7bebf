"""`thalweg.optim` in the place of `torch.optim`: the names that programs use of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from mypy import api

import thalweg.optim as optim
import thalweg.optim.lr_scheduler as schedulers
import thalweg.optim.swa_utils as averages
from thalweg.optim import lr_scheduler
from thalweg.optim import swa_utils as imported


def test_every_public_name_of_torch_is_there() -> None:
    assert {*torch.optim.__all__} <= {*optim.__all__}
    for name in optim.__all__:
        assert getattr(optim, name) is not None
    assert optim.LBFGS is torch.optim.LBFGS
    assert optim.Optimizer is torch.optim.Optimizer
    assert not hasattr(optim, "AdamWW")


@pytest.mark.parametrize("name", ["lr_scheduler", "swa_utils"])
def test_torchs_modules_have_their_names_in_every_form(name: str) -> None:
    forms = {
        "lr_scheduler": (lr_scheduler, schedulers, optim.lr_scheduler),
        "swa_utils": (imported, averages, optim.swa_utils),
    }
    theirs: ModuleType = getattr(torch.optim, name)
    for module in forms[name]:
        assert module.__all__ == theirs.__all__
        for each in theirs.__all__:
            assert getattr(module, each) is getattr(theirs, each)
    assert schedulers._LRScheduler is torch.optim.lr_scheduler._LRScheduler


def test_a_program_trains_with_nothing_of_torch_optim() -> None:
    p = torch.ones(1, requires_grad=True)
    optimizer = optim.SGD([p], lr=1.0)
    assert isinstance(optimizer, optim.Optimizer)
    scheduler = optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    average = optim.swa_utils.AveragedModel(torch.nn.Linear(1, 1))
    for _ in range(3):
        p.grad = torch.ones(1)
        optimizer.step()
        scheduler.step()
    assert p.item() == 1 - 1 - 0.5 - 0.25
    average.update_parameters(torch.nn.Linear(1, 1))
    assert average.n_averaged == 1


def test_only_public_names_are_listed() -> None:
    assert dir(optim) == sorted(optim.__all__)
    assert not [name for name in dir(optim) if name.startswith("_")]
    starred: dict[str, object] = {}
    exec("from thalweg.optim import *", starred)
    assert starred.keys() - {"__builtins__"} == {*optim.__all__}


def test_importing_the_package_imports_no_torch() -> None:
    program = "import sys, thalweg; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


PROGRAM = """
import torch
import thalweg.optim as optim
import thalweg.optim.lr_scheduler as schedulers
from thalweg.optim import Optimizer, swa_utils

optimizer: Optimizer = optim.Adam([torch.ones(1)])
optim.lr_scheduler.StepLR(optimizer, 1)
schedulers.CosineAnnealingLR(optimizer, 10)
swa_utils.AveragedModel(torch.nn.Linear(1, 1))
optim.LBFGS([torch.ones(1)], lr="no number")
optim.AdamWW
"""


@pytest.mark.long
def test_a_type_checker_knows_the_names(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM, encoding="utf-8")
    # The two mistakes of the program are found, and nothing else.
    said, _, _ = api.run([str(file), "--cache-dir", str(tmp_path), "--follow-imports", "silent"])
    found = [line.partition(":")[2] for line in said.splitlines() if ": error:" in line]
    assert len(found) == 2, said
    assert "LBFGS" in found[0]
    assert "AdamWW" in found[1]
