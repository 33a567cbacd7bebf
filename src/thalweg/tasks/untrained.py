"""Whether the weights of a model look like those that its layers draw when they are made."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

_DRAWS = 64  # of every parameter at most; fewer of a large model
_NUMBERS = 150_000  # that are drawn in all
_SAMPLE = 4096  # numbers of a draw whose distribution is compared
_TOP = 10  # largest and smallest numbers that are compared
_HALF = (torch.float16, torch.bfloat16)
# A number lies so many mean distances between the largest ones beyond them with probability e⁻²⁰.
_BEYOND = 20.0
# A Kolmogorov–Smirnov distance of so many √(1/n + 1/m) has probability 2·exp(−2·2.7²) ≈ 1e-6.
_DISTANCE = 2.7


def objection(model: nn.Module, redraw: Callable[[nn.Module], None]) -> str:
    """Why a model does not look freshly initialised; empty where it does.

    Its layers draw their parameters anew several times. What they always set to the same numbers,
    such as zeros or counts of batches, must be these. What they draw must lie in the range of the
    draws and have their distribution. A model that was trained a little on large weights can pass.

    Args:
        model: to look at.
        redraw: draws the parameters of a model anew from torch's global generator.

    Source: of the distance between distributions, Smirnov (1948), Table for estimating the goodness
    of fit of empirical distributions.
    """
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            return f"{name} has a gradient"
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    size = max(1, sum(tensor.numel() for tensor in tensors.values()))
    trial = copy.deepcopy(model)
    if any(tensor.dtype in _HALF for tensor in tensors.values()):
        trial.float()  # usually they were drawn in float32 and rounded
    theirs = dict(trial.named_parameters()) | dict(trial.named_buffers())
    seen = {name: _Draws() for name in tensors}
    with torch.random.fork_rng(devices=[]):
        for seed in range(min(_DRAWS, max(2, _NUMBERS // size))):
            torch.default_generator.manual_seed(seed)
            redraw(trial)
            for name, tensor in theirs.items():
                if seed < 2 or seen[name].known < 2 * _SAMPLE:
                    seen[name].add(tensor.detach())
    for name, tensor in tensors.items():
        if not seen[name].resemble(tensor.detach()):
            layer = type(model.get_submodule(name.rpartition(".")[0])).__name__
            return f"{name} is not as {layer} initializes it"
    return ""


class _Draws:
    """What is remembered of several draws of one tensor."""

    def __init__(self) -> None:
        self.first: Tensor | None = None
        self.constant = True
        self.ends: list[Tensor] = []  # the largest numbers, and the largest of their negatives
        self.samples: list[Tensor] = []

    def add(self, values: Tensor) -> None:
        """Remember one more."""
        if self.first is None:
            self.first = values.clone()
        self.constant = self.constant and torch.equal(values, self.first)
        flat = values.flatten().double()
        self.samples.append(_sample(flat))
        top = torch.stack([flat, -flat]).topk(min(_TOP, len(flat))).values
        self.ends = [torch.cat([*self.ends, top], 1).topk(min(_TOP, self.known)).values]

    @property
    def known(self) -> int:
        """How many numbers of the draws are remembered."""
        return sum(map(len, self.samples))

    def resemble(self, values: Tensor) -> bool:
        """Whether a tensor could be one of them."""
        if self.constant:
            return self.first is not None and torch.equal(values.to(self.first), self.first)
        flat = values.flatten().double()
        if not flat.isfinite().all():
            return False
        (ends,) = self.ends
        if ends.shape[1] == _TOP:
            distance = (ends[:, 0] - ends[:, -1]) / sum(1 / k for k in range(1, _TOP))
            rounding = torch.finfo(values.dtype).eps * ends[:, 0].abs()
            limit = ends[:, 0] + _BEYOND * distance + rounding
            if (torch.stack([flat.max(), (-flat).max()]) > limit).any():
                return False
        return _distance(_sample(flat), torch.cat(self.samples)) < _DISTANCE


def _sample(flat: Tensor) -> Tensor:
    return flat[:: max(1, len(flat) // _SAMPLE)].clone()


def _distance(one: Tensor, other: Tensor) -> float:
    """The Kolmogorov–Smirnov distance of two samples, in units of √(1/n + 1/m)."""
    one, other = one.sort().values, other.sort().values
    every = torch.cat([one, other])
    shares = [torch.searchsorted(s, every, right=True) / len(s) for s in (one, other)]
    unit = math.sqrt(1 / len(one) + 1 / len(other))
    return float((shares[0] - shares[1]).abs().max()) / unit
