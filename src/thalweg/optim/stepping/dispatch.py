"""Which engine steps which parameter, and what keeps it from the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...engines import registry
from ...engines.base import Engine
from ...engines.formats import FORMATS
from ...engines.registry import AUTO, EAGER, NONE_FAILED
from ...errors import UsageError
from ...rules.core import Rule
from ...tape import THETA, trace
from .audit.audit import asks_libtorch
from .audit.libtorch import PLAIN, fits, is_plain
from .batches.base import Item
from .batches.global_norm import measures_all
from .dtensor import local
from .layouts import order, trouble_in_memory
from .precision import COMPENSATION, named

Launches = list[tuple[Engine, list[Item]]]


def trouble_with(engine: Engine, parameter: Tensor) -> str:
    """What keeps an engine from stepping a parameter; empty if nothing does."""
    memory = local(parameter)
    return engine.trouble_with_device(memory.device) or trouble_in_memory(memory)


def engine_unasked(
    rule: Rule, items: Sequence[Item], engine: str, failed: Mapping[str, str] = NONE_FAILED
) -> Engine | None:
    """The engine whose one launch may take all of these without each being asked for reasons.

    They are alike as far as Python sees cheaply. All else that a kernel needs the compiled audit
    asks of every tensor before the first step, as it does before any; only where it objects is
    there something to find out, which `divide` does.

    Args:
        rule, items, engine, failed: as of `divide`.
    """
    if engine == EAGER or not asks_libtorch():
        return None
    first = items[0]
    if first.parameter.is_complex() or not all(map(_in_one_part, first.formats.values())):
        return None
    numbers = [first.keys[slot] for slot in rule.scalars]
    precisions = [first.state[key].dtype for key in numbers]
    keys = [*first.keys.values(), *["step"] * first.counts]
    for parameter, _, state, _, _, _, formats in items:
        if type(parameter) not in PLAIN or not (parameter.is_cpu and parameter.is_contiguous()):
            return None
        if formats != first.formats or not all(type(state[key]) in PLAIN for key in keys):
            return None
        if numbers and [state[key].dtype for key in numbers] != precisions:
            return None
    required = None if engine == AUTO else registry.named(engine)
    return _engine_for(rule, first, required, failed)


def _in_one_part(name: str) -> bool:
    """Whether an engine knows this format, and arrays in it lie in one tensor each."""
    return name in FORMATS and len(FORMATS[name].parts) == 1


def divide(
    rule: Rule, items: Sequence[Item], engine: str, failed: Mapping[str, str] = NONE_FAILED
) -> tuple[Launches, list[Item]]:
    """The items that step in one launch each time, with the engine of it; and the others.

    Args:
        rule: of all of them.
        items: the parameters.
        engine: the name of the engine that must take them; "auto" for any that can, "eager" for
            none.
        failed: the engines that could make no launch of these, by name, and why.

    Raises:
        UsageError: the engine that must take them cannot, or there is none of this name.
    """
    if engine == EAGER:
        return [], list(items)
    required = None if engine == AUTO else registry.named(engine)
    slow: list[Item] = []
    found: dict[tuple[Any, ...], list[Item]] = defaultdict(list)
    shared = _overlapping([_written(item, rule) for item in items])
    for index, item in enumerate(items):
        trouble = required.trouble_with_device(item.parameter.device) if required else ""
        trouble = trouble or trouble_in_memory(item.parameter)
        if not trouble and index in shared:
            trouble = "it or its state shares memory with another that is stepped"
        trouble = trouble or _trouble_around(item, rule)
        if not trouble:
            found[_sort(rule, item)].append(item)
        elif required:
            raise _refusal(engine, trouble)
        else:
            slow.append(item)
    launches: Launches = []
    for alike in found.values():
        chosen = _engine_for(rule, alike[0], required, failed)
        if chosen is None:
            slow += alike
        else:
            launches.append((chosen, alike))
    return launches, slow


def _engine_for(
    rule: Rule, item: Item, required: Engine | None, failed: Mapping[str, str]
) -> Engine | None:
    """The engine that steps an item and all that agree with it; None if none can.

    Raises:
        UsageError: the engine that must take it cannot.
    """
    program, device = trace(rule), item.parameter.device
    formats = [item.formats[array] for array in program.arrays]
    engines = [required] if required else registry.engines_for(device)
    found, reasons = registry.first_able(engines, device, program, formats, failed)
    if found is not None:
        return found
    if required:
        raise _refusal(required.name, reasons[0])
    for reason in reasons:
        registry.warn_once(f"thalweg steps with the eager engine, which is slower: {reason}")
    return None


def _refusal(engine: str, trouble: str) -> UsageError:
    return UsageError(f"engine={engine!r} cannot step this parameter: {trouble}")


def _sort(rule: Rule, item: Item) -> tuple[Any, ...]:
    """What items of one launch agree in: device, formats, and the precision of their numbers.

    Loading a state rounds to the parameter's precision what torch begins in its default one.
    """
    numbers = () if measures_all(rule) else rule.scalars
    precisions = (item.state[item.keys[s]].dtype for s in numbers)
    return (item.parameter.device, *item.formats.values(), *precisions)


def _arrays(item: Item, rule: Rule) -> list[tuple[str, Tensor]]:
    """The arrays of a parameter's state, by their keys."""
    arrays = [(item.keys[s], item.parts(s)[0]) for s in rule.array_slots]
    return arrays + [(COMPENSATION, x) for x in item.parts(THETA)[1:]]


