"""The weights that runs start from: those that are given, or others for every seed."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..errors import UsageError, unknown
from ..inits import AUTO, FRESH, GIVEN, INITS
from ..orders import SEQUENTIAL
from . import untrained

_SHOWN = 3  # names that a sentence lists

Source = nn.Module | Callable[[], nn.Module]


@dataclass(frozen=True, eq=False)
class ModelBuilder:
    """Builds the model of every run after one that exists, or after what a function builds.

    Attributes:
        source: a model, of which every run gets a copy, or a function that builds one.
        init: "given": from its weights; "fresh": what is trained is drawn anew.
        why: how that was decided; empty where the caller did.
    """

    source: Source
    init: str
    why: str = ""

    def __call__(self) -> nn.Module:
        """A new model; random numbers come from torch's global generator."""
        given = self.source
        model = copy.deepcopy(given) if isinstance(given, nn.Module) else given()
        if self.init == FRESH:
            redraw(model)
        return model

    def decisive(self) -> list[Any]:
        """What of this decides how runs train: not the weights, where others are drawn."""
        source = self.source
        if not isinstance(source, nn.Module):
            return [source, self.init]
        if self.init == FRESH:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(0)
                source = self()
        return [source, self.init, [name for name, _ in frozen_parameters(source)]]


def builder(task: str, given: Source, init: str) -> Callable[[], nn.Module]:
    """What builds the model of every run.

    Args:
        task: names the task in messages.
        given: a model or a function that builds one; or what this returned before.
        init: "auto" keeps the weights of a model that looks trained or has frozen parameters.

    Raises:
        UsageError: there is no such init, the model cannot be copied or drawn anew, or it cannot
            be told whether its weights are trained.
    """
    if init not in INITS:
        raise unknown(f"init (of task {task!r})", init, INITS)
    if isinstance(given, ModelBuilder):
        if init in (AUTO, given.init):
            return given
        given = given.source
    if not isinstance(given, nn.Module):
        return ModelBuilder(given, FRESH) if init == FRESH else given
    try:
        model = copy.deepcopy(given).to("cpu")
    except RuntimeError as error:
        raise UsageError(
            f"task {task!r}: the model cannot be copied: {error}; give a function that builds it"
        ) from error
    check_shapes(task, model)
    why = ""
    if init == AUTO:
        init, why = _choose(task, model)
    elif init == FRESH:
        _check_redrawn(task, model)
    for parameter in model.parameters():
        parameter.grad = None
    return ModelBuilder(model, init, why)


def _choose(task: str, model: nn.Module) -> tuple[str, str]:
    """Whether a model's weights are kept, and why."""
    frozen = frozen_parameters(model)
    why = f"{frozen[0][0]} is frozen" if frozen else untrained.objection(model, redraw)
    if why:
        return GIVEN, why
    _check_redrawn(task, model)
    return FRESH, "they look untrained"


def _check_redrawn(task: str, model: nn.Module) -> None:
    """Raise if a trained parameter is not drawn anew by any of the model's methods."""
    trial = copy.deepcopy(model)
    trained = {name: p for name, p in trial.named_parameters() if p.requires_grad}
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for parameter in trained.values():
            parameter.fill_(torch.nan)
        redraw(trial)
    for name, parameter in trained.items():
        if parameter.isnan().any():
            holder, _, own = name.rpartition(".")
            raise UsageError(
                f"task {task!r}: model: {type(model.get_submodule(holder)).__name__} has the "
                f"parameter {own!r} but no reset_parameters() to draw it anew for every run; give "
                "a function that builds the model, as `lambda: Net()`, or init='given' to start "
                "every run from these weights"
            )


@torch.no_grad()
def redraw(model: nn.Module) -> None:
    """Draw the parameters anew that are trained, as the model's layers do when they are made.

    By `reset_parameters` of every layer, and of what contains it after it; then by `_init_weights`,
    as models of Hugging Face, timm and others have it. Frozen parameters stay, and the buffers of
    layers that have no others.

    Args:
        model: is changed; random numbers come from torch's global generator.
    """
    kept = [(tensor, tensor.clone()) for tensor in _kept(model)]
    for module in reversed(list(model.modules())):
        for name in ("reset_parameters", "_reset_parameters"):
            if callable(reset := getattr(module, name, None)):
                reset()
                break
    _initialize(model)
    for tensor, value in kept:
        tensor.copy_(value)


