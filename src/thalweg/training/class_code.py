"""The line of Python that constructs an optimizer class, as a verdict shows it."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Mapping
from typing import Any

from ..tasks.user_errors import own
from . import FILE
from .torch_method import TorchMethod

_PLAIN = (bool, int, float, complex, str, bytes, type(None))


def class_code(method: TorchMethod, hyper: Mapping[str, float]) -> tuple[str, list[str]]:
    """The line that constructs the optimizer, with its import, and what it needs beside that.

    Args:
        method: an optimizer class.
        hyper: hyperparameters that differ from its defaults.
    """
    make, arguments, options = method.make, ["model.parameters()"], method.options(hyper)
    while isinstance(make, functools.partial):
        arguments += map(_written, make.args)
        options = {**make.keywords, **options}
        make = make.func
    first = {key: options[key] for key in ("lr",) if key in options}
    arguments += [f"{key}={_written(value)}" for key, value in {**first, **options}.items()]
    beside = []
    if all(callable(getattr(make, name, None)) for name in ("train", "eval")):
        beside.append("optimizer.train() before training, optimizer.eval() before evaluation")
    if method.closure:
        beside.append("its step takes a closure")
    if "weight_decay" in hyper and "weight_decay" not in method.defaults:
        beside.append(f"{hyper['weight_decay']!r} times the parameters added to the gradients")
    home, name = place(make)
    written = f"{home}.{name}" if home else name
    imported = f"import {home}; " if home else ""
    return f"{imported}{written}({', '.join(arguments)})", beside


def place(thing: Any) -> tuple[str, str]:
    """The module that a class or function is imported from, the shortest one, and its name.

    A class of the main program has no module to import; that of a file is the file's own name.
    """
    name = getattr(thing, "__qualname__", type(thing).__name__)
    module = getattr(thing, "__module__", None) or "__main__"
    if module == "__main__" or "<" in name:
        return "", name
    if module.startswith(FILE):
        return module.removeprefix(FILE), name
    parts = module.split(".")
    for count in range(1, len(parts)):
        above = ".".join(parts[:count])
        if getattr(sys.modules.get(above), name, None) is thing:
            return above, name
    return module, name


def _written(value: Any) -> str:
    """A value as code."""
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, list | tuple):
        inner = ", ".join(map(_written, value))
        if isinstance(value, tuple):
            return f"({inner},)" if len(value) == 1 else f"({inner})"
        return f"[{inner}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_written(k)}: {_written(v)}' for k, v in value.items())}}}"
    if isinstance(value, type) or inspect.isroutine(value):
        home, name = place(value)
        return f"{home}.{name}" if home and not own(_file(value)) else name
    return "…"


def _file(thing: Any) -> str:
    module = sys.modules.get(thing.__module__)
    return getattr(module, "__file__", None) or "<frozen>"