def _numbers(item: Item, rule: Rule) -> list[tuple[str, Tensor]]:
    """The numbers of a parameter's state, by their keys."""
    keys = [*["step"] * item.counts, *(item.keys[s] for s in rule.scalars)]
    return [(key, item.state[key]) for key in keys]


def _written(item: Item, rule: Rule) -> list[Tensor]:
    """All that a step of a parameter writes to."""
    parts = [x for s in rule.array_slots for x in item.parts(s)]
    return [*item.parts(THETA), *parts, *(x for _, x in _numbers(item, rule))]


def _trouble_around(item: Item, rule: Rule) -> str:
    """What keeps a parameter's gradient or state from the compiled engine."""
    p = item.parameter
    indices = () if p.is_contiguous() else order(p) or ()
    if indices and trace(rule).sums("channel_sum"):
        return "its channels do not lie one behind the other"
    g, arrays = p.grad, _arrays(item, rule)
    if g is not None:
        plain = g.detach().resolve_neg().resolve_conj() if g.layout == torch.strided else g
        if not is_plain(plain) or type(g) not in (Tensor, torch.nn.Parameter):
            return "its gradient is no plain tensor"
        if (g.shape, g.dtype, g.device) != (p.shape, p.dtype, p.device):
            return "its gradient differs from it in shape, dtype or device"
    for name, x in arrays:
        if not is_plain(x) or (x.shape, x.device) != (p.shape, p.device):
            return f"its {name} differs from it in kind, shape or device"
        if x.is_complex() is not p.is_complex() or named(x) not in FORMATS:
            return f"its {name} has dtype {x.dtype}"
    for name, x in arrays:
        if not (x.permute(indices) if indices else x).is_contiguous():
            return f"its {name} lies in memory in another order than it"
    for name, x in _numbers(item, rule):
        if not is_plain(x) or x.numel() != 1 or x.dtype not in (torch.float32, torch.float64):
            return f"its {name} is no plain number"
        if not fits(x):
            return f"its {name} has no memory"
    return ""


def _overlapping(written: Sequence[Sequence[Tensor]]) -> set[int]:
    """Which items share memory with another or in themselves, so that order would matter."""
    spans = sorted(
        (str(x.device), x.data_ptr(), x.data_ptr() + x.nbytes, index)
        for index, own in enumerate(written)
        for x in own
        if is_plain(x) and x.nbytes
    )
    found: set[int] = set()
    place, reach, owner = "", 0, 0
    for device, start, stop, index in spans:
        if device == place and start < reach:
            found |= {owner, index}
        if device != place or stop > reach:
            place, reach, owner = device, stop, index
    return found
