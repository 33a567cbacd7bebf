"""Modules by the names that earlier versions gave them: pickled optimizers refer to these."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from types import ModuleType
from typing import Any

_NAMES = {
    "adapter": "rule_classes",
    "beyond": "classes.beyond_torch",
    "beyond_torch": "classes.beyond_torch",
    "keeping": "stepping.precision",
    "sparse": "classes.sparse",
}

_CLASSES = {"Keeping": "StoragePrecision"}


class _Earlier(ModuleType):
    """A module that another one has replaced."""

    def __init__(self, name: str, new: str) -> None:
        super().__init__(name, f"The earlier name of `{new}`.")
        self._new = new

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        warnings.warn(
            f"{self.__name__} is {self._new} now; import from thalweg.optim",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(import_module(self._new), _CLASSES.get(name, name))


def register() -> None:
    """Let `import` and `pickle` find the modules by their earlier names."""
    for old, new in _NAMES.items():
        name = f"{__package__}.{old}"
        sys.modules[name] = _Earlier(name, f"{__package__}.{new}")
