"""How a tensor's elements lie in memory."""

from __future__ import annotations

import torch
from torch import Tensor

from .audit.libtorch import is_plain


def order(x: Tensor) -> tuple[int, ...] | None:
    """The indices of a tensor from the slowest in memory to the fastest.

    Returns:
        The permutation that makes the tensor contiguous: (0, 2, 3, 1) of channels-last images.
        None where elements share memory or leave gaps, so that no permutation does.
    """
    if x.is_contiguous():
        return tuple(range(x.dim()))
    strides = x.stride()
    indices = tuple(sorted(range(x.dim()), key=strides.__getitem__, reverse=True))
    return indices if x.permute(indices).is_contiguous() else None


def turned(x: Tensor) -> Tensor:
    """A view of the tensor whose indices run in the order of memory, where there is one."""
    indices = order(x)
    return x if indices is None else x.permute(indices)


def real(x: Tensor) -> Tensor:
    """A complex number is stepped as two real ones."""
    return torch.view_as_real(x.resolve_conj()) if x.is_complex() else x


KINDS = (
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
    torch.complex128,
)


def trouble_in_memory(x: Tensor) -> str:
    """What keeps a kernel from stepping a tensor where it lies, if anything does."""
    if type(x) not in (Tensor, torch.nn.Parameter) or x.layout != torch.strided:
        return f"it is a {type(x).__name__}, not a plain tensor"
    if x.dtype not in KINDS:
        return f"its dtype is {x.dtype}"
    if order(x) is None:
        return "its elements share memory or leave gaps in it"
    if x.is_neg() or x.is_conj():
        return "it is a view that negates or conjugates"
    if x.is_inference():
        return "its memory is read-only to this mode"
    return "" if is_plain(x) else "it stands for another tensor"
