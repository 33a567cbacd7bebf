"""Optimizer classes of other packages, and a person's own, as entrants of a race."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import inspect
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..errors import UsageError
from ..rules import registry
from ..rules.citations import Reference
from ..rules.ranges import LogRange, Range
from ..tasks.fingerprint import code_texts
from ..tasks.user_errors import describe_error, own
from . import FILE

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_LEARNING_RATE = 1e-3  # where a class declares none

# Hyperparameters that mean the same in every package, and the rule whose range is searched.
_ALIKE = {
    "beta1": "adam",
    "beta2": "adam",
    "eps": "adam",
    "momentum": "momentum",
    "weight_decay": "adamw",
}


@dataclass(frozen=True)
class TorchMethod:
    """An optimizer class that is stepped by its own code, one run at a time.

    Two are equal if their names and their fingerprints are.

    Attributes:
        name: what tables call it.
        make: builds the optimizer of parameters: a class, a `functools.partial` of one, or a
            function.
        fingerprint: digest of the code and the options that `make` leads to.
        title: the first line of its documentation.
        defaults: its numeric hyperparameters. What the class takes as a tuple of numbers has a
            name for each: `betas` is `beta1` and `beta2`.
        tuples: by argument, the names of the hyperparameters that a tuple of numbers holds.
        whole: hyperparameters that are annotated as whole numbers.
        closure: whether a step needs a function that computes loss and gradient again.
        reference: the paper; a class names none.
    """

    name: str
    make: Callable[..., Optimizer] = field(compare=False, repr=False)
    fingerprint: str
    title: str = field(default="", compare=False)
    defaults: Mapping[str, float] = field(default_factory=dict, compare=False)
    tuples: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False, repr=False)
    whole: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    closure: bool = field(default=False, compare=False)
    reference: Reference | None = field(default=None, compare=False, repr=False)

    def learning_rates(self) -> LogRange:
        """Where to look for the learning rate: four decades around the default of the class."""
        return LogRange(self.defaults["lr"])

    @property
    def search(self) -> dict[str, Range]:
        """Ranges of the hyperparameters whose names mean the same everywhere."""
        rules = registry()
        known = {name: rules[rule].search[name] for name, rule in _ALIKE.items()}
        return {name: where for name, where in known.items() if name in self.defaults}

    def options(self, hyper: Mapping[str, float]) -> dict[str, Any]:
        """The keyword arguments that give the class these hyperparameters.

        Args:
            hyper: by name, those that differ from the defaults; a weight decay that the class
                does not have is left out.
        """
        found: dict[str, Any] = {}
        holder = {name: argument for argument, own in self.tuples.items() for name in own}
        for name, value in hyper.items():
            if name == "weight_decay" and name not in self.defaults:
                continue
            argument = holder.get(name)
            if argument is None:
                found[name] = round(value) if name in self.whole else value
            else:
                names = self.tuples[argument]
                found[argument] = tuple(hyper.get(n, self.defaults[n]) for n in names)
        return found

    def build(self, parameters: Sequence[Tensor], hyper: Mapping[str, float]) -> Optimizer:
        """The optimizer of these parameters.

        Args:
            parameters: to be stepped.
            hyper: hyperparameters that differ from the defaults.

        Raises:
            UsageError: `make` returns something else than an optimizer.
        """
        made = self.make(list(parameters), **self.options(hyper))
        if not isinstance(made, Optimizer):
            raise UsageError(
                f"{self.name} returns a {type(made).__name__}; it must return a "
                "torch.optim.Optimizer"
            )
        return made


def is_optimizer(thing: object) -> bool:
    """Whether this can be made an entrant: an optimizer class, or a partial of one."""
    if isinstance(thing, functools.partial):
        return is_optimizer(thing.func)
    return isinstance(thing, type) and issubclass(thing, Optimizer)


def torch_method(make: Callable[..., Optimizer], name: str | None = None) -> TorchMethod:
    """An optimizer class as an entrant.

    Args:
        make: a class derived from `torch.optim.Optimizer`, a `functools.partial` of one, or a
            function of parameters and `lr` that returns an optimizer.
        name: what tables call it; by default the name of the class.

    Raises:
        UsageError: it takes no `lr`, or cannot be an entrant.
    """
    core = _core(make)
    if not callable(make) or (isinstance(core, type) and not issubclass(core, Optimizer)):
        raise UsageError(
            f"{make!r} is no optimizer: give a class derived from torch.optim.Optimizer, a "
            "functools.partial of one, or a function of (params, lr) that returns one"
        )
    if core is Optimizer:
        raise UsageError("torch.optim.Optimizer is the base of optimizers; give one of them")
    try:
        arguments = list(inspect.signature(make).parameters.values())
    except (TypeError, ValueError) as error:
        raise UsageError(f"{make!r} has no signature to read hyperparameters from") from error
    required = [p for p in arguments if p.default is p.empty and p.kind in _POSITIONAL]
    if not isinstance(core, type) and {p.name for p in required[1:]} - {"lr"}:
        raise UsageError(
            f"{_plain_name(core)} needs {required[1].name}; give a function of (params, lr), a "
            "functools.partial of it, or for a formula a rule made with @thalweg.rule"
        )
    if name is None and "<" in _plain_name(core):
        raise UsageError(f"{core!r} needs a name for tables: optimizers={{'a name': …}}")
    defaults, tuples, whole = _hyperparameters(arguments)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in arguments)
    if not open_ended and "lr" not in {p.name for p in arguments}:
        raise UsageError(f"{_plain_name(core)} takes no argument lr to race over")
    rate = defaults.get("lr", math.nan)
    defaults["lr"] = rate if 0 < rate < math.inf else _default_rate(make)
    return TorchMethod(
        name=name or _name(core),
        make=make,
        fingerprint=_fingerprint(make),
        title=_title(core),
        defaults=defaults,
        tuples=tuples,
        whole=whole,
    )


def _core(make: object) -> object:
    """The class or function below any `functools.partial`."""
    while isinstance(make, functools.partial):
        make = make.func
    return make


def _plain_name(core: object) -> str:
    return getattr(core, "__name__", type(core).__name__)


def _name(core: object) -> str:
    """The name of a class; with its package where a built-in optimizer has that name."""
    name = _plain_name(core)
    if name.lower() not in registry():
        return name
    module = (getattr(core, "__module__", None) or "__main__").removeprefix(FILE)
    package = module.partition(".")[0]
    return f"{'own' if package == '__main__' else package}.{name}"


def _title(core: object) -> str:
    text = (inspect.getdoc(core) or "").strip()
    return " ".join(text.partition("\n\n")[0].split()) or _plain_name(core)


def _hyperparameters(
    arguments: Sequence[inspect.Parameter],
) -> tuple[dict[str, float], dict[str, tuple[str, ...]], frozenset[str]]:
    """The numbers among the defaults, the names in tuples of numbers, and the whole numbers."""
    defaults: dict[str, float] = {}
    tuples: dict[str, tuple[str, ...]] = {}
    for p in arguments:
        if _is_number(p.default):
            defaults[p.name] = float(p.default)
        elif isinstance(p.default, tuple) and p.default and all(map(_is_number, p.default)):
            stem = p.name.removesuffix("s")
            names = tuple(f"{stem}{k}" for k in range(1, len(p.default) + 1))
            tuples[p.name] = names
            defaults |= dict(zip(names, map(float, p.default), strict=True))
    return defaults, tuples, frozenset(p.name for p in arguments if p.annotation in (int, "int"))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _default_rate(make: Callable[..., Optimizer]) -> float:
    """The learning rate of a class whose signature does not say it."""
    try:
        made = make([torch.nn.Parameter(torch.zeros(2, 2))])
        rate = float(made.param_groups[0]["lr"])
    except Exception:  # it needs lr, or parameters of another form; it is tried on the task later
        return _LEARNING_RATE
    return rate if 0 < rate < math.inf else _LEARNING_RATE


def _fingerprint(make: object) -> str:
    """A digest of what an optimizer does: its options, its code, and its package's version."""
    used = list(dict.fromkeys(_used(make)))
    with _unhooked([thing for thing in used if isinstance(thing, type)]):
        texts = code_texts(make)
    for thing in used:
        module = sys.modules.get(getattr(thing, "__module__", "") or "")
        file = getattr(module, "__file__", None)
        if module is None or not file or own(file):
            continue  # the person's own code is among the texts
        texts.append(f"{module.__name__}.{_plain_name(thing)} {_version(module.__name__)}")
        texts.append(_source(module))
    return hashlib.sha256("\0".join(texts).encode(errors="surrogatepass")).hexdigest()


