"""The built-in rules by name: what each convention means by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import UsageError, known_name

if TYPE_CHECKING:
    from .core import Rule

TORCH = "torch"  # the convention of the rules in the registry

_REGISTRY: dict[str, Rule] = {}
_CONVENTIONS: dict[str, dict[str, Rule]] = {TORCH: _REGISTRY}


def find(name: str, convention: str = TORCH) -> Rule:
    """The built-in rule of this name.

    Args:
        name: "rmsprop"; or "keras:rmsprop", which names the convention with it. Capitals, hyphens
            and spaces do not matter: "RMSprop" is meant too.
        convention: whose variant of it; that of torch is the default.

    Raises:
        UsageError: no built-in rule has the name; the message names the nearest ones.
    """
    if ":" in name:
        convention, _, name = name.partition(":")
    convention = known_name("convention", convention, _CONVENTIONS)
    variants = conventions(name)
    if convention not in variants:
        having = ", ".join(variants)
        raise UsageError(f"the {convention} convention has no {name}; {having} have it")
    return variants[convention]


def conventions(name: str) -> dict[str, Rule]:
    """What each convention means by this name; the same rule where two mean the same.

    Raises:
        UsageError: there is no such rule; the message names the nearest ones.
    """
    name = known_name("optimizer", name, _REGISTRY)
    return {which: rules[name] for which, rules in _CONVENTIONS.items() if name in rules}


def registry() -> Mapping[str, Rule]:
    """All built-in rules by name, in the order of their history."""
    return dict(_REGISTRY)


def register(rule: Rule, name: str) -> None:
    """Make a rule findable by this name, which may be "convention:name"."""
    convention, _, plain = name.rpartition(":")
    _CONVENTIONS.setdefault(convention or TORCH, {})[plain] = rule


def registered(name: str) -> Rule | None:
    """The rule that was registered by this name, if one was."""
    convention, _, plain = name.rpartition(":")
    return _CONVENTIONS.get(convention or TORCH, {}).get(plain)


def named(name: str) -> Rule:
    """The built-in rule of this name, in a process that may not have imported the rules yet."""
    from . import find  # from the package, whose import registers them

    return find(name)
