"""A new engine is one folder and one line: programs in C, compiled by the system's compiler.

The engine itself is `support/c_engine`. Nothing of it stands in the package.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch

import thalweg.optim as ours
from c_engine import CEngine
from c_engine.launch import CLaunch
from oracles import EVERY_RULE, TOLERANCE, assert_agree, in_everything, lively
from thalweg.cli import main
from thalweg.engines import registry
from thalweg.errors import UsageError
from thalweg.ops import sign, tanh, where
from thalweg.rules import Rule, find, rule
from thalweg.rules import registry as rules
from thalweg.tape import trace
from thalweg.tasks import find as find_task
from thalweg.training.runs import Regime, Run, method
from thalweg.training.train import Session

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler (cc)")

SHAPES = ((7, 3), (), (5,), (0, 2), (40, 1000))  # the last of several chunks
ELEMENTWISE = [r for r in EVERY_RULE if not trace(r).middle]
REDUCING = [r for r in rules().values() if trace(r).middle]


@rule(scalars=("scale",), init={"scale": 1.0})
def own(theta, g, m, scale, t, *, lr=0.1, beta=0.7):
    """A person's own: a condition, a number that advances, and names that C reserves."""
    m = beta * m + tanh(g)
    long = where((m > 0) & (g < 1), m, -0.5 * sign(m))
    return theta - lr * scale / t**0.5 * long, m, scale * 0.9


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[CLaunch]:
    """The launches that the engine makes."""
    made: list[CLaunch] = []
    begin = CLaunch.__init__

    def noted(self: CLaunch, *args: Any, **options: Any) -> None:
        begin(self, *args, **options)
        made.append(self)

    monkeypatch.setattr(CLaunch, "__init__", noted)
    return made


@pytest.fixture
def registered(launches: list[CLaunch]) -> Iterator[list[CLaunch]]:
    """The one line; the launches that the engine makes."""
    registry.register(CEngine())
    yield launches
    registry.unregister(CEngine.name)


def parameters(dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=random, dtype=dtype).requires_grad_() for s in SHAPES]


def train(optimizer: torch.optim.Optimizer, steps: int = 6, rest: bool = False) -> list[Any]:
    """Step; the states. With `rest`, a parameter has no gradient now and then."""
    random = torch.Generator().manual_seed(1)
    own = [p for group in optimizer.param_groups for p in group["params"]]
    for step in range(steps):
        for k, p in enumerate(own):
            g = torch.rand(p.shape, generator=random, dtype=p.dtype) + 0.1
            sparse = rest and (step >> k) % 2
            p.grad = None if sparse else torch.where(g > 0.6, g, -g)
        optimizer.step()
    return [{"p": p.detach(), **optimizer.state[p]} for p in own]


def as_eager(cls: type, shift: dict[str, Any], tolerance: float = TOLERANCE["float64"]) -> None:
    """The engine's steps are those of the eager one."""
    for rest in (False, True):
        found = train(cls(parameters(), engine="c", **shift), rest=rest)
        wanted = train(cls(parameters(), engine="eager", **shift), rest=rest)
        for mine, theirs in zip(found, wanted, strict=True):
            assert_agree(mine, theirs, tolerance)


@pytest.mark.parametrize(
    "form", [*[r for r in ELEMENTWISE if r in rules().values()], own], ids=lambda r: r.name
)
def test_every_elementwise_rule_steps_as_in_the_eager_engine(
    form: Rule, registered: list[CLaunch]
) -> None:
    as_eager(ours.from_rule(form), dict(lively(form)))
    assert registered


@pytest.mark.long
@pytest.mark.parametrize("form", ELEMENTWISE, ids=lambda r: r.name)
def test_so_does_every_convention_and_combination(form: Rule, registered: list[CLaunch]) -> None:
    as_eager(ours.from_rule(form), dict(lively(form)))


def test_a_combination_of_everything(registered: list[CLaunch]) -> None:
    """The short form of the test of all combinations."""
    as_eager(ours.from_rule(in_everything(find("nadam"))), {"lr": 0.02})


def test_registration_alone_chooses_it(registered: list[CLaunch]) -> None:
    """Torch's own class, without a word about engines: the engine that was added last steps."""
    found = train(ours.Adam(parameters(), lr=0.01, weight_decay=0.1))
    assert len(registered) == 1
    wanted = train(torch.optim.Adam(parameters(), lr=0.01, weight_decay=0.1))
    for mine, theirs in zip(found, wanted, strict=True):
        assert_agree(mine, theirs, TOLERANCE["float64"])


@pytest.mark.parametrize("form", REDUCING, ids=lambda r: r.name)
def test_what_it_refuses_falls_to_the_next_engine(form: Rule, registered: list[CLaunch]) -> None:
    cls = ours.from_rule(form)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # another compiled engine takes it, so nothing is said
        train(cls(parameters()))
    assert not registered
    with pytest.raises(UsageError, match=f"engine='c' cannot step .*{form.name} needs sums"):
        train(cls(parameters(), engine="c"))


def test_formats_that_it_does_not_keep_fall_to_the_next_engine(registered: list[CLaunch]) -> None:
    both = [*parameters(torch.float32), *parameters(torch.bfloat16)]
    train(ours.Adam(both))
    assert [launch.formats[0].name for launch in registered] == ["float32"]
    with pytest.raises(UsageError, match=r"engine='c' cannot step .* does not keep bfloat16"):
        train(ours.Adam(both, engine="c"))


def test_groups_schedules_and_checkpoints(registered: list[CLaunch]) -> None:
    """Rows of scalars that differ and change; a state goes to torch and comes back."""

    def groups() -> list[dict[str, Any]]:
        first, *others = parameters()
        return [{"params": [first], "lr": 0.1}, {"params": others, "betas": (0.5, 0.9)}]

    mine, theirs = ours.Adam(groups(), lr=0.01), torch.optim.Adam(groups(), lr=0.01)
    for optimizer in (mine, theirs):
        train(optimizer)
        optimizer.param_groups[1]["lr"] = 0.03
        train(optimizer)
    theirs.load_state_dict(deepcopy(mine.state_dict()))
    for found, wanted in zip(train(mine), train(theirs), strict=True):
        assert_agree(found, wanted, 3 * TOLERANCE["float64"])  # of three trainings in a row
    assert registered


def test_lanes_train_by_it(registered: list[CLaunch]) -> None:
    """Runs that train stacked find the engine in the same place."""
    task = find_task("spiral-mlp")
    runs = [Run(method("adam"), {"lr": lr}, seed=k) for k, lr in enumerate((0.01, 0.1))]
    trained = []
    for engine in (None, "numba"):
        session = Session(task, runs, Regime(1, 64, evaluations=1), engine=engine)
        assert list(session)
        trained.append([p.detach().double() for p in session.population.parameters])
    assert len(registered) == 1
    for mine, theirs in zip(*trained, strict=True):
        assert_agree({"p": mine}, {"p": theirs}, TOLERANCE["float32"])


def test_the_command_line_prints_its_kernel(
    registered: list[CLaunch], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rules", "lion", "--kernel"]) == 0
    assert "#include <math.h>" in capsys.readouterr().out
    assert main(["rules", "lamb", "--kernel"]) == 0  # which it refuses
    assert "from numba import" in capsys.readouterr().out
