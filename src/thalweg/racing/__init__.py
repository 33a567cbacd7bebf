"""The fair race: the same budget for every optimizer, chosen on validation, judged on test.

Every public name is found when it is first used, so that the options of a race can be read without
a framework.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..training.execution.ray import Cluster
    from .estimate import Forecast
    from .multitask import Races, races
    from .options import Options
    from .result import Race
    from .spec import Spec
    from .start import forecast, race
    from .watcher import Silence, Watcher

_HOME = {
    "Cluster": "..training.execution.ray",
    "Forecast": ".estimate",
    "Options": ".options",
    "Race": ".result",
    "Races": ".multitask",
    "Silence": ".watcher",
    "Spec": ".spec",
    "Watcher": ".watcher",
    "forecast": ".start",
    "race": ".start",
    "races": ".multitask",
}

__all__ = [
    "Cluster",
    "Forecast",
    "Options",
    "Race",
    "Races",
    "Silence",
    "Spec",
    "Watcher",
    "forecast",
    "race",
    "races",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'thalweg.racing' has no attribute {name!r}")
    return getattr(import_module(_HOME[name], __name__), name)


def __dir__() -> list[str]:
    return __all__
