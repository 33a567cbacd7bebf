"""Whether gradients hold NaN or infinity."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


@torch.no_grad()
def all_finite(gradients: Iterable[Tensor]) -> bool:
    """Whether no element of any is NaN or infinite.

    Ranks that share DTensors all come to the same answer, and each of them must ask.

    Args:
        gradients: of any dtype, device and layout; of those on meta nothing is known, and a
            sparse one is finite where its values are.
    """
    kinds: dict[tuple[torch.device, torch.dtype], list[Tensor]] = defaultdict(list)
    for g in gradients:
        values = g._values() if g.layout is torch.sparse_coo else g
        if not g.is_meta and values.layout is torch.strided:
            kinds[g.device, g.dtype].append(values)
    return all(_finite(alike) for alike in kinds.values())


def _finite(alike: Sequence[Tensor]) -> bool:
    """One pass and one number to wait for, where all is well."""
    sums = torch.stack([_whole(g.sum()) for g in alike])
    # A sum of finite numbers may overflow: only then is every element asked.
    return bool(sums.isfinite().all()) or all(bool(_whole(g.isfinite().all())) for g in alike)


def _whole(x: Tensor) -> Tensor:
    """What a DTensor is over all ranks; any other tensor as it is."""
    return x.full_tensor() if hasattr(x, "full_tensor") else x
