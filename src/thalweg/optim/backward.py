"""Steps within the backward pass, so that the gradients of a model are never all in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from ..errors import UsageError
from .optimizer import RuleOptimizer, replan
from .stepping.batches.global_norm import measures_all
from .stepping.dtensor import is_dtensor
from .stepping.plan import Plan

BATCH_BYTES = 32 << 20
"""The bytes of gradients that step together, unless `step_in_backward` is given another number."""


def step_in_backward(optimizer: RuleOptimizer, *, batch_bytes: int = BATCH_BYTES) -> InBackward:
    """Step parameters while the backward pass runs, and free their gradients at once.

    Gradients that are complete wait until there are `batch_bytes` of them. Then their parameters
    step in one launch and `p.grad` is None again, so that beside one such batch no gradients are in
    memory. The program stays as it is: `optimizer.step()` after `backward()` steps what is left,
    and `zero_grad()` finds nothing to clear. The numbers are those of the plain step, bit for bit;
    only the random bits of stochastic rounding are others.

    What needs all gradients before any parameter steps is refused: `clip_norm` and other rules
    with a norm over all parameters, `skip_nonfinite`, closures, and gradients that were changed
    after `backward()`, as `clip_grad_norm_` and `GradScaler` do. So is a second gradient before
    `optimizer.step()`, as in gradient accumulation or reentrant checkpointing.

    Args:
        optimizer: an optimizer of this package whose `step` is its class's own.
        batch_bytes: bytes of gradients that step together; one larger gradient steps alone.

    Returns:
        A handle: `remove()`, or leaving it as a context, brings the plain step back.

    Raises:
        UsageError: the optimizer cannot step in backward; the message says why.

    Source: Lv et al. (2023), "Full Parameter Fine-tuning for Large Language Models with Limited
    Resources", which fuses SGD's step into the backward pass.
    """
    if isinstance(batch_bytes, bool) or not isinstance(batch_bytes, int) or batch_bytes < 1:
        raise UsageError(f"batch_bytes={batch_bytes!r} must be a whole number of bytes, at least 1")
    if reason := _why_not(optimizer):
        raise UsageError(f"{type(optimizer).__name__} cannot step in backward: {reason}")
    return InBackward(optimizer, batch_bytes)


class InBackward:
    """The handle of an optimizer that steps in backward; see `step_in_backward`.

    Args:
        optimizer: whose parameters step.
        batch_bytes: bytes of gradients that step together.
    """

    def __init__(self, optimizer: RuleOptimizer, batch_bytes: int) -> None:
        self.optimizer, self.batch_bytes = optimizer, batch_bytes
        self._waiting: list[_Complete] = []  # of the last backward pass, never empty after one
        self._bytes = 0
        self._stepped: set[int] = set()  # ids of the parameters that stepped since `step()`
        self._plans: dict[_Key, tuple[_Part, Plan]] = {}  # of the batches of the last step
        self._used: dict[_Key, tuple[_Part, Plan]] = {}  # and of this one
        self._hooks = [
            p.register_post_accumulate_grad_hook(self._note)
            for p in _parameters(optimizer)
            if p.requires_grad
        ]
        optimizer._in_backward = self
        # A gradient scaler asks for this, and then leaves it to the step to refuse its scale.
        optimizer._step_supports_amp_scaling = True

    def remove(self) -> None:
        """Bring the plain step back; gradients that have not been stepped stay for it."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self._reset()
        if self.optimizer._in_backward is self:
            self.optimizer._in_backward = None
            fused = bool(self.optimizer.defaults.get("fused"))
            self.optimizer._step_supports_amp_scaling = fused

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.remove()

    def finish(self, closure: object) -> None:
        """Step what is left after the backward pass: what `optimizer.step` does.

        Args:
            closure: what that was given; must be None.

        Raises:
            UsageError: a closure was given, or gradients were changed after the backward pass.
        """
        if closure is not None:
            raise UsageError(
                "step(closure) cannot be used with step_in_backward: the parameters would step "
                "while the closure runs; call backward() and then step()"
            )
        if getattr(self.optimizer, "found_inf", None) is not None:  # set by a gradient scaler
            raise UsageError(_CHANGED)
        self._flush()
        # Gradients that came without a hook: assigned, or of parameters that were added later.
        left = [p for p in _parameters(self.optimizer) if p.grad is not None]
        for p in left:
            self._refuse_second(p)
        if left:
            self._step(left)
        self._plans, self._used = self._used, {}
        self._reset()

    def _note(self, p: Tensor) -> None:
        """Called by torch when the gradient of a parameter is complete."""
        gradient = p.grad
        if gradient is None:
            raise UsageError(
                f"another hook has cleared the gradient of a parameter of shape {tuple(p.shape)}; "
                "no two may step it in backward"
            )
        if gradient.requires_grad:
            raise UsageError(
                "backward(create_graph=True) keeps gradients that step_in_backward would free; "
                "train without one of them"
            )
        if self._waiting and self._waiting[0].parameter.grad is not self._waiting[0].gradient:
            self._give_up()
        self._refuse_second(p)
        size = gradient.numel() * gradient.element_size()
        # The last batch always waits for `step`, where it is seen whether it was changed.
        if self._waiting and self._bytes + size > self.batch_bytes:
            self._flush()
        self._waiting.append(_Complete(p, gradient, gradient._version))
        self._bytes += size
        self._stepped.add(id(p))

    def _give_up(self) -> None:
        """Forget a backward pass whose gradients were cleared and not stepped by.

        Raises:
            UsageError: some parameters have stepped by them.
        """
        stepped = len(self._stepped) - len(self._waiting)
        self._reset()
        if stepped:
            raise UsageError(
                f"gradients were cleared before optimizer.step(), when {stepped} parameters had "
                "stepped by them: a backward pass failed, or it was of a loss that this optimizer "
                "does not minimize; during the latter, freeze its parameters: requires_grad_(False)"
            )

    def _refuse_second(self, p: Tensor) -> None:
        if id(p) in self._stepped:
            raise UsageError(
                f"a parameter of shape {tuple(p.shape)} has got a second gradient before "
                "optimizer.step(), and may have stepped by the first: with step_in_backward, call "
                "optimizer.step() after every backward(), accumulate no gradients, and use "
                "checkpoints with use_reentrant=False"
            )

    def _flush(self) -> None:
        """Step the parameters whose gradients wait."""
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        for p, gradient, version in waiting:
            if p.grad is not gradient or gradient._version != version:
                raise UsageError(_CHANGED)
        if waiting:
            self._step([each.parameter for each in waiting])

    def _step(self, parameters: Sequence[Tensor]) -> None:
        """Step these parameters, which all have a gradient, and free the gradients."""
        key = tuple(map(id, parameters))
        known = self._plans.get(key)
        part, plan = known or (_Part(self.optimizer, parameters), None)
        # A plan takes a part for the optimizer that it stands for.
        if plan is None or not plan.run(part):  # type: ignore[arg-type]
            plan = replan(part, plan)
        self._used[key] = part, plan
        for p in parameters:
            p.grad = None

    def _reset(self) -> None:
        self._waiting, self._bytes = [], 0
        self._stepped.clear()