def _kept(model: nn.Module) -> Iterator[Tensor]:
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        yield from (p for p in own if not p.requires_grad)
        if own and not any(p.requires_grad for p in own):
            yield from module.buffers(recurse=False)


def _initialize(module: nn.Module) -> None:
    """Have the outermost modules with a method for it initialize what they contain."""
    for name in ("_init_weights", "init_weights"):
        own = getattr(module, name, None)
        if not callable(own):
            continue
        needed = [p for p in inspect.signature(own).parameters.values() if p.default is p.empty]
        if len(needed) == 1 and name.startswith("_"):
            module.apply(own)
            return
        if not needed:
            own()
            return
    for child in module.children():
        _initialize(child)


def frozen_parameters(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """The parameters that are not trained, by name."""
    return [(name, p) for name, p in model.named_parameters() if not p.requires_grad]


def check_shapes(task: str, model: nn.Module) -> None:
    """Refuse a model with layers whose shape a first call decides.

    Raises:
        UsageError: it has one.
    """
    for name, parameter in model.named_parameters():
        if is_lazy(parameter):
            raise UsageError(
                f"task {task!r}: the parameter {name!r} has no shape before the model is called; "
                "call the model once where it is built, as `net = Net(); net(X[:2]); return net`"
            )


@dataclass(frozen=True)
class Weights:
    """What the runs of a task start from, by the names of parameters.

    Attributes:
        given: trained, and the same for every seed, constants such as zeros apart.
        drawn: trained, and other numbers for every seed.
        frozen: not trained.
        total: how many parameters there are.
    """

    given: tuple[str, ...]
    drawn: tuple[str, ...]
    frozen: tuple[str, ...]
    total: int

    @property
    def usual(self) -> bool:
        """Whether all is trained, and nothing but constants is the same for every seed."""
        return not self.given and not self.frozen

    def __str__(self) -> str:
        if not self.given:
            said = "drawn anew for every seed" if self.drawn else "the same constants for all seeds"
        elif not self.drawn:
            said = "given"
        else:
            said = (
                f"{len(self.given)} of {len(self.given) + len(self.drawn)} trained tensors given, "
                f"drawn anew for every seed: {_names(self.drawn)}"
            )
        if self.frozen:
            said += f", {len(self.frozen)} of {self.total} tensors frozen: {_names(self.frozen)}"
        return said

    def note(self, model: object, order: object) -> str:
        """A sentence for the beginning of a race.

        Args:
            model: of the task.
            order: of the samples in an epoch.
        """
        said = f"weights: {self}"
        if isinstance(model, ModelBuilder) and model.why:
            other = FRESH if model.init == GIVEN else GIVEN
            does = "draws them anew" if other == FRESH else "keeps those that it has"
            said += f" (because {model.why}; init={other!r} {does})"
        if self.given and not self.drawn:
            draws = "what the model draws as it trains, as dropout does"
            varied = draws if order == SEQUENTIAL else f"the order of the data, and {draws}"
            said += f"; seeds vary {varied}: scores spread less than from fresh weights"
        return said


def compared(one: nn.Module, other: nn.Module) -> Weights:
    """What two models of a task that were built for two seeds have in common."""
    given, drawn = [], []
    theirs = dict(other.named_parameters())
    own = dict(one.named_parameters())
    for name, parameter in own.items():
        if not parameter.requires_grad:
            continue
        if not torch.equal(parameter, theirs[name]):
            drawn.append(name)
        elif parameter.numel() and not bool((parameter == parameter.flatten()[0]).all()):
            given.append(name)
    frozen = tuple(name for name, _ in frozen_parameters(one))
    return Weights(tuple(given), tuple(drawn), frozen, len(own))


def _names(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
