"""What names a run's record: a digest of everything that its result depends on."""

from __future__ import annotations

from typing import Any

import torch

from .._version import __version__
from ..records import SCHEMA, identity
from ..rules.core import Rule
from ..schedules import CONSTANT
from ..tape import trace
from ..tasks import Task
from .rng import STREAMS
from .runs import Regime, Run
from .torch_method import TorchMethod


def run_identity(task: Task, regime: Regime, run: Run, *, test: bool) -> str:
    """The name of a run's record; equal if and only if all that the result depends on is.

    Args:
        task: what is trained.
        regime: how all runs of the race train.
        run: the run.
        test: whether it measures the test set.
    """
    rule, schedule = run.method, run.recipe.schedule
    parts: dict[str, Any] = {
        "schema": SCHEMA,
        "versions": [__version__, torch.__version__],
        "streams": STREAMS,
        "task": task.fingerprint,
        "regime": vars(regime.under(run.recipe)),
        "method": rule.name,
        # A formula that changed is another method, whatever its name.
        "formula": _formula(run),
        "init": rule.init if isinstance(rule, Rule) else None,
        "hyper": run.scalars,
        "seed": run.seed,
        "test": test,
    }
    if schedule != CONSTANT:
        parts["schedule"] = vars(schedule)
    if run.bracket is not None:  # the others decide how far it is trained
        parts["bracket"] = run.bracket
    return identity(parts)


def _formula(run: Run) -> str:
    """What tells methods of one name apart."""
    if isinstance(run.method, Rule):
        return trace(run.rule).key
    return run.method.fingerprint if isinstance(run.method, TorchMethod) else run.method.title
