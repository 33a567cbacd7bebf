"""Where this process keeps what a step must know of tensors, found out once and proved.

libtorch's C interface answers for a tensor by its handle, the address of an `at::Tensor`. A Python
tensor holds one, and in it lies the address of the tensor's own record. Where, differs between
versions of torch, so it is searched for by values that are known otherwise, and believed only if
tensors made for it give the right answers. Where anything is not as expected, there is no `Layout`,
and tensors are asked through Python.
"""

from __future__ import annotations

import ctypes
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

PLAIN = (Tensor, torch.nn.Parameter)  # the types of tensors that do nothing of their own
QUESTIONS = (
    "data_ptr",
    "dim",
    "sizes",
    "strides",
    "dtype",
    "storage_size",
    "storage_offset",
    "device_index",
)
_LONGEST = 256  # bytes of a tensor's record that are searched, from its start
_DIMENSIONS = 5  # up to which its sizes lie in it, not in memory of their own


@dataclass(frozen=True, eq=False)  # there is one in a process
class Layout:
    """Offsets in bytes, and addresses of functions.

    Attributes:
        kind: of its type in a Python object.
        cell: of the handle in a Python tensor; it holds the record's address.
        keys: of the dispatch keys in the record, which say what kind of tensor it is.
        counter: of the address of its version counter there.
        version: of the version in the counter.
        first, words: where the words begin that describe it, and how many; tensors of at most
            `dimensions` indices whose words are equal have the same dtype, sizes, strides, storage
            offset and dispatch keys, which say what kind of device they are on.
        dimensions: see there.
        functions: libtorch's, by their question, and the interpreter's `PyDict_Next` and
            `PyList_GetItem`.
    """

    kind: int
    cell: int
    keys: int
    counter: int
    version: int
    first: int
    words: int
    dimensions: int
    functions: dict[str, int]


def dispatch_keys(x: Tensor) -> int:
    """What kind of tensor it is, as one number."""
    return int(torch._C._dispatch_keys(x).raw_repr())


@cache
def plain_keys(device: str) -> int:
    """The keys of a tensor that is memory and nothing else: neither sparse, quantized nor nested,
    without a pending sign or conjugation, not made in inference mode, no stand-in for another.
    """
    with torch.inference_mode(mode=False), torch._C._DisableTorchDispatch():
        return dispatch_keys(torch.empty(0, device=device))


def is_plain(x: Tensor) -> bool:
    """Whether a kernel may read a tensor's numbers where they lie."""
    if type(x) not in PLAIN or x.layout != torch.strided:
        return False
    return x.device.type in ("cpu", "cuda") and dispatch_keys(x) == plain_keys(x.device.type)


def extent(x: Tensor) -> tuple[int, int]:
    """Where the memory of a tensor's elements begins, and where it ends."""
    if not x.numel():
        return 0, 0
    return x.data_ptr(), x.data_ptr() + _reach(x)


def fits(x: Tensor) -> bool:
    """Whether a tensor's storage, which others may have freed, holds all of its elements."""
    if not x.numel():
        return True
    room = x.untyped_storage().nbytes()
    return x.data_ptr() != 0 and room >= x.storage_offset() * x.itemsize + _reach(x)


def _reach(x: Tensor) -> int:
    """Bytes from a tensor's first element to behind its last."""
    last = sum((n - 1) * step for n, step in zip(x.shape, x.stride(), strict=True))
    return (last + 1) * x.itemsize


@cache
def layout() -> Layout | None:
    """This process's; None where it is not as far as can be proved."""
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return None
    functions = _functions()
    with torch.inference_mode(mode=False), torch._C._DisableTorchDispatch(), torch.device("cpu"):
        return _search(functions) if functions else None


