"""Which engines there are, and which one steps tensors of a device: asked by all that step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..tape import Program
from .base import Engine, device_type
from .numba import NumbaEngine
from .triton import TritonEngine

if TYPE_CHECKING:
    from .base import Device

AUTO, EAGER = "auto", "eager"  # the options for any compiled engine, and for PyTorch operations

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
    if name not in _engines:
        raise UsageError(f"engine={name!r} is unknown; choose one of {', '.join(names())}")
    return _engines[name]


def engines_for(device: Device) -> list[Engine]:
    """The engines for a type of device, the one to ask first at the front.

    Args:
        device: where the tensors are.
    """
    kind = device_type(device)
    return [engine for engine in reversed(_engines.values()) if kind in engine.devices]


def engine_for(
    device: Device, program: Program | None = None, formats: str | Sequence[str] = "float32"
) -> Engine:
    """The engine that steps tensors of a device by a program.

    Args:
        device: where the tensors are.
        program: what to compute; None for any.
        formats: how its arrays are kept: the name of one format for all, or of one for each.

    Raises:
        UsageError: no engine can; the message has the reason of each.
    """
    reasons = []
    for engine in engines_for(device):
        trouble = engine.trouble_with_device(device)
        if not trouble and program is not None:
            trouble = engine.trouble_with_program(program, formats)
        if not trouble:
            return engine
        reasons.append(f"{engine.name}: {trouble}")
    why = "; ".join(reasons) or "there is none for such a device"
    raise UsageError(f"no compiled engine steps tensors on device={str(device)!r}: {why}")


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
