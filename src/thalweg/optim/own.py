"""The options that every optimizer of this package has and none of torch's."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter, Signature, signature
from typing import Any, TypedDict

import torch

from ..rules.names import TORCH


class Own(TypedDict, total=False):
    """Options of an optimizer as a whole, of any rule; see `RuleOptimizer`."""

    engine: str
    skip_nonfinite: bool
    state_dtype: str | torch.dtype | None
    rounding: str
    seed: int


class NamedOwn(Own, total=False):
    """Those of the optimizers that have a name; see `Named`."""

    convention: str


DEFAULTS: Mapping[str, Any] = {
    "engine": "auto",
    "skip_nonfinite": False,
    "state_dtype": None,
    "rounding": "nearest",
    "seed": 0,
}
NAMED_DEFAULTS: Mapping[str, Any] = {**DEFAULTS, "convention": TORCH}


def checked(given: Mapping[str, Any], known: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The options with their defaults.

    Raises:
        TypeError: as Python raises it for an argument that there is not.
    """
    for key in given:
        if key not in known:
            raise TypeError(f"{name}() got an unexpected keyword argument {key!r}")
    return {**known, **given}


def spelled(cls: type, known: Mapping[str, Any]) -> Signature | None:
    """The signature of a class whose constructor ends in `**own`, with these options by name."""
    _, *given = signature(cls.__init__).parameters.values()  # type: ignore[misc]
    if not given or (given[-1].name, given[-1].kind) != ("own", Parameter.VAR_KEYWORD):
        return None
    options = [Parameter(k, Parameter.KEYWORD_ONLY, default=v) for k, v in known.items()]
    return Signature([*given[:-1], *options])