_CHANGED = (
    "gradients were changed or cleared after backward(), as clip_grad_norm_, clip_grad_value_, "
    "GradScaler and zero_grad do: with step_in_backward most parameters have stepped by then; "
    "train without step_in_backward, or without changing gradients"
)

_Key = tuple[int, ...]


class _Complete(NamedTuple):
    """A parameter whose gradient is complete, and by what a change of that is seen."""

    parameter: Tensor
    gradient: Tensor
    version: int


class _Part:
    """An optimizer as a plan sees it, with only some of the parameters in its groups."""

    def __init__(self, optimizer: RuleOptimizer, parameters: Sequence[Tensor]) -> None:
        chosen = set(map(id, parameters))
        self._optimizer = optimizer
        self.param_groups = [
            _Group(optimizer, k, [p for p in group["params"] if id(p) in chosen])
            for k, group in enumerate(optimizer.param_groups)
        ]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._optimizer, name)


class _Group(Mapping[str, Any]):
    """A parameter group with some of its parameters, and its options as they are now."""

    def __init__(self, optimizer: RuleOptimizer, index: int, parameters: list[Tensor]) -> None:
        self._optimizer, self._index, self._parameters = optimizer, index, parameters

    def __getitem__(self, key: str) -> Any:
        # By its number: loading a checkpoint makes new groups.
        return self._parameters if key == "params" else self._whole[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole)

    def __len__(self) -> int:
        return len(self._whole)

    @property
    def _whole(self) -> dict[str, Any]:
        return self._optimizer.param_groups[self._index]


def _parameters(optimizer: RuleOptimizer) -> list[Tensor]:
    return list(chain.from_iterable(group["params"] for group in optimizer.param_groups))


def _why_not(optimizer: Any) -> str:
    """The reason why an optimizer cannot step in backward; empty where it can."""
    if not isinstance(optimizer, RuleOptimizer):
        return "it must be an optimizer of thalweg.optim, and no wrapper of one"
    if type(optimizer).step is not RuleOptimizer.step:
        return "its step needs a closure, or does more than step along the gradients"
    if optimizer._in_backward is not None:
        return "it does so already; call remove() on the first handle"
    if optimizer.skip_nonfinite:
        return "skip_nonfinite=True looks at all gradients before any parameter steps; leave it out"
    if optimizer._optimizer_step_pre_hooks:
        return "it has hooks before the step, which would run after most parameters have stepped"
    for index, group in enumerate(optimizer.param_groups):
        if measures_all(optimizer.rule(group)):
            return (
                f"the rule of group {index} needs the norm of all gradients before any parameter "
                "steps, as clipping by it does; clip by value, or leave it out"
            )
        if group.get("differentiable"):
            return "differentiable=True keeps the gradients for a graph; leave it out"
    if any(map(is_dtensor, _parameters(optimizer))) or _several_processes():
        return "several processes train the model, and gradients are summed over them only later"
    return ""


def _several_processes() -> bool:
    group = torch.distributed
    return group.is_available() and group.is_initialized() and group.get_world_size() > 1
