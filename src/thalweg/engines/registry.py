"""Which engines there are, and which one steps tensors of a device: asked by all that step."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..tape import Program
from .base import Engine, Launch, device_type
from .numba import NumbaEngine
from .tables import Ints
from .triton import TritonEngine

if TYPE_CHECKING:
    from .base import Device

AUTO, EAGER = "auto", "eager"  # the options for any compiled engine, and for PyTorch operations

NONE_FAILED: Mapping[str, str] = MappingProxyType({})

_engines: dict[str, Engine] = {}


def register(engine: Engine) -> None:
    """Add an engine. Of those for one device, the one that was added last is asked first.

    Args:
        engine: the engine; one of the same name is replaced.

    Raises:
        UsageError: its name means something else, or it is for no device.
    """
    if engine.name in (AUTO, EAGER):
        raise UsageError(f"an engine's name must not be {engine.name!r}, which is an option")
    if not engine.devices:
        raise UsageError(f"engine {engine.name!r} is for no device: name their types in `devices`")
    _engines.pop(engine.name, None)
    _engines[engine.name] = engine


def unregister(name: str) -> None:
    """Take an engine away. What it steps now it steps until the optimizer plans its steps anew.

    Args:
        name: the engine's.

    Raises:
        UsageError: there is no such engine.
    """
    del _engines[named(name).name]


def names() -> tuple[str, ...]:
    """The values of the option `engine`."""
    return (AUTO, *_engines, EAGER)


def named(name: str) -> Engine:
    """The engine of a name.

    Raises:
        UsageError: there is none.
    """
    if not isinstance(name, str) or name not in _engines:
        raise UsageError(f"engine={name!r} is unknown; choose one of {', '.join(names())}")
    return _engines[name]


def engines_for(device: Device) -> list[Engine]:
    """The engines for a type of device, the one to ask first at the front.

    Args:
        device: where the tensors are.
    """
    kind = device_type(device)
    return [engine for engine in reversed(_engines.values()) if kind in engine.devices]


def first_able(
    engines: Sequence[Engine],
    device: Device,
    program: Program | None,
    formats: str | Sequence[str],
    failed: Mapping[str, str] = NONE_FAILED,
) -> tuple[Engine | None, list[str]]:
    """The first of these engines that can step tensors, and what keeps those before it from it.

    Args:
        engines: in the order in which they are asked.
        device: where the tensors are.
        program: what to compute; None for any.
        formats: of its arrays in memory: the name of one format for all, or of one for each.
        failed: the engines that could not compile this program, by name, and why.
    """
    reasons: list[str] = []
    for engine in engines:
        trouble = failed.get(engine.name) or engine.trouble_with_device(device)
        if not trouble and program is not None:
            trouble = engine.trouble_with_program(program, formats)
        if not trouble:
            return engine, reasons
        reasons.append(trouble)
    return None, reasons


def engine_for(
    device: Device,
    program: Program | None = None,
    formats: str | Sequence[str] = "float32",
    failed: Mapping[str, str] = NONE_FAILED,
) -> Engine:
    """The engine that steps tensors of a device by a program.

    Args:
        device: where the tensors are.
        program, formats, failed: as of `first_able`.

    Raises:
        UsageError: no engine can; the message has the reason of each.
    """
    engines = engines_for(device)
    found, reasons = first_able(engines, device, program, formats, failed)
    if found is not None:
        return found
    known = [f"{e.name}: {why}" for e, why in zip(engines, reasons, strict=True)]
    why = "; ".join(known) or "there is none for such a device"
    raise UsageError(f"no compiled engine steps tensors on device={str(device)!r}: {why}")


def launch_for(
    device: Device,
    program: Program,
    formats: str | Sequence[str],
    shapes: Sequence[Sequence[int]],
    rows: Ints,
    models: Ints | None = None,
) -> Launch:
    """The launch of the first engine that takes a program and compiles it.

    Args:
        device: where all arrays are.
        program, formats, shapes, rows, models: as of `Launch`.

    Raises:
        UsageError: no engine can; the message has the reason of each.
    """
    failed: dict[str, str] = {}
    while True:
        engine = engine_for(device, program, formats, failed)
        try:
            launch = engine.launch(program, formats, shapes, rows, models, device=device)
        except Exception as error:
            failed[engine.name] = reason_of(program.name, error)
        else:
            warn_of_failure(engine, failed)
            return launch


def reason_of(name: str, error: Exception) -> str:
    """Why an engine could not compile the program of a rule, in a line."""
    return f"no kernel for {name}: {type(error).__name__}: {error}"


def warn_of_failure(engine: Engine, failed: Mapping[str, str]) -> None:
    """Say once in this process that an engine steps in for others, and why these failed.

    Args:
        engine: what steps.
        failed: the engines that could not compile, by name, and why.
    """
    for reason in failed.values():
        warn_once(f"thalweg steps with the {engine.name} engine instead: {reason}")


@cache
def warn_once(message: str) -> None:
    """Warn, unless this process has been warned of the same."""
    warnings.warn(message, RuntimeWarning, stacklevel=2)


def trouble_with_device(device: Device) -> str:
    """What keeps all engines from stepping tensors of a device; empty if one can.

    Args:
        device: where the tensors are.
    """
    reasons = [engine.trouble_with_device(device) for engine in engines_for(device)]
    if "" in reasons:
        return ""
    return "; ".join(reasons) or "no compiled engine is for such a device"


register(NumbaEngine())
register(TritonEngine())
