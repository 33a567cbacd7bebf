"""Which parameters step together, and by which engine: worked out once, run at every step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain, repeat
from operator import is_, itemgetter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...engines import registry
from ...engines.base import Engine
from ...engines.formats import COMPENSATED
from ...engines.registry import AUTO, EAGER, NONE_FAILED
from ...errors import UsageError
from ...rules.core import Rule, RuleError
from ...tape import GRADIENT, THETA, trace
from .batches.base import Batch, Item, gradient_of
from .batches.cpu import HostBatch
from .batches.differentiable import Graph, in_graph
from .batches.eager import Eager
from .batches.global_norm import Together, gathered, measures_all
from .batches.gpu import DeviceBatch
from .batches.kernel import KernelBatch
from .batches.sparse import Rows, Whole, begins_at_rest, refusal, steps_by_rows
from .dispatch import Launches, divide, engine_unasked
from .dtensor import Shards, local
from .modes import watched
from .precision import COMPENSATION, StoragePrecision, check_memory, named

if TYPE_CHECKING:
    from ..optimizer import RuleOptimizer

_SETTLED = frozenset(
    (float, int, bool, str, type(None))
)  # what cannot change without being replaced


class Group:
    """A parameter group as it was last seen."""

    def __init__(self, optimizer: RuleOptimizer, group: Mapping[str, Any]) -> None:
        self.parameters = list(group["params"])
        self.rule = optimizer.rule(group)
        self.measures = bool(trace(self.rule).middle)
        self.stateless: dict[torch.dtype, Item] = {}  # an item of each dtype that has no state
        self.see(optimizer, group)

    def see(self, optimizer: RuleOptimizer, group: Mapping[str, Any]) -> None:
        """Take over the options."""
        self.pick = itemgetter("params", *optimizer.defaults)
        self.options = self.pick(group)[1:]
        parts = chain.from_iterable(x if type(x) is tuple else (x,) for x in self.options)
        self.settled = _SETTLED.issuperset(map(type, parts))
        self.hyper = optimizer.hyper(group)
        self.differentiable = bool(group.get("differentiable"))

    def begin(self, optimizer: RuleOptimizer, parameter: Tensor, index: int) -> Item:
        """A parameter with its state; `index` is the number of this group."""
        like = self.stateless.get(parameter.dtype)
        if like is not None:
            return like._replace(parameter=parameter, state={})
        item = begin(optimizer, parameter, index, self.rule, self.hyper)
        if not item.state:
            self.stateless[parameter.dtype] = item
        return item

    def same(self, group: Mapping[str, Any]) -> bool:
        """Whether the options are what they were, for sure."""
        return self.settled and self.options == self.pick(group)[1:]


class Plan:
    """The batches of one pattern of parameters, gradients and options.

    Args:
        optimizer: whose parameters to step; state that is missing is begun. The plan keeps no
            reference to it, so that an optimizer that is dropped is freed at once.
        before: the plan that no longer holds. What it stepped is stepped by this one too, and
            where any of that has no gradient now, the parameters of this plan may rest.
    """

    def __init__(self, optimizer: RuleOptimizer, before: Plan | None = None) -> None:
        known = before.ways if before else {}
        self.ways: dict[Tensor, type[Eager] | None] = {}
        self.groups = [Group(optimizer, group) for group in optimizer.param_groups]
        everything = chain.from_iterable(group.parameters for group in self.groups)
        self.apart: bool = before is not None and (
            before.apart or any(p.grad is None and p in known for p in everything)
        )
        self.capturable = any(group.get("capturable") for group in optimizer.param_groups)
        self.watched = watched()
        engine = EAGER if self.watched else optimizer.engine
        self.idle: list[Tensor] = []
        self.shards = Shards()
        found: dict[tuple[Rule, torch.dtype, type[Eager] | None], list[Item]] = defaultdict(list)
        for index, group in enumerate(self.groups):
            alike: dict[tuple[torch.dtype, type[Eager] | None], list[Item]] = {}
            for parameter in group.parameters:
                if parameter.grad is None and parameter not in known:
                    self.idle.append(parameter)
                else:
                    way = known.get(parameter)
                    if parameter.grad is not None:
                        way = _special(optimizer, parameter, group)
                    self.ways[parameter] = way
                    if way is not None and not self.watched:
                        _check_memory(parameter)
                    item = group.begin(optimizer, parameter, index)
                    if way in (Rows, Graph) and not item.plain:
                        raise UsageError(_NOT_PLAIN)
                    # What is measured of a tensor is measured of the whole DTensor, and what
                    # gradients flow through is the DTensor itself.
                    if way is None and not group.measures:
                        item = self.shards.part(item)
                    sort = parameter.dtype, way
                    if sort not in alike:
                        alike[sort] = found[group.rule, *sort]
                    alike[sort].append(item)
        self.batches: list[Batch] = []
        for (rule, _, way), items in gathered(found, engine).items():
            if way is not None:
                hypers = [group.hyper for group in self.groups]
                self.batches.append(way(rule, items, hypers, optimizer.precision))
            else:
                self.batches += self._batches(rule, items, optimizer.precision, engine)
        self.shards.settle()
        self.state, self.states = optimizer.state, list(optimizer.state.values())

    def run(self, optimizer: RuleOptimizer) -> bool:
        """Step everything once; False, with nothing done, where the plan no longer holds."""
        shards = self.shards if self.shards.items else None
        if not self._holds(optimizer) or (shards and not shards.follow()):
            return False
        gathered = []
        for batch in self.batches:
            gradients = batch.gather()
            if gradients is None:
                return False
            gathered.append(gradients)
        for batch, gradients in zip(self.batches, gathered, strict=True):
            batch.run(gradients)
        if shards:
            shards.release()
        return True

    def _holds(self, optimizer: RuleOptimizer) -> bool:
        """Take over options that changed; False if parameters, states or rules are others."""
        if watched() is not self.watched:
            return False
        state, groups = optimizer.state, optimizer.param_groups
        if state is not self.state or len(groups) != len(self.groups):
            return False
        if len(state) != len(self.states) or not all(map(is_, state.values(), self.states)):
            return False
        if self.idle and not all(map(is_, map(gradient_of, self.idle), repeat(None))):
            return False
        for index, (known, group) in enumerate(zip(self.groups, groups, strict=True)):
            parameters = group["params"]
            if len(parameters) != len(known.parameters):
                return False
            if not all(map(is_, parameters, known.parameters)):
                return False
            if not known.same(group):
                if optimizer.rule(group) is not known.rule:
                    return False
                if bool(group.get("differentiable")) is not known.differentiable:
                    return False
                known.see(optimizer, group)
                for batch in self.batches:
                    batch.follow(index, known.hyper)
        return True

    def _batches(
        self,
        rule: Rule,
        items: Sequence[Item],
        precision: StoragePrecision,
        chosen: str,
        failed: Mapping[str, str] = NONE_FAILED,
    ) -> list[Batch]:
        """The items of one rule and dtype, those first that a compiled engine takes.

        Args:
            rule: of all of them.
            items: the parameters.
            precision: how the optimizer rounds.
            chosen: the engine, as of `divide`.
            failed: as of `divide`.
        """
        engine = engine_unasked(rule, items, chosen, failed)
        if engine is not None:
            batches = self._made(rule, [(engine, [*items])], [], precision, chosen, failed)
            launched = [batch for batch in batches if isinstance(batch, KernelBatch)]
            if all(batch.gather() is not None for batch in launched):
                return batches
        if not self.watched:
            for item in items:
                _check_memory(item.parameter)
        return self._made(rule, *divide(rule, items, chosen, failed), precision, chosen, failed)

    def _made(
        self,
        rule: Rule,
        launches: Launches,
        slow: list[Item],
        precision: StoragePrecision,
        chosen: str,
        failed: Mapping[str, str],
    ) -> list[Batch]:
        """The batches of these launches, and of parameters that no engine takes."""
        hypers = [group.hyper for group in self.groups]
        whole = Together if measures_all(rule) else Eager
        if whole is Together and (slow or len(launches) > 1):
            items = [*chain.from_iterable(alike for _, alike in launches), *slow]
            return [Together(rule, items, hypers, precision)]
        batches: list[Batch] = []
        for engine, alike in launches:
            try:
                batches.append(self._compiled(engine, rule, alike, precision))
            except RuleError:
                raise
            except Exception as error:
                if chosen == engine.name:
                    raise
                # An engine that cannot compile leaves its parameters to the others.
                others = {**failed, engine.name: registry.reason_of(rule.name, error)}
                batches += self._batches(rule, alike, precision, chosen, others)
            else:
                registry.warn_of_failure(engine, failed)
        return [*batches, whole(rule, slow, hypers, precision)] if slow else batches

    def _compiled(
        self, engine: Engine, rule: Rule, items: Sequence[Item], precision: StoragePrecision
    ) -> Batch:
        """The batch of items that an engine steps by one launch."""
        hypers = [group.hyper for group in self.groups]
        if engine.asynchronous:
            return DeviceBatch(engine, rule, items, hypers, precision, self.apart, self.capturable)
        return HostBatch(engine, rule, items, hypers, precision, self.apart)


_NOT_PLAIN = (
    "state_dtype and rounding are for dense gradients that nothing is differentiated through: "
    "leave them out"
)


def begin(
    optimizer: RuleOptimizer, parameter: Tensor, group: int, rule: Rule, hyper: Mapping[str, float]
) -> Item:
    """A parameter with its state, which starts here unless it was loaded or kept."""
    keys = {slot: optimizer.state_keys.get(slot, slot) for slot in rule.slots}
    precision = optimizer.precision
    counts = optimizer.counts_steps or precision.draws(parameter, bool(keys))
    if precision.state_dtype == "int8" and local(parameter) is not parameter:
        raise UsageError('state_dtype="int8" cannot keep the state of a DTensor: take "bfloat16"')
    formats = {THETA: precision.parameter(parameter), GRADIENT: named(parameter)}
    if not keys and not counts and formats[THETA] != COMPENSATED:
        return Item(parameter, group, {}, keys, 0, False, formats)
    state = optimizer.state.setdefault(parameter, {})
    # Where torch keeps no count, that there is a state says that a step was taken.
    taken = int(bool(state) and all(state.get(key) is not None for key in keys.values()))
    if counts:
        begun = 0 if optimizer.counts_steps else taken
        state["step"] = _count(state.get("step", begun))
        taken = int(state["step"].item())
    for slot, key in keys.items():
        value = state.get(key)
        if value is None:
            value = rule.initial(slot, hyper)
        if slot in rule.scalars:
            state[key] = _number(value)
        else:
            formats[slot] = precision.begin(parameter, state, key, value)
    if formats[THETA] == COMPENSATED:
        if COMPENSATION in keys.values():
            raise UsageError(
                f'rounding="kahan" keeps the state {COMPENSATION!r}, and {rule.name} has one too: '
                "rename that slot"
            )
        precision.begin_compensation(parameter, state)
    return Item(parameter, group, state, keys, taken, counts, formats)


def _check_memory(parameter: Tensor) -> None:
    """Refuse a parameter or a gradient whose storage was freed."""
    check_memory(parameter, "a parameter")
    if parameter.grad is not None:
        check_memory(parameter.grad, "the gradient of a parameter")


def _special(optimizer: RuleOptimizer, parameter: Tensor, group: Group) -> type[Eager] | None:
    """How to step a parameter that is no plain array with a plain gradient."""
    layout = parameter.grad.layout  # type: ignore[union-attr]  # it has a gradient
    if layout != torch.strided:
        takes = layout == torch.sparse_coo and parameter.layout == torch.strided
        by_rows = optimizer.lazy or steps_by_rows(group.rule)
        if not (takes and (by_rows or (optimizer.densifies and begins_at_rest(group.rule)))):
            raise refusal(group.rule, layout)
        if optimizer.engine not in (AUTO, EAGER):
            raise UsageError(
                f"engine={optimizer.engine!r} cannot step this parameter: its gradient is sparse"
            )
        return Rows if by_rows else Whole
    if optimizer.lazy:
        raise RuntimeError(
            f"{type(optimizer).__name__} does not support dense gradients, please consider Adam "
            "instead"
        )
    return Graph if group.differentiable and in_graph(parameter) else None


def _count(value: Any) -> Tensor:
    """The number of steps that a state holds: a tensor stays the object that it is.

    Raises:
        UsageError: it is no number.
    """
    if not isinstance(value, Tensor):
        return _number(value)
    if value.numel() != 1:
        raise UsageError(f"the state 'step' must be one number, not of shape {tuple(value.shape)}")
    return value


def _number(value: Any) -> Tensor:
    """A number of the state as torch keeps it: 0-dim, on the CPU, never in less than float32.

    One that was loaded has the precision that torch has cast it to; one that a gradient is to flow
    to stays the tensor that it is.
    """
    if isinstance(value, Tensor) and value.requires_grad:
        return value
    if isinstance(value, Tensor) and value.dtype in (torch.float32, torch.float64):
        dtype = value.dtype
        if value.dim() == 0 and value.device.type == "cpu":
            return value
    else:
        wide = torch.get_default_dtype() == torch.float64
        dtype = torch.float64 if wide else torch.float32
    if isinstance(value, int | float):
        return torch.tensor(value, dtype=dtype, device="cpu")
    return torch.as_tensor(value, dtype=dtype, device="cpu").detach().reshape(())
