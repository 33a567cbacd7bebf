"""How parameters and their state are kept in memory, where that is in fewer bytes than float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ...engines.formats import (
    BLOCK,
    COMPENSATED,
    FLOAT32,
    FORMATS,
    INT8,
    MIXING,
    POSITIVE,
    SIGNED,
    STOCHASTIC,
)
from ...errors import UsageError
from .audit.libtorch import fits, is_plain
from .layouts import real, turned

SCALE = ".scale"  # appended to a state's key: the scales of its blocks; no slot has such a name
COMPENSATION = "compensation"  # the state's key of what a parameter's rounding has lost

_STATES = {"float32": FLOAT32, "bfloat16": STOCHASTIC, "int8": INT8}
_ROUNDINGS = {"nearest": "bfloat16", "stochastic": STOCHASTIC, "kahan": COMPENSATED}


@dataclass(frozen=True)
class StoragePrecision:
    """How an optimizer keeps its numbers.

    Args:
        state_dtype: of every array of the state: "float32", "bfloat16" (rounded stochastically) or
            "int8" (codes with a scale for every 256 numbers); None for the parameter's own dtype.
            Complex parameters keep a state of their own dtype.
        rounding: of parameters in bfloat16: to the "nearest", "stochastic", or "kahan": to the
            nearest, and what that loses is kept beside the state and added back.
        seed: of all random rounding, which is a function of it and the step alone.

    Raises:
        UsageError: an option has none of these values.
    """

    state_dtype: str | torch.dtype | None = None
    rounding: str = "nearest"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.state_dtype is not None:
            name = str(self.state_dtype).removeprefix("torch.")
            if name not in _STATES:
                raise UsageError(
                    f"state_dtype={self.state_dtype!r} is unknown; choose one of "
                    f"{', '.join(map(repr, _STATES))}, or None for the parameters' own"
                )
            object.__setattr__(self, "state_dtype", name)
        if self.rounding not in _ROUNDINGS:
            raise UsageError(
                f"rounding={self.rounding!r} is unknown; choose one of {', '.join(_ROUNDINGS)}"
            )
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise UsageError(f"seed={self.seed!r} must be a whole number")

    def parameter(self, p: Tensor) -> str:
        """The format of a parameter."""
        return _ROUNDINGS[self.rounding] if p.dtype == torch.bfloat16 else named(p)

    def slot(self, p: Tensor, kept: Any = None) -> str:
        """The format of an array of a parameter's state, of which there may be one already."""
        if self.state_dtype is not None and not p.is_complex():
            return _STATES[str(self.state_dtype)]
        return named(kept if isinstance(kept, Tensor) else p)

    def draws(self, p: Tensor, has_state: bool) -> bool:
        """Whether rounding takes random bits, for which steps must be counted."""
        storages = [self.parameter(p), *[self.slot(p)] * has_state]
        return any(FORMATS[storage].stochastic for storage in storages)

    def begin(self, p: Tensor, state: dict[str, Any], key: str, value: Any) -> str:
        """Have the state hold an array, in the format that is wanted of it.

        Args:
            p: the parameter.
            state: its state.
            key: of the array.
            value: the array as it is, perhaps in another format; or a number to fill it with.

        Returns:
            The format.
        """
        storage = self.slot(p, value)
        if isinstance(value, Tensor) and value.layout == torch.sparse_coo:
            value = value.to_dense()  # a momentum that torch has begun sparse
        if isinstance(value, (int, float)):
            value = _filled(p, storage, value)
        else:
            check_array(p, key, value)
        if storage == INT8:
            if value.dtype == torch.int8:
                state[key + SCALE] = _scales(p, key, state)
            else:
                state[key], state[key + SCALE] = encode(value.float(), _MIDDLE)
        elif value.dtype == torch.int8:  # codes, which another state_dtype has left
            scales = _scales(p, key, state)
            state[key] = decode(value, scales).to(_beginning(storage))
            del state[key + SCALE]
        else:
            dtype = value.dtype if value.is_complex() else _beginning(storage)
            state[key] = value if value.dtype == dtype else value.to(dtype)
        return storage

    def begin_compensation(self, p: Tensor, state: dict[str, Any]) -> None:
        """Have the state hold what a parameter's rounding has lost, if that is kept."""
        if self.parameter(p) != COMPENSATED:
            return
        lost = state.get(COMPENSATION)
        if lost is None:
            state[COMPENSATION] = torch.zeros_like(p, memory_format=torch.preserve_format)
            return
        check_array(p, COMPENSATION, lost)
        if lost.dtype != p.dtype:
            state[COMPENSATION] = lost.to(p.dtype)

    @property
    def stream(self) -> int:
        """The seed, mixed: steps are counted on from it, and those of the next seed are others."""
        return _stream(self.seed)

    def noise(self, x: Tensor, *where: int) -> Tensor:
        """32 random bits for every number of a tensor, in its order in memory.

        Args:
            x: the tensor.
            *where: the step, the number of the tensor, the number of the array.
        """
        key = self.stream
        for number in where:
            key = _mix(torch.tensor(key), number & _WORD).item()  # type: ignore[assignment]
        return _mix(torch.arange(x.numel(), device=x.device), key)


