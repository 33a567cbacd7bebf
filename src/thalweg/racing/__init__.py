"""The fair race: the same budget for every optimizer, chosen on validation, judged on test."""

from .run import Race, Silence, Watcher, race
from .spec import Spec

__all__ = ["Race", "Silence", "Spec", "Watcher", "race"]
