"""What a person's own function does, as text: its code, and all that this code leads to."""

from __future__ import annotations

import copyreg
import hashlib
import inspect
import random
from collections.abc import Iterator, Mapping
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

from .initial_weights import ModelBuilder
from .user_errors import own

_PLAIN = (int, float, complex, str, bytes, bool, type(None))

# What these hold changes as they are used, and says nothing of what is done.
_MOVING = (
    torch.Generator,
    np.random.Generator,
    np.random.RandomState,
    np.random.BitGenerator,
    random.Random,
)


def code_texts(*things: Any) -> list[str]:
    """The source of functions, classes and objects, and of whatever of the person's own they use.

    A helper that a function calls, a constant that it reads and the class that it derives from
    are followed, in any module of the person's own, and a function through what is wrapped around
    it; what is installed goes by its name, an object of an installed class by what it would be
    pickled as too.

    Args:
        *things: functions, classes, objects with attributes.

    Returns:
        Texts: the same in every process, others as soon as what is done differs.
    """
    walk = _Walk()
    for thing in things:
        walk.see(thing)
    return walk.texts


class _Walk:
    """Goes from one thing to those that it uses, to each once."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.seen: dict[int, Any] = {}  # holds them, so that no other gets the number

    def see(self, thing: Any) -> None:
        """Note a thing, and follow it."""
        if isinstance(thing, _PLAIN):
            self.texts.append(repr(thing))
            return
        if id(thing) in self.seen:
            return
        self.seen[id(thing)] = thing
        if isinstance(thing, torch.Tensor | np.ndarray):
            self._array(thing)
        elif isinstance(thing, list | tuple):
            self.texts.append(f"{type(thing).__name__} of {len(thing)}")
            self._all(thing)
        elif isinstance(thing, set | frozenset):
            self.texts += sorted(map(repr, thing))
        elif isinstance(thing, Mapping):
            self._all(part for pair in thing.items() for part in pair)
        elif isinstance(thing, partial):
            self._all((thing.func, thing.args, thing.keywords))
        elif isinstance(thing, MethodType):
            self._all((thing.__func__, thing.__self__))
        elif isinstance(thing, FunctionType):
            self._function(thing)
        elif isinstance(thing, type):
            self._class(thing)
        elif not isinstance(thing, ModuleType | BuiltinFunctionType):
            self._object(thing)
        if wrapped := _wrapped(thing):
            self.see(wrapped)

    def _all(self, things: Any) -> None:
        for thing in things:
            self.see(thing)

    def _array(self, values: Any) -> None:
        if isinstance(values, torch.Tensor):
            values = values.detach().cpu()
            if values.dtype == torch.bfloat16:  # which NumPy does not have
                self.texts.append(str(values.dtype))
                values = values.view(torch.int16)
            values = values.numpy()
        digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
        self.texts.append(f"{values.dtype} {values.shape} {digest}")

    def _function(self, function: FunctionType) -> None:
        self.texts.append(function.__qualname__)
        theirs = own(function.__code__.co_filename)
        if not theirs and not (function.__module__ or "").startswith("thalweg."):
            return
        # A function of ours may be made around one of theirs.
        self._all((function.__defaults__, function.__kwdefaults__))
        for cell in function.__closure__ or ():
            try:
                self.see(cell.cell_contents)
            except ValueError:  # not yet filled
                continue
        if theirs:
            self.texts.append(_source(function))
            self._names(function.__code__, function.__globals__)

    def _names(self, body: CodeType, scope: Mapping[str, Any]) -> None:
        """Follow the globals that code reads, and what it takes from modules among them."""
        names = sorted({name for part in _nested(body) for name in part.co_names})
        for name in names:
            found = scope.get(name)
            if name not in scope:
                continue
            self.texts.append(name)
            if isinstance(found, ModuleType):
                if own(getattr(found, "__file__", None) or "<frozen"):
                    self._all(vars(found)[used] for used in names if used in vars(found))
            else:
                self.see(found)

    def _class(self, kind: type) -> None:
        self.texts.append(kind.__qualname__)
        if not _own(kind):
            return
        self.texts.append(_source(kind))
        self._all(kind.__bases__)
        for name, part in sorted(vars(kind).items()):
            inner = getattr(part, "__func__", getattr(part, "fget", part))
            inner = getattr(inner, "func", inner)  # of a cached property
            if isinstance(inner, FunctionType):
                self._function(inner)
            if wrapped := _wrapped(inner):
                self.see(wrapped)
            elif not name.startswith("__") and isinstance(inner, (*_PLAIN, list, tuple, dict)):
                self.see(inner)

    def _object(self, thing: Any) -> None:
        self._class(type(thing))
        if isinstance(thing, ModelBuilder):
            self._all(thing.decisive())
        elif isinstance(thing, torch.nn.Module) or (
            _own(type(thing)) and hasattr(thing, "__dict__")
        ):
            self._all(part for pair in sorted(vars(thing).items()) for part in pair)
        elif not isinstance(thing, _MOVING):
            self._all(_pickled(thing))


def _wrapped(thing: Any) -> FunctionType | None:
    """The function around which torch.no_grad, lru_cache and their like have made another."""
    found = getattr(thing, "__wrapped__", None)
    return found if isinstance(found, FunctionType) else None


def _pickled(thing: Any) -> Iterator[Any]:
    """What an object would be made of again; nothing of one that cannot be pickled."""
    try:
        registered = copyreg.dispatch_table.get(type(thing))
        made = registered(thing) if registered else thing.__reduce_ex__(2)
    except Exception:  # classes raise what they like to say so: such a one goes by its name
        return
    if isinstance(made, str):
        yield made
        return
    _, arguments, *rest = made
    yield arguments
    for part in rest:  # the state, then items of lists and dictionaries as iterators
        yield list(part) if isinstance(part, Iterator) else part


def _own(kind: type) -> bool:
    try:
        return own(inspect.getfile(kind))
    except OSError:  # made at a prompt
        return True
    except TypeError:  # built in
        return False


def _nested(body: CodeType) -> Iterator[CodeType]:
    yield body
    for part in body.co_consts:
        if isinstance(part, CodeType):
            yield from _nested(part)


def _source(thing: Any) -> str:
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):  # typed at a prompt
        body = getattr(thing, "__code__", None)
        parts = _nested(body) if body is not None else ()
        return " ".join(
            p.co_code.hex() + repr([c for c in p.co_consts if isinstance(c, _PLAIN)]) for p in parts
        )
