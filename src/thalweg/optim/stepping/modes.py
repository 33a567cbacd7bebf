"""Whether torch shows its operations to a mode, a transform or a trace."""

from __future__ import annotations

import torch
from torch.utils._device import DeviceContext

# Asked at every step, so each is looked up once.
_dispatch_modes = torch._C._len_torch_dispatch_stack
_function_modes = torch._C._len_torch_function_stack
_transforms = torch._C._are_functorch_transforms_active
_function_mode = torch._C._get_function_stack_at


def watched() -> bool:
    """Whether a mode, a functional transform or a trace must see every operation of a step.

    A kernel computes outside torch's dispatcher, where a memory tracker, a counter of operations,
    `make_fx`, fake tensors and `torch.func` see nothing of it. A default device is a mode too, but
    one for new tensors alone.
    """
    if _dispatch_modes() or _transforms():
        return True
    count = _function_modes()
    return count > 0 and any(type(_function_mode(k)) is not DeviceContext for k in range(count))