@contextmanager
def _unhooked(kinds: Sequence[type]) -> Iterator[None]:
    """Have classes as they were written: torch wraps `step` when the first instance is made.

    Args:
        kinds: derived ones before their bases.
    """
    hooked = {
        kind: vars(kind)["step"]
        for kind in kinds
        if getattr(vars(kind).get("step"), "hooked", False)
    }
    for kind, step in hooked.items():
        written = step.__wrapped__
        above = [vars(base).get("step") for base in kind.__mro__[1:]]
        if any(written in (one, getattr(one, "__wrapped__", None)) for one in above):
            del kind.step  # type: ignore[attr-defined]
        else:
            kind.step = written  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for kind, step in hooked.items():
            kind.step = step  # type: ignore[attr-defined]


def _used(make: object) -> Iterator[Any]:
    """The classes and functions that a partial holds, and what the classes derive from."""
    if isinstance(make, functools.partial):
        for part in (make.func, *make.args, *make.keywords.values()):
            yield from _used(part)
    elif isinstance(make, type):
        yield from (each for each in make.__mro__ if not each.__module__.startswith("torch."))
    elif inspect.isroutine(make):
        yield make


@functools.cache
def _packages() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def _version(module: str) -> str:
    names = _packages().get(module.partition(".")[0], [])
    return " ".join(f"{name} {importlib.metadata.version(name)}" for name in sorted(set(names)))


def _source(module: Any) -> str:
    try:
        return inspect.getsource(module)
    except (OSError, TypeError):  # compiled: its version must do
        return ""


def step_argument(optimizer: Optimizer) -> inspect.Parameter | None:
    """The argument of `step` that takes a closure; None where it takes none."""
    arguments = inspect.signature(optimizer.step).parameters
    named = arguments.get("closure")
    if named is not None:
        return named
    first = next(iter(arguments.values()), None)
    return first if first is not None and first.kind is first.POSITIONAL_OR_KEYWORD else None


def describe(method: TorchMethod, error: BaseException) -> str:
    """What an optimizer raised, with its own file and line where it is the person's own code."""
    return describe_error(error, _core(method.make))
