"""Which line of a person's own an error is put down to."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from thalweg.cli.load import load_task
from thalweg.errors import UsageError

BAD = """\
    import torch
    import thalweg as tw
    from torch import nn

    X = torch.ones(20, 2)
    X[3, 1] = float("nan")

    mine = tw.Task(name="mine", model=lambda: nn.Linear(2, 1), train=(X, X[:, :1]), loss="mse")
"""


def test_an_argument_that_a_constructor_refuses_is_put_down_to_its_call(tmp_path: Path) -> None:
    file = tmp_path / "my_task.py"
    file.write_text(textwrap.dedent(BAD), encoding="utf-8")
    with pytest.raises(UsageError, match=r"my_task\.py:8: task .mine.: .* contain 1 NaN"):
        load_task(str(file))
