"""One rule on one list of shapes: its bandwidth, and its time beside other contenders."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

import torch
from torch import Tensor

from ..engines.traffic import traffic
from ..errors import ThalwegError, UsageError
from ..optim.stepping.precision import StoragePrecision
from ..rules.core import Rule
from ..tape import GRADIENT, THETA, trace
from . import contenders
from .contenders import COMPILED, COPY, NOTHING, OURS, PATTERN, Make
from .peak_memory import available
from .peers import PEERS, first_line
from .shapes import ShapeList
from .time_limit import time_limit
from .timing import Side, Spread, in_turns, ratio, timed

_SIZE = 4  # bytes of float32
_SPARE = 3  # arrays as large as the parameters that torch's modes hold for a while


@dataclass(frozen=True)
class Setting:
    """The setting of a measurement.

    Args:
        repeats: number of rounds; every contender is timed once in each.
        peers: the names of other packages to measure, of `PEERS` or "torch.compile".
        state_dtype: of this package's state: None, "float32", "bfloat16" or "int8".
        device: "cpu" or "cuda".
        patience: seconds that a contender may take for its first step.

    Raises:
        UsageError: a value is out of range, or there is no such device.
    """

    repeats: int = 9
    peers: Sequence[str] = field(default=tuple(PEERS))
    state_dtype: str | None = None
    device: str = "cpu"
    patience: float = 60.0

    def __post_init__(self) -> None:
        StoragePrecision(state_dtype=self.state_dtype)  # raises UsageError for an unknown dtype
        if self.repeats < 1:
            raise UsageError(f"repeats={self.repeats} must be at least 1")
        if not self.patience > 0:
            raise UsageError(f"patience={self.patience:g} must be a number of seconds above 0")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise UsageError("device='cuda': torch finds no GPU here; choose device='cpu'")

    def formats(self, rule: Rule) -> list[str]:
        """The storage formats of the arrays of a rule's program."""
        precision, parameter = StoragePrecision(state_dtype=self.state_dtype), torch.empty(0)
        return [
            precision.parameter(parameter) if a in (THETA, GRADIENT) else precision.slot(parameter)
            for a in trace(rule).arrays
        ]


def measure(
    rule: Rule, shapes: ShapeList, setting: Setting, options: Mapping[str, Any] = NOTHING
) -> dict[str, Any]:
    """Time a step of every contender that has this rule.

    Args:
        rule: a built-in rule or another.
        shapes: the shapes of the tensors.
        setting: rounds, device, other packages.
        options: of the optimizer class, such as weight_decay; of this package and torch alone.

    Returns:
        The case, bytes per parameter, "seconds" and "first" (call) per contender, "bandwidth" in
        GB/s, "share" of the pattern's bandwidth, "against": how many times as fast this package is
        as each other contender, "best": torch's fastest mode, and "skipped": the reason for each
        contender that was not measured. Where memory is short, only the case and "skipped".
    """
    rule_stepped = contenders.stepped(rule, options)
    moved = traffic(trace(rule_stepped), setting.formats(rule_stepped))
    row: dict[str, Any] = {
        "rule": rule.name,
        "options": dict(options),
        "shapes": shapes.name,
        "tensors": len(shapes.shapes),
        "parameters": shapes.parameters,
        "bytes": moved._asdict(),
    }
    makes, skipped = _contenders(rule, setting, options)
    if short := _short_of_memory(rule, shapes, len(makes)):
        return {**row, "skipped": {OURS: short}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some peers warn at every step
        sides, first = _warmed(makes, shapes, setting, skipped)
        finish = torch.cuda.synchronize if setting.device == "cuda" else None
        taken = in_turns(sides, setting.repeats, finish=finish)
    return {
        **row,
        **_results(taken, moved.total, shapes.parameters),
        "first": first,
        "skipped": skipped,
    }


def _contenders(
    rule: Rule, setting: Setting, options: Mapping[str, Any]
) -> tuple[dict[str, Make], dict[str, str]]:
    """The contenders to measure, and for each that cannot be measured the reason."""
    makes: dict[str, Make] = {
        OURS: contenders.ours(rule, setting.state_dtype, options),
        PATTERN: contenders.pattern(contenders.stepped(rule, options), setting.state_dtype),
        COPY: contenders.copy,
    }
    others = contenders.theirs(rule, COMPILED in setting.peers, options)
    skipped = {} if others else {"torch": "has no such rule"}
    for name in setting.peers:
        if options and name != COMPILED:
            skipped[name] = "measured at its default options alone"
        elif name != COMPILED:
            try:
                others[name] = PEERS[name].make(rule.name)
            except ThalwegError as reason:
                skipped[name] = str(reason)
    return makes | others, skipped


def _short_of_memory(rule: Rule, shapes: ShapeList, number: int) -> str:
    """The reason why a case does not fit into memory; empty if it fits."""
    arrays = len(trace(rule).arrays) + (number - 1) * len(rule.array_slots) + _SPARE
    needed, free = arrays * shapes.parameters * _SIZE, available()
    if free is None or needed < free:
        return ""
    return (
        f"needs {needed / 1e9:.1f} GB for {number} contenders and {free / 1e9:.1f} GB are free; "
        "measure fewer peers"
    )


def _warmed(
    makes: Mapping[str, Make], shapes: ShapeList, setting: Setting, skipped: dict[str, str]
) -> tuple[dict[str, Side], dict[str, float]]:
    """The contenders' steps after their first call, and the seconds of that call.

    All step the same parameters with the same gradients; each has a state of its own. A contender
    whose first call fails is left out and noted in `skipped`.
    """
    parameters = _parameters(shapes, setting.device)
    gradients = [p.grad for p in parameters]
    sides: dict[str, Side] = {}
    first: dict[str, float] = {}
    for name, make in makes.items():
        try:
            with time_limit(setting.patience):
                side = make(parameters)
                first[name] = timed(side)
            if any(p.grad is None for p in parameters):
                raise ThalwegError("sets the gradients to None at its step")
        except Exception as error:
            if name in (OURS, PATTERN, COPY):
                raise
            skipped[name] = str(error) if isinstance(error, ThalwegError) else first_line(error)
            first.pop(name, None)
            continue
        finally:
            for p, g in zip(parameters, gradients, strict=True):
                p.grad = g
        sides[name] = side
    return sides, first


def _parameters(shapes: ShapeList, device: str) -> list[Tensor]:
    generator = torch.Generator(device).manual_seed(0)
    made = []
    for shape in shapes.shapes:
        p = torch.randn(shape, device=device, generator=generator).requires_grad_()
        p.grad = torch.randn(shape, device=device, generator=generator)
        made.append(p)
    return made


def _results(taken: Mapping[str, Sequence[float]], moved: float, parameters: int) -> dict[str, Any]:
    """The entries of a row that follow from the times; `moved` is bytes per parameter."""
    seconds = {name: Spread.of(times) for name, times in taken.items()}
    own = [f"torch {mode}" for mode in contenders.MODES if f"torch {mode}" in taken]
    best = min(own, key=lambda name: median(taken[name]), default=None)
    rate = {
        name: (2 * _SIZE if name == COPY else moved) * parameters / spread.median / 1e9
        for name, spread in seconds.items()
    }
    others = [name for name in taken if name not in (OURS, PATTERN, COPY)]
    return {
        "seconds": {name: asdict(spread) for name, spread in seconds.items()},
        "bandwidth": rate,
        "share": asdict(ratio(taken[OURS], taken[PATTERN])),
        "against": {name: asdict(ratio(taken[OURS], taken[name])) for name in others},
        "best": best,
    }
