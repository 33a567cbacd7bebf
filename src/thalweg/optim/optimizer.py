"""The torch.optim.Optimizer of every rule."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from itertools import chain
from numbers import Real
from re import fullmatch
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import torch
from torch import Tensor
from torch._compile import _disable_dynamo
from torch.optim import optimizer as torch_optimizer

from ..engines import registry
from ..engines.registry import AUTO, EAGER
from ..errors import ThalwegError, UsageError
from ..rules.core import Rule
from .options import DEFAULTS, CommonOptions, full_signature, with_defaults
from .stepping.dispatch import trouble_with
from .stepping.finite import all_finite
from .stepping.plan import Plan
from .stepping.precision import StoragePrecision, unpacked

if TYPE_CHECKING:
    from .backward import InBackward

# Options by which torch's classes choose an implementation. Here the engine is chosen by device and
# dtype, so they are accepted, stored in the groups and not used.
SWITCHES = {"foreach": None, "capturable": False, "differentiable": False, "fused": None}

_PRECISION = tuple(field.name for field in fields(StoragePrecision))
_OWN_PRECISION = StoragePrecision()  # of the parameters

_LABELS = {"lr": "learning rate", "eps": "epsilon value"}  # torch's words


class RuleOptimizer(torch.optim.Optimizer):
    """The base class of the optimizers: a torch optimizer whose update is a rule.

    A subclass defines which rule a group's options select; all else is done here.

    Args:
        params: parameters, named parameters, or dicts with one parameter group each, as in torch.
        defaults: the options of groups that do not give their own.
        engine: "auto" steps dense parameters by compiled kernels, one launch for each device and
            dtype, and other parameters one by one with PyTorch operations; "numba" requires the
            kernel of the CPU and "triton" that of the GPU; "eager" uses PyTorch operations only.
        skip_nonfinite: skip a step if any gradient contains NaN or infinity: parameters, state and
            step counts stay as they are, and a warning is given the 1st, 10th, 100th … time.
            Without it such gradients are used, as in torch.
        state_dtype, rounding, seed: number formats of state and parameters; see `StoragePrecision`.

    Raises:
        UsageError: an option is out of its range, or the engine cannot step a parameter.
        TypeError: an option is unknown.

    Attributes:
        state_keys: torch's key for a slot of the rule, where it differs from the slot's name.
        pairs: options that hold two hyperparameters each, with their names.
        signed: hyperparameters that may be negative or infinite.
        counts_steps: whether the state has the number of steps under "step".
        lazy: whether gradients must be sparse, and rows without a gradient stay as they are.
        densifies: whether a sparse gradient may be converted to a dense one, as in torch.
        common_options: the options of the optimizer, not of a group, with their defaults.
        precision: the number formats of state and parameters.
        skipped: how many steps `skip_nonfinite` has skipped.
    """

    state_keys: ClassVar[Mapping[str, str]] = {}
    pairs: ClassVar[Mapping[str, tuple[str, str]]] = {"betas": ("beta1", "beta2")}
    signed: ClassVar[frozenset[str]] = frozenset()
    counts_steps: ClassVar[bool] = True
    lazy: ClassVar[bool] = False
    densifies: ClassVar[bool] = False
    common_options: ClassVar[Mapping[str, Any]] = DEFAULTS
    precision: StoragePrecision = StoragePrecision()
    skip_nonfinite: bool = False
    skipped: int
    _in_backward: InBackward | None = None

    def __init__(
        self, params: Iterable[Any], defaults: dict[str, Any], **common: Unpack[CommonOptions]
    ) -> None:
        # As torch's own, an optimizer is made outside of a compiled graph.
        begin = self._begin_untraced if torch.compiler.is_compiling() else self._begin
        begin(params, defaults, common)

    def _begin(
        self, params: Iterable[Any], defaults: dict[str, Any], common: CommonOptions
    ) -> None:
        options = with_defaults(common, DEFAULTS, type(self).__name__)
        engine = options["engine"]
        if engine not in (AUTO, EAGER):
            registry.named(engine)
        self.engine, self.skip_nonfinite = engine, options["skip_nonfinite"]
        given = {name: options[name] for name in _PRECISION if name in common}
        self.precision = StoragePrecision(**given) if given else _OWN_PRECISION
        self.skipped = 0
        self._plan: Plan | None = None
        self._step_supports_amp_scaling = bool(
            defaults.get("fused")
        )  # torch's gradient scaler asks
        self.defaults = defaults
        self.check(defaults)  # before the parameters, as torch does
        # Not super(): the constructor of torch.optim.Adam and the like would come in between.
        torch.optim.Optimizer.__init__(self, params, defaults)

    _begin_untraced = _disable_dynamo(_begin)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "__init__" in vars(cls) and (signature := full_signature(cls, cls.common_options)):
            cls.__signature__ = signature  # type: ignore[attr-defined]

    def rule(self, group: Mapping[str, Any]) -> Rule:
        """The rule that a parameter group's options select."""
        raise NotImplementedError

    def hyper(self, group: Mapping[str, Any]) -> dict[str, float]:
        """A group's hyperparameters by the names that the rule uses, as plain numbers.

        A tensor that requires a gradient stays a tensor if the group is differentiable, and one on
        a GPU stays there.
        """
        hyper: dict[str, float] = {}
        pairs = self.pairs
        number = _traced if group.get("differentiable") else _waiting
        for option in self.defaults:
            value = group[option]
            if option in pairs:
                if not isinstance(value, Iterable):
                    raise UsageError(f"{option}={value!r} must be a pair of numbers")
                hyper.update(zip(pairs[option], map(number, value), strict=False))
            elif type(value) is float:
                hyper[option] = value
            elif value is None:
                continue
            elif type(value) is bool:
                hyper[option] = float(value)
            elif isinstance(value, Tensor) and value.numel() != 1:
                raise UsageError(f"Tensor {option} must be 1-element, not {tuple(value.shape)}")
            elif isinstance(value, (int, Tensor, Real)):  # the last, an abstract class, is slow
                hyper[option] = number(value)
        return hyper

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step.

        Args:
            closure: evaluates the model, computes gradients and returns the loss.

        Returns:
            What the closure returned, or None.
        """
        # torch wraps every step for its profiler and hooks. That costs as much as a small step, so
        # it is done only if the profiler is on or there is a hook. torch has already wrapped the
        # step of a subclass that defines one.
        watched = torch._C._autograd._profiler_enabled() or self._hooks()
        if watched and type(self).step is RuleOptimizer.step:
            return self._watched(closure) if closure is not None else self._watched()
        # A graph cannot hold memory addresses, so torch.compile breaks its graph here.
        return (self._untraced if torch.compiler.is_compiling() else self._advance)(closure)

    step.hooked = True  # type: ignore[attr-defined]  # torch wraps what is not marked

    def _advance(self, closure: Callable[[], Any] | None = None) -> Any:
        if self._in_backward is not None:
            return self._in_backward.finish(closure)
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self._step_supports_amp_scaling and self._overflowed():
            return loss
        if self.skip_nonfinite and self._skips():
            return loss
        if self._plan is None or not self._plan.run(self):
            self._plan = replan(self, self._plan)
        return loss

    _untraced = _disable_dynamo(_advance)
    _watched = torch.optim.Optimizer.profile_hook_step(_untraced)

    def _overflowed(self) -> bool:
        """Divide the gradients by the scale that a gradient scaler has left to this step.

        Returns:
            Whether the scaler has found a gradient that is not finite: then there is no step.
        """
        found, scale = getattr(self, "found_inf", None), getattr(self, "grad_scale", None)
        if found is not None and bool(found):
            return True
        if scale is not None:
            with torch.no_grad():
                for p in chain.from_iterable(group["params"] for group in self.param_groups):
                    if p.grad is not None:
                        p.grad.div_(scale.to(p.grad.device))
        return False

    def _skips(self) -> bool:
        """Whether to skip this step, which is then counted, with a warning now and then."""
        given = [
            (f"parameter {k} of group {i}", p.grad)
            for i, group in enumerate(self.param_groups)
            for k, p in enumerate(group["params"])
            if p.grad is not None
        ]
        if all_finite([g for _, g in given]):
            return False
        self.skipped += 1
        if fullmatch("10*", str(self.skipped)):
            name = next(name for name, g in given if not all_finite([g]))
            warnings.warn(
                f"step not taken, {self.skipped} so far: the gradient of {name} holds NaN or "
                "infinity (skip_nonfinite=True)",
                RuntimeWarning,
                stacklevel=2,
            )
        return True

    def _hooks(self) -> bool:
        return bool(
            self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or torch_optimizer._global_optimizer_pre_hooks
            or torch_optimizer._global_optimizer_post_hooks
        )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group, with its options.

        Args:
            param_group: the parameters under "params", and options.

        Raises:
            UsageError: an option is out of its range, or a parameter cannot be stepped.
        """
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            if any(group[option] is not value for option, value in self.defaults.items()):
                self.check(group)
            self._check_parameters(group["params"])
        except Exception:
            self.param_groups.pop()
            raise
        self._plan = None

    def check(self, group: Mapping[str, Any]) -> None:
        """Raise an error if an option is out of its range.

        Raises:
            UsageError: a hyperparameter is not a number, negative or not finite, or a beta is 1 or
                larger.
        """
        hyper = self.hyper(group)
        rule = self.rule(group)
        for name in rule.defaults:
            value = hyper[name] if name in hyper else group.get(name)
            value = _number(value) if isinstance(value, Tensor) else value
            if trouble := rule.trouble_with(name, value, name in self.signed):
                label = _LABELS.get(name, f"{name} value")
                if name.startswith("beta") and isinstance(value, float) and 1 <= value < math.inf:
                    label = f"beta parameter at index {int(name[4:] or 1) - 1}"
                raise UsageError(f"Invalid {label}: {value!r}; {trouble}")

    def _check_parameters(self, parameters: list[Tensor]) -> None:
        engine = None if self.engine in (AUTO, EAGER) else registry.named(self.engine)
        for index, p in enumerate(parameters):
            steps = p.is_floating_point() or p.is_complex()
            # A frozen Parameter of integers is a quantized weight; any other tensor is a mistake.
            if not steps and not isinstance(p, torch.nn.Parameter):
                raise UsageError(
                    f"parameter {index} of the group has dtype {p.dtype}: only floating-point "
                    "and complex parameters have gradients to step along; leave it out"
                )
            if engine and steps and (trouble := trouble_with(engine, p)):
                raise UsageError(f"engine={self.engine!r} cannot step parameter {index}: {trouble}")

    def __setstate__(self, state: dict[str, Any]) -> None:
        options = {*state.get("defaults", getattr(self, "defaults", ()))}
        torch.optim.Optimizer.__setstate__(self, state)
        if "differentiable" not in options:  # which torch's base class adds
            self.defaults.pop("differentiable", None)
        self.__dict__.setdefault("skipped", 0)  # absent where an older version has pickled
        if "keeping" in self.__dict__:  # its earlier name
            self.precision = self.__dict__.pop("keeping")
        inside = self._in_backward is not None
        self._step_supports_amp_scaling = inside or bool(self.defaults.get("fused"))
        self._plan = None
        for group in self.param_groups:
            for option, value in self.defaults.items():
                group.setdefault(option, value)

    @property
    def keeping(self) -> StoragePrecision:
        """The earlier name of `precision`."""
        warnings.warn(
            "keeping is called precision now: optimizer.precision",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.precision

    def __getstate__(self) -> dict[str, Any]:
        own = ("engine", "precision", "skip_nonfinite", "skipped")
        return {**super().__getstate__(), **{key: getattr(self, key) for key in own}}

    def state_dict(self) -> dict[str, Any]:
        """The state in the form of torch's class: arrays kept in 8 bits become float32.

        Loading it gives the same 8 bits again.
        """
        saved = super().state_dict()
        saved["state"] = {key: unpacked(state) for key, state in saved["state"].items()}
        return saved

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state saved by an optimizer of this package or of torch.

        Args:
            state_dict: the state. Its arrays are cast to the dtype of the parameter, as in torch;
                with `state_dtype` they are converted to that format from their full precision.
        """
        if self.precision.state_dtype is None:
            super().load_state_dict(state_dict)
            return
        # After the hooks that may change what is loaded, and before those that look at it.
        saved: dict[str, Any] = {}
        hooks = (
            self.register_load_state_dict_pre_hook(lambda _, given: saved.update(given)),
            self.register_load_state_dict_post_hook(lambda _: self._restore(saved), prepend=True),
        )
        try:
            super().load_state_dict(state_dict)
        finally:
            for hook in hooks:
                hook.remove()

    def _restore(self, saved: Mapping[str, Any]) -> None:
        """Copy the state again, without rounding it to the parameter's dtype."""
        names = chain.from_iterable(group["params"] for group in saved["param_groups"])
        own = chain.from_iterable(group["params"] for group in self.param_groups)
        for name, p in zip(names, own, strict=True):
            for key, x in saved["state"].get(name, {}).items():
                rounded = self.state[p].get(key)
                if isinstance(x, Tensor) and isinstance(rounded, Tensor):
                    self.state[p][key] = x.detach().to(rounded.device, copy=True)


def replan(optimizer: Any, before: Plan | None) -> Plan:
    """Plan a step anew, and take it.

    Args:
        optimizer: whose parameters step, or some of them as a plan sees them.
        before: the plan that no longer holds.

    Raises:
        ThalwegError: the new plan does not hold either.
    """
    with torch.no_grad():
        plan = Plan(optimizer, before)
    if not plan.run(optimizer):
        raise ThalwegError("parameters or gradients changed while they were stepped")
    return plan


def _number(value: Any) -> float:
    return float(value.detach() if isinstance(value, Tensor) else value)


def _waiting(value: Any) -> Any:
    """A number; a tensor on a GPU stays one, since reading it would wait for the GPU."""
    if isinstance(value, Tensor) and value.device.type == "cuda":
        return value.detach().reshape(())
    return _number(value)


def _traced(value: Any) -> Any:
    """A number, or a 0-dim tensor if it requires a gradient."""
    if isinstance(value, Tensor) and value.requires_grad:
        return value.reshape(())
    return _number(value)
