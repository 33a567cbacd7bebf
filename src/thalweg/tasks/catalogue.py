"""The list of built-in tasks, and how one is found by its name and options."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import UsageError, known_name
from .task import Task

Value = int | float | bool


@dataclass(frozen=True)
class Builder:
    """A built-in task that has not loaded its data yet; call it, with options, to get it.

    Attributes:
        name: the task's name.
        title: one line that says what is trained on what.
        build: takes the name and the options, returns the task.
        options: the options and their default values.
    """

    name: str
    title: str
    build: Callable[..., Task]
    options: Mapping[str, Value]

    def __call__(self, **options: Value | str) -> Task:
        """The task with these options.

        Args:
            **options: values, or the text of values.

        Returns:
            A task whose name spells the options that are not the default.

        Raises:
            UsageError: the task has no such option, or the value cannot be one of it.
        """
        for key in options:
            if key not in self.options:
                has = f"it has {', '.join(self.options)}" if self.options else "it has none"
                raise UsageError(f"task {self.name!r} has no option {key!r}; {has}")
        given = {
            key: self._read(key, options[key]) if key in options else default
            for key, default in self.options.items()
        }
        name = self._spell(given)
        try:
            return replace(self.build(name, **given), title=self.title)
        except MemoryError as error:
            raise UsageError(
                f"task {name!r}: its data do not fit into memory; give smaller options"
            ) from error

    def _read(self, key: str, given: object) -> Value:
        kind = type(self.options[key])
        if kind is bool:
            given = {"true": 1, "yes": 1, "false": 0, "no": 0}.get(str(given).lower(), given)
        try:
            number = float(given)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = math.nan
        valid = {bool: number in (0, 1), int: number.is_integer(), float: math.isfinite(number)}
        if not valid[kind]:
            wanted = {bool: "true or false", int: "a whole number", float: "a finite number"}
            raise UsageError(f"task {self.name!r}: {key}={given} must be {wanted[kind]}")
        return kind(number)

    def _spell(self, options: Mapping[str, Value]) -> str:
        changed = [
            f"{key}={str(value).lower().removesuffix('.0')}"
            for key, value in options.items()
            if value != self.options[key]
        ]
        return f"{self.name}:{','.join(changed)}" if changed else self.name


def builtin(build: Callable[..., Task]) -> None:
    """Put a task into the list. The signature is its specification, as it is a rule's.

    The function's name is the task's, its keyword-only arguments the options with their
    defaults, and the first line of its docstring the title. It takes the name to give first.
    """
    parameters = inspect.signature(build).parameters.values()
    name = build.__name__.replace("_", "-")
    title = (inspect.getdoc(build) or "").partition("\n")[0].removesuffix(".")
    options = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    _REGISTRY[name] = Builder(name, title, build, options)


def registry() -> Mapping[str, Builder]:
    """All built-in tasks by name; call a value to build its task, read its `title` to list it."""
    return dict(_REGISTRY)


def find(name: str, **options: Any) -> Task:
    """The built-in task of this name: `find("quadratic", dim=50)` or `find("quadratic:dim=50")`.

    Args:
        name: the task's name, and options after a colon if any: `name:key=value,key=value`.
        **options: options, instead of or besides those in the name.

    Raises:
        UsageError: no such task or option, or a value that cannot be; it names the nearest ones.
    """
    base, _, text = name.partition(":")
    base = known_name("task", base, _REGISTRY)
    for item in filter(None, text.split(",")):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals:
            raise UsageError(f"task {name!r}: write options as key=value, not {item!r}")
        if key in options:
            raise UsageError(f"task {name!r}: option {key!r} is given twice")
        options[key] = value
    return _REGISTRY[base](**options)


_REGISTRY: dict[str, Builder] = {}
