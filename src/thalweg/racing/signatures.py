"""The options of a race in the signature and docstring of a function that takes them."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any, TypeVar

from .option import in_python
from .options import OPTIONS, type_of

Function = TypeVar("Function", bound=Callable[..., Any])


def documented(function: Function) -> Function:
    """Show the options in the signature and in the docstring of a function that takes them."""
    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    shown = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=type_of(name)
        )
        for name, option in OPTIONS.items()
        if name not in signature.parameters
    ]
    function.__signature__ = signature.replace(parameters=[*own, *shown])  # type: ignore[attr-defined]
    lines = [
        textwrap.fill(
            f"{p.name}: {in_python(OPTIONS[p.name])}.",
            100,
            initial_indent=" " * 8,
            subsequent_indent=" " * 12,
        )
        for p in shown
    ]
    function.__doc__ = (function.__doc__ or "").replace(
        "        **options: as in `Options`.", "\n".join(lines)
    )
    return function
