"""A device that is none: tensors of its own kind, which are kept and computed by the processor.

It is as strict as a GPU about tensors that lie elsewhere, has a random generator of its own, and
notes whenever the processor would have to wait for it. So what is right on it places every tensor
where it belongs, whatever the numbers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.backend_registration import (  # type: ignore[attr-defined]
    _setup_privateuseone_for_python_backend as setup,
)

DEVICE = torch.device("pretended", 0) if setup("pretended") is None else torch.device("cpu")
CPU = torch.device("cpu")
aten = torch.ops.aten

waits: list[str] = []
"""What made the processor wait, in order."""

generator = torch.Generator()
"""What is drawn on the device."""

_library = torch.library.Library("_", "IMPL")
_RETURNING = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "unique")
# A GPU takes indices from the processor too, and copies from one to the other.
_MIXING = ("copy_", "_copy_from", "index", "index_put_", "_index_put_impl_")


class Pretended(torch.Tensor):
    """A tensor on the device; `raw` holds its numbers."""

    raw: torch.Tensor

    @staticmethod
    def __new__(cls, raw: torch.Tensor) -> Pretended:
        return torch.Tensor._make_wrapper_subclass(
            cls,
            raw.size(),
            strides=raw.stride(),
            storage_offset=raw.storage_offset(),
            dtype=raw.dtype,
            device=DEVICE,
        )

    def __init__(self, raw: torch.Tensor) -> None:
        self.raw = raw

    def data_ptr(self) -> int:
        return self.raw.data_ptr()

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @property
    def data(self) -> Pretended:
        return Pretended(self.raw.detach())

    @data.setter
    def data(self, other: Pretended) -> None:
        torch.Tensor.data.__set__(self, other)
        self.raw = other.raw

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, *args, **(kwargs or {}))

    __torch_function__ = torch._C._disabled_torch_function_impl


def compute(func: Any, *args: Any, **kwargs: Any) -> Any:
    """What an operation gives; all tensors that it takes must be on the device."""
    name = func._schema.name.removeprefix("aten::")
    tensors = [v for v in tree_leaves((args, kwargs)) if isinstance(v, torch.Tensor)]
    away = [t for t in tensors if not isinstance(t, Pretended) and t.dim()]
    if away and name not in _MIXING:
        raise RuntimeError(f"{name}: a tensor {tuple(away[0].shape)} is on the processor")
    home = kwargs.get("device") == CPU or (name == "copy_" and not isinstance(args[0], Pretended))
    if home or name in _RETURNING:
        waits.append(name)
    raw, named = tree_map_only(Pretended, lambda t: t.raw, (args, kwargs))
    raw, named = tree_map_only(torch.device, lambda _: CPU, (raw, named))
    outer = torch.get_rng_state()
    try:
        torch.set_rng_state(generator.get_state())
        found = func(*raw, **named)
        generator.set_state(torch.get_rng_state())
    finally:
        torch.set_rng_state(outer)
    if func._schema.is_mutable and isinstance(found, torch.Tensor):
        return args[0] if args else kwargs["out"]
    return found if home else tree_map_only(torch.Tensor, Pretended, found)


_library.fallback(compute, "PrivateUse1")


def install() -> None:
    """Have what trains on a GPU train on this device instead."""
    from thalweg.engines.registry import register
    from thalweg.engines.triton import TritonEngine
    from thalweg.training import lane_rng, rng, train

    class PretendedEngine(TritonEngine):
        """Triton's interpreter, which finds the numbers of the device where the processor's are."""

        name = "pretended"
        devices = frozenset({DEVICE.type})

        def trouble_with_device(self, device: Any) -> str:
            return ""

        def launch(self, *args: Any, device: Any, **more: Any) -> Any:
            return super().launch(*args, device="cpu", **more)

    register(PretendedEngine())
    lane_rng.torch_generator = lambda purpose, seed, device: rng.torch_generator(purpose, seed)
    torch.cuda.get_rng_state = lambda device="cuda": generator.get_state()
    torch.cuda.set_rng_state = lambda state, device="cuda": generator.set_state(state)
    train.to_device = lambda values, device: values.to(device)