def write_rounded(
    parts: Sequence[Tensor], storage: str, value: Any, bits: Callable[[], Tensor]
) -> None:
    """Write what a step has made of an array.

    Args:
        parts: the tensors in which it lies.
        storage: its format.
        value: a tensor of its shape, or a number.
        bits: makes random bits for all its elements in their order in memory.
    """
    if not FORMATS[storage].stochastic and not FORMATS[storage].compensated:
        store(parts[0], value)
        return
    wide = torch.empty_like(parts[0], dtype=torch.float32)
    store(wide, value)
    if storage == STOCHASTIC:
        drawn = torch.empty_like(wide, dtype=torch.int64)
        turned(drawn).copy_(bits().view(turned(drawn).shape))
        parts[0].copy_(rounded(wide, drawn))
    elif storage == COMPENSATED:
        parts[0].copy_(wide)
        parts[1].copy_(wide - parts[0])
    else:
        for part, new in zip(parts, encode(wide, bits()), strict=True):
            part.copy_(new)


def store(x: Tensor, value: Any) -> None:
    """Write what a step made of a tensor, or of its real and imaginary parts."""
    if not isinstance(value, Tensor):
        value = torch.tensor(value, dtype=torch.float64)
    if x.is_conj():
        x.copy_(torch.view_as_complex(value.contiguous()))
    else:
        real(x).copy_(value)


def check_array(p: Tensor, key: str, x: Any) -> None:
    """Refuse what cannot be an array of a parameter's state, as of a damaged checkpoint.

    Raises:
        UsageError: its shape or device is not the parameter's, or its memory is not there.
    """
    if not isinstance(x, Tensor) or (x.shape, x.device) != (p.shape, p.device):
        kind = f"has shape {tuple(x.shape)} on {x.device}" if isinstance(x, Tensor) else repr(x)
        raise UsageError(
            f"the state {key!r} of a parameter of shape {tuple(p.shape)} on {p.device} {kind}; "
            "load a state of this parameter, or delete it from optimizer.state to start anew"
        )
    check_memory(x, f"the state {key!r}")


def check_memory(x: Tensor, name: str) -> None:
    """Refuse a tensor whose storage was freed, which a step could only read past its end.

    Raises:
        UsageError: its storage is smaller than the tensor.
    """
    if is_plain(x) and not fits(x):
        raise UsageError(
            f"{name} of shape {tuple(x.shape)} has a storage of {x.untyped_storage().nbytes()} "
            "bytes, which does not hold it: fill the storage again before the step"
        )


