"""Which parameters step together, and by which engine: worked out once, run at every step."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import UsageError
from ..rules.core import Rule, RuleError
from .batches import Batch, Compiled, Eager, Item

if TYPE_CHECKING:
    from .adapter import RuleOptimizer

ENGINES = ("auto", "numba", "eager")


class Plan:
    """The batches of one pattern of parameters, gradients and options.

    Args:
        optimizer: whose parameters to step; state that is missing is begun.
    """

    def __init__(self, optimizer: RuleOptimizer) -> None:
        self.optimizer = optimizer
        groups = optimizer.param_groups
        self.options = [_options(group) for group in groups]
        self.rules = [optimizer.rule(group) for group in groups]
        self.hypers = [optimizer.hyper(group) for group in groups]
        self.idle: list[Tensor] = []
        alike: dict[tuple[Rule, bool, torch.dtype], list[Item]] = defaultdict(list)
        for index, (group, rule) in enumerate(zip(groups, self.rules, strict=True)):
            for parameter in group["params"]:
                if parameter.grad is None:
                    self.idle.append(parameter)
                else:
                    compiled = _compiles(parameter, optimizer.engine)
                    item = begin(optimizer, parameter, index, rule, self.hypers[index])
                    alike[rule, compiled, parameter.dtype].append(item)
        self.state, self.known = optimizer.state, len(optimizer.state)
        self.batches = [
            self._batch(rule, items, compiled) for (rule, compiled, _), items in alike.items()
        ]

    def run(self) -> bool:
        """Step everything once; False, with nothing done, where the plan no longer holds."""
        optimizer = self.optimizer
        if self.state is not optimizer.state or self.known != len(self.state):
            return False
        if any(p.grad is not None for p in self.idle) or not self._follow_options():
            return False
        gathered = [batch.gather() for batch in self.batches]
        if None in gathered:
            return False
        for batch, gradients in zip(self.batches, gathered, strict=True):
            batch.run(gradients)  # type: ignore[arg-type]  # None has been ruled out
        return True

    def _follow_options(self) -> bool:
        """Take over options that changed since the last step; False if they mean another rule."""
        groups = self.optimizer.param_groups
        if len(groups) != len(self.options):
            return False
        for index, group in enumerate(groups):
            options = _options(group)
            if options != self.options[index]:
                if self.optimizer.rule(group) is not self.rules[index]:
                    return False
                self.options[index] = options
                self.hypers[index] = self.optimizer.hyper(group)
                for batch in self.batches:
                    batch.follow(index, self.hypers[index])
        return True

    def _batch(self, rule: Rule, items: Sequence[Item], compiled: bool) -> Batch:
        if compiled:
            try:
                return Compiled(rule, items, self.hypers)
            except RuleError:
                raise
            except Exception as error:
                if self.optimizer.engine == "numba":
                    raise
                _warn_once(f"no kernel for {rule.name}: {type(error).__name__}: {error}")
        return Eager(rule, items, self.hypers)


def begin(
    optimizer: RuleOptimizer, parameter: Tensor, group: int, rule: Rule, hyper: Mapping[str, float]
) -> Item:
    """A parameter with its state, which starts here unless it was loaded or kept."""
    keys = {slot: optimizer.state_keys.get(slot, slot) for slot in rule.slots}
    if not keys and not optimizer.counts_steps:
        return Item(parameter, group, {}, keys, 0)
    state = optimizer.state[parameter]
    begun = all(state.get(key) is not None for key in keys.values())
    for slot, key in keys.items():
        value = state.get(key)
        if value is None:
            value = rule.initial(slot, hyper)
        if slot in rule.scalars:
            state[key] = _number(value)
        elif not isinstance(value, Tensor):
            state[key] = torch.full_like(parameter, value, memory_format=torch.preserve_format)
    if optimizer.counts_steps:
        state["step"] = _number(state.get("step", 0.0))
        return Item(parameter, group, state, keys, int(state["step"]))
    # torch keeps no count for these rules: that there is a state says that a step was taken.
    return Item(parameter, group, state, keys, int(begun))


def _options(group: Mapping[str, Any]) -> list[Any]:
    """A group's options as plain values, to see whether one has changed."""
    return [
        value.item() if isinstance(value, Tensor) else value
        for key, value in group.items()
        if key != "params"
    ]


def _number(value: Any) -> Tensor:
    """A number of the state as torch keeps it: 0-dim, on the CPU, in the default precision."""
    wide = torch.get_default_dtype() == torch.float64
    dtype = torch.float64 if wide else torch.float32
    return torch.as_tensor(value, dtype=dtype, device="cpu").detach()


def _compiles(parameter: Tensor, engine: str) -> bool:
    """Whether the compiled CPU engine takes this parameter."""
    if engine == "eager":
        return False
    if trouble := _trouble(parameter):
        if engine == "numba":
            raise UsageError(f'engine="numba" cannot step this parameter: {trouble}')
        return False
    if find_spec("numba") is None:
        if engine == "numba":
            raise UsageError('engine="numba" needs numba: pip install numba')
        _warn_once("numba is not installed")
        return False
    return True


def _trouble(parameter: Tensor) -> str:
    """What keeps a parameter from the compiled CPU engine, if anything does."""
    if type(parameter) not in (Tensor, torch.nn.Parameter):
        return f"it is a {type(parameter).__name__}, not a plain tensor"
    if parameter.device.type != "cpu":
        return f"it is on {parameter.device}"
    if parameter.dtype not in (torch.float32, torch.float64):
        return f"its dtype is {parameter.dtype}"
    return "" if parameter.is_contiguous() else "it is not contiguous"


@cache
def _warn_once(reason: str) -> None:
    warnings.warn(
        f"thalweg steps with the eager engine, which is slower: {reason}",
        RuntimeWarning,
        stacklevel=2,
    )