def _functions() -> dict[str, int]:
    """The addresses of all functions; none where one is missing."""
    folder = Path(torch.__file__).parent / "lib"
    found: dict[str, Any] = {
        "next": ctypes.pythonapi.PyDict_Next,
        "item": ctypes.pythonapi.PyList_GetItem,
    }
    try:
        library = next(ctypes.CDLL(str(path)) for path in folder.glob("*torch_cpu.*"))
        found |= {name: getattr(library, f"aoti_torch_get_{name}") for name in QUESTIONS}
    except (StopIteration, OSError, AttributeError):
        return {}
    return {name: ctypes.cast(f, ctypes.c_void_p).value or 0 for name, f in found.items()}


def _word(address: int) -> int:
    return ctypes.c_uint64.from_address(address).value


def _first(stop: int, found: Callable[[int], bool]) -> int | None:
    """The first multiple of 8 below `stop` for which this holds; nothing behind it is read."""
    return next(filter(found, range(8, stop, 8)), None)


def _search(functions: dict[str, int]) -> Layout | None:
    # With fewer indices the words of those that are not there may hold anything.
    x = torch.zeros((2,) * _DIMENSIONS)
    samples = [
        x,
        torch.nn.Parameter(x),
        x.transpose(0, 1),
        x.to(torch.complex64).conj(),
        torch._neg_view(x),
    ]
    samples += [x.double(), torch.zeros(3).to_sparse(), torch.zeros(())]
    size = torch._C.TensorBase.__basicsize__
    kind = _first(size, lambda at: all(_word(id(s) + at) == id(type(s)) for s in samples))
    cell = _first(size, lambda at: all(_word(id(s) + at) == s._cdata for s in samples))
    keys = _first(
        _LONGEST, lambda at: all(_word(s._cdata + at) == dispatch_keys(s) for s in samples)
    )
    if kind is None or cell is None or keys is None:
        return None
    counters = set(range(16, keys, 8))
    for x in [torch.zeros((3,) * _DIMENSIONS) for _ in range(8)]:
        # A detached tensor shares the storage and the version counter; `.data` the storage alone.
        shared, apart = x.detach(), x.data
        counters = {
            at
            for at in counters
            if _word(x._cdata + at) == _word(shared._cdata + at) != _word(apart._cdata + at)
        }
    if len(counters) != 1:
        return None
    (counter,) = counters
    version = _version(x, _word(x._cdata + counter))
    words = _description(keys)
    if version is None or words is None:
        return None
    return Layout(kind, cell, keys, counter, version, *words, _DIMENSIONS, functions)


def _version(x: Tensor, counter: int) -> int | None:
    """Where in a version counter the version is."""
    places = {16, 24}  # behind the counts of references, of 8 bytes or of 16
    for number in (77123, 40961):
        torch._C._autograd._unsafe_set_version_counter((x,), (number,))
        places = {at for at in places if ctypes.c_uint32.from_address(counter + at).value == number}
    return min(places, default=None)


def _description(keys: int) -> tuple[int, int] | None:
    """The words, up to the dispatch keys, that are equal for equal tensors; None without proof."""

    def words(x: Tensor, first: int) -> list[int]:
        return [_word(x._cdata + at) for at in range(first, keys + 8, 8)]

    # The number of indices, then the sizes, then the strides.
    x = torch.zeros(2, 3, 1, 5, 7)
    known = [x.dim(), *x.shape, *x.stride()]
    first = _first(keys, lambda at: words(x, at)[: len(known)] == known)
    if first is None:
        return None
    for d in range(_DIMENSIONS + 1):
        x = torch.zeros((2,) * d)
        others = [x.double(), x.int(), x.bfloat16(), torch._neg_view(x), x[None], x.to("meta")]
        room = torch.zeros(2 * x.numel() + 64)
        others.append(room[1 : 1 + x.numel()].view(x.shape))  # another offset
        for k in range(d):
            sizes, strides = list(x.shape), list(x.stride())
            others.append(room.as_strided([n + (j == k) for j, n in enumerate(sizes)], strides))
            others.append(room.as_strided(sizes, [n + (j == k) for j, n in enumerate(strides)]))
        if any(words(x, first) == words(y, first) for y in others):
            return None
    return first, (keys - first) // 8 + 1