def _scales(p: Tensor, key: str, state: Mapping[str, Any]) -> Tensor:
    """The scales of a state in codes, in float32.

    Raises:
        UsageError: they are missing, or too few or too many for the codes.
    """
    scales, blocks = state.get(key + SCALE), -(-p.numel() // BLOCK)
    if not isinstance(scales, Tensor) or scales.shape != (blocks,) or scales.device != p.device:
        found = tuple(scales.shape) if isinstance(scales, Tensor) else scales
        raise UsageError(
            f"the state {key + SCALE!r} must hold {blocks} scales on {p.device} for the codes of "
            f"{key!r}, and has {found}: load a whole state, or delete it to start anew"
        )
    check_memory(scales, f"the state {key + SCALE!r}")
    return scales.float().contiguous()


def unpacked(state: Any) -> Any:
    """A state without codes: what they stand for in their place; what is no state, as it is."""
    if not isinstance(state, dict):
        return state
    scales = [key for key in state if isinstance(key, str) and key.endswith(SCALE)]
    coded = [key.removesuffix(SCALE) for key in scales]
    whole = {key: decode(state[key], state[key + SCALE]) for key in coded}
    return (
        {key: x for key, x in {**state, **whole}.items() if key not in scales} if whole else state
    )


def rounded(value: Tensor, bits: Tensor) -> Tensor:
    """float32 rounded to bfloat16, up as often as the 16 low random bits carry.

    Args:
        value: float32 of any shape.
        bits: int64 of that shape.
    """
    word = value.view(torch.int32).long()
    carried = (word + (bits & 0xFFFF)) >> 16
    up = carried.to(torch.int16).view(torch.bfloat16)
    return torch.where(value.isfinite(), up, value.bfloat16())


def encode(value: Tensor, bits: Tensor | float) -> tuple[Tensor, Tensor]:
    """float32 as 8-bit codes and the scales of their blocks; see `formats.SIGNED`.

    Args:
        value: float32; blocks follow its order in memory.
        bits: int64 of as many elements in that order, to choose between the codes around a number;
            or one draw for all.

    Returns:
        int8 that lies in memory as the value does, and float32 of ceil(elements / 256).
    """
    given = turned(value)
    count, blocks = value.numel(), -(-value.numel() // BLOCK)
    x = torch.zeros(blocks * BLOCK, device=value.device)
    x[:count] = given.reshape(-1)
    x = x.view(blocks, BLOCK)
    draw: Any = bits
    if isinstance(bits, Tensor):
        draw = torch.zeros_like(x).view(-1)
        draw[:count] = (bits >> 8).float() * 2.0**-24
        draw = draw.view_as(x)
    size = x.abs()
    top = size.amax(1, keepdim=True)
    signed = x.signbit().any(1, keepdim=True)
    codes = torch.where(signed, SIGNED, POSITIVE)
    usable = (top > torch.finfo(torch.float32).tiny) & (top < torch.inf)
    share = torch.where(usable, size * (1 / top), 0.0)
    code = (share.sqrt().sqrt() * codes.float()).int()
    below, above = _level(code, codes) * top, _level(code + 1, codes) * top
    code = code + (size - below > (above - below) * draw).int()
    code = torch.where((x < 0) & signed, -code, code)
    kept = torch.empty_like(value, dtype=torch.int8)
    turned(kept).copy_(code.to(torch.int8).view(-1)[:count].view(given.shape))
    return kept, torch.where(signed, -top, top).view(-1)


def decode(codes: Tensor, scales: Tensor) -> Tensor:
    """What codes stand for, in float32."""
    given = turned(codes)
    scale = scales.repeat_interleave(BLOCK)[: codes.numel()].view(given.shape)
    code = given.int()
    signed = ~(scale >= 0)
    size = torch.where(signed, _level(code, SIGNED), _level(code & 255, POSITIVE)) * scale.abs()
    value = torch.empty_like(codes, dtype=torch.float32)
    turned(value).copy_(torch.where(signed & (code <= 0), -size, size))
    return value


_WORD = 0xFFFFFFFF
_MIDDLE = 0.5  # a draw that rounds to the nearer code


def _level(code: Tensor, codes: Tensor | int) -> Tensor:
    """The share of the scale that a code stands for; all of it for the last."""
    whole = codes.float() if isinstance(codes, Tensor) else torch.tensor(float(codes))
    share = code.float() * (1 / whole)
    square = share * share
    return square * square


def _mix(x: Tensor, y: int) -> Tensor:
    """As the engines' kernels do it; see `formats.MIXING`."""
    bits = (x ^ y) & _WORD
    for shift, factor in MIXING:
        bits = ((bits ^ (bits >> shift)) * factor) & _WORD
    return bits


@cache
def _stream(seed: int) -> int:
    return int(_mix(_mix(torch.tensor(seed & _WORD, device="cpu"), 0), seed >> 32 & _WORD))


def _filled(p: Tensor, storage: str, number: float) -> Tensor:
    """An array laid out as the parameter is, in the dtype in which its format begins."""
    if p.is_complex():  # two reals alike
        return torch.full_like(p, complex(number, number), memory_format=torch.preserve_format)
    dtype = _beginning(storage)
    if number == 0:
        return torch.zeros_like(p, dtype=dtype, memory_format=torch.preserve_format)
    return torch.full_like(p, number, dtype=dtype, memory_format=torch.preserve_format)


@cache
def _beginning(storage: str) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, _plain(storage))
    return dtype


def _plain(storage: str) -> str:
    """The dtype in which a state of this format begins, or is kept in one array."""
    return FLOAT32 if storage == INT8 else FORMATS[storage].parts[0]


def named(x: Tensor) -> str:
    """The name of a tensor's dtype, or of that of its real and imaginary parts."""
    return _name(x.dtype)


@cache
def _name(dtype: torch.dtype) -> str:
    return str(dtype.to_real()).removeprefix("torch.")
