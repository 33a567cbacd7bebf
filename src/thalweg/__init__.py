"""Thalweg: gradient-descent optimizers to step with, race and look at.

Importing this imports no framework: every public name is found when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from . import callbacks, ops, optim, rules, surfaces, tasks
    from . import optax as optax  # not in __all__: it needs an extra
    from .landscapes import Landscape, WeightPath, landscape, race_paths
    from .playground import Page, play
    from .racing import Race, Races, race, races
    from .rules import Rule, RuleError, registry, rule
    from .surfaces.trajectory import Trajectory, trajectory
    from .tasks import Task

_HOME = {
    "callbacks": "callbacks",
    "ops": "ops",
    "optax": "optax",
    "optim": "optim",
    "rules": "rules",
    "surfaces": "surfaces",
    "tasks": "tasks",
    "Landscape": "landscapes",
    "WeightPath": "landscapes",
    "landscape": "landscapes",
    "Page": "playground",
    "play": "playground",
    "Race": "racing",
    "Races": "racing",
    "race": "racing",
    "race_paths": "landscapes",
    "races": "racing",
    "Rule": "rules",
    "RuleError": "rules",
    "registry": "rules",
    "rule": "rules",
    "Task": "tasks",
    "Trajectory": "surfaces.trajectory",
    "trajectory": "surfaces.trajectory",
}

__all__ = [
    "Landscape",
    "Page",
    "Race",
    "Races",
    "Rule",
    "RuleError",
    "Task",
    "Trajectory",
    "WeightPath",
    "__version__",
    "callbacks",
    "landscape",
    "ops",
    "optim",
    "play",
    "race",
    "race_paths",
    "races",
    "registry",
    "rule",
    "rules",
    "surfaces",
    "tasks",
    "trajectory",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'thalweg' has no attribute {name!r}")
    module = import_module(f".{_HOME[name]}", __name__)
    return module if name == _HOME[name] else getattr(module, name)


def __dir__() -> list[str]:
    return __all__
