"""Who takes part in a race: built-in methods by name, rules, and optimizer classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from torch.optim import Optimizer

from ..errors import UsageError, unknown
from ..rules import find
from ..tasks.user_errors import describe_error
from ..training.runs import Method, method, methods
from ..training.torch_method import is_optimizer, torch_method

Entrant = str | Method | Callable[..., Optimizer]

_CONVENTIONS = ("torch", "keras", "optax", "paper")  # "keras:adam" is a built-in rule's name


def entrants(optimizers: Sequence[Entrant] | Mapping[str, Entrant] | None) -> tuple[Method, ...]:
    """The methods that these mean; by default all distinct built-in ones, and random search.

    Args:
        optimizers: names of built-in methods, or `module:Class` of an installed package; rules;
            classes derived from `torch.optim.Optimizer`, a `functools.partial` of one, or
            functions of (params, lr) that return an optimizer. As a mapping, by the name that
            tables call each.

    Raises:
        UsageError: a name is unknown, and the message names the nearest ones; or something is no
            optimizer.
    """
    if optimizers is None:
        return tuple(m for m in methods().values() if m.name not in _VARIANTS)
    if isinstance(optimizers, str):
        raise UsageError(f"optimizers={optimizers!r} must be a list, as [{optimizers!r}]")
    if isinstance(optimizers, Mapping):
        return tuple(_labelled(name, given) for name, given in optimizers.items())
    return tuple(map(as_method, optimizers))


def as_method(given: object, name: str | None = None) -> Method:
    """The method that is meant by one of a race's `optimizers`.

    Args:
        given: as in `entrants`.
        name: what tables call an optimizer class; its own name by default.

    Raises:
        UsageError: it is none.
    """
    if isinstance(given, str):
        return _named(given, name)
    if isinstance(given, Method):
        return given
    if isinstance(given, Optimizer):
        raise UsageError(
            f"optimizers has an instance of {type(given).__name__}; give the class, or a "
            "functools.partial of it, of which every run builds its own"
        )
    if callable(given):
        return torch_method(given, name)
    raise UsageError(
        f"optimizers has {given!r}, which is neither a name nor a rule nor a class derived from "
        "torch.optim.Optimizer; make a rule of a formula with @thalweg.rule"
    )


def _named(text: str, name: str | None) -> Method:
    """A built-in method by its name, or a class of an installed package as `module:Class`."""
    module, colon, wanted = text.partition(":")
    if not colon:
        return method(text)
    if module in _CONVENTIONS:
        return find(text)
    if module.endswith(".py"):
        raise UsageError(
            f"optimizers has {text!r}: on the command line this is a class in a file; here import "
            "it and give the class itself"
        )
    try:
        home = import_module(module)
    except ImportError as error:
        raise UsageError(
            f"optimizer {text!r}: the module cannot be imported: {describe_error(error)}"
        ) from error
    return torch_method(_attribute(text, home, wanted), name)


def _attribute(text: str, home: Any, wanted: str) -> Any:
    """The optimizer of a module by its name."""
    found = home
    for part in wanted.split("."):
        found = getattr(found, part, None)
    if found is None:
        known = [each for each, thing in vars(home).items() if is_optimizer(thing)]
        raise unknown(f"optimizer in {text.partition(':')[0]}", wanted, known)
    return found


def _labelled(name: object, given: object) -> Method:
    """A method that tables call by this name."""
    if not isinstance(name, str) or not name.strip():
        raise UsageError(f"optimizers has the name {name!r}; give text that tables can show")
    if name in methods() and given != name:
        raise UsageError(
            f"optimizers calls something else {name!r}, which is a built-in optimizer; give it "
            "another name"
        )
    found = as_method(given, name)
    if found.name != name:
        raise UsageError(
            f"optimizers[{name!r}] is {found.name}: a name can be given to an optimizer class; a "
            "rule has its own"
        )
    return found


# Two options of RMSProp at once are no method of their own.
_VARIANTS = ("rmsprop_centered_momentum",)
