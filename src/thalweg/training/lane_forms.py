"""The forms of torch's functions that a model uses in lanes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from . import recurrent


@contextmanager
def lane_forms(*, training: bool) -> Iterator[None]:
    """Have models computed by operations that `torch.func.vmap` can run over lanes.

    They compute what torch's do, up to rounding, from the same weights: recurrent layers step by
    step, and attention by matrix products instead of fused kernels.

    Args:
        training: use the forms that make gradients faster, too.
    """
    forms = _TRAINED if training else recurrent.FORMS
    with sdpa_kernel(SDPBackend.MATH), _Replacing(forms):
        yield


@contextmanager
def without_fused_encoders() -> Iterator[None]:
    """Have attention and encoder layers evaluated as they are trained.

    Their fused form exists for evaluation alone, has no lanes, and may give 0 where a sample is
    padded.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


class _Replacing(TorchFunctionMode):
    """Calls other functions in place of some of torch's.

    Args:
        forms: what is called, by torch's function.
    """

    def __init__(self, forms: Mapping[Any, Callable[..., Any]]) -> None:
        super().__init__()
        self.forms = forms

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return self.forms.get(func, func)(*args, **(kwargs or {}))


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Wxᵀ instead of xWᵀ.

    The gradient of a left factor comes out in the factor's own layout. That of Wᵀ would come
    transposed, from a slower product when W is small, and be copied before each step.
    """
    if input.ndim != 2:
        return functional.linear(input, weight, bias)
    outputs = (weight @ input.mT).mT
    return outputs if bias is None else outputs + bias


_TRAINED = {**recurrent.FORMS, functional.linear: _linear}
