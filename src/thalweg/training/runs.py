"""Runs, what they train with, and their results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import UsageError, check_count, known_name
from ..orders import SHUFFLED
from ..rules import Reference, clip_norm, coupled_weight_decay, registry
from ..rules.core import LogRange, Rule
from ..rules.ranges import SPREAD
from ..schedules import CONSTANT, Schedule
from ..tasks.order import Order, epochs
from .rng import Purpose, drawing_from, numpy_generator
from .torch_method import TorchMethod

_RASTRIGIN = Reference(
    "Rastrigin",
    1963,
    "The Convergence of the Random Search Method in the Extremal Control of "
    "a Many Parameter System",
    "Automation and Remote Control 24",
)


@dataclass(frozen=True)
class RandomSearch:
    """The floor of a race: draw parameters at random, keep the best; no gradient is used.

    A draw is normal with the learning rate as its standard deviation. It replaces the best one
    so far where it has the lower loss on the step's mini-batch.
    """

    name: str = "random_search"
    title: str = "Random search: draw parameters at random and keep the best."
    reference: Reference | None = _RASTRIGIN
    defaults: Mapping[str, float] = field(default_factory=lambda: {"lr": SPREAD.centre}, hash=False)

    def learning_rates(self) -> LogRange:
        """Where to look for the spread of the draws."""
        return SPREAD


RANDOM_SEARCH = RandomSearch()
Method = Rule | RandomSearch | TorchMethod
Kind = Literal["rule", "torch", "search"]
Also = dict[str, dict[str, list[float]]]  # values by metric, then by part of the data


def kind_of(method: Method) -> Kind:
    """What steps a method's runs: rules train together as lanes, and the others apart from them."""
    if isinstance(method, TorchMethod):
        return "torch"
    return "search" if isinstance(method, RandomSearch) else "rule"


def method(name: str) -> Method:
    """The method of this name: a built-in rule, or random search.

    Raises:
        UsageError: there is none; the message names the nearest ones.
    """
    known = methods()
    return known[known_name("optimizer", name, known)]


def methods() -> dict[str, Method]:
    """All built-in methods by name."""
    return {**registry(), RANDOM_SEARCH.name: RANDOM_SEARCH}


@dataclass(frozen=True)
class Recipe:
    """What a run trains with beside its rule and the hyperparameters of that.

    Attributes:
        schedule: of the learning rate.
        clip: the norm that all gradients of a step together may have; None for any.
        batch_size: samples in a mini-batch; None for the regime's.
    """

    schedule: Schedule = CONSTANT
    clip: float | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        clip = self.clip
        if clip is not None and (
            isinstance(clip, bool) or not isinstance(clip, int | float) or not 0 < clip < np.inf
        ):
            raise UsageError(f"clip={clip!r} must be a norm above 0, as 1.0, or None")
        if self.batch_size is not None:
            check_count("batch_size", self.batch_size)


PLAIN = Recipe()


@dataclass(frozen=True)
class Run:
    """One training from its start: which method, with which hyperparameters, from which seed.

    Attributes:
        method: a rule, an optimizer class, or random search.
        hyper: hyperparameters that differ from the method's defaults; `weight_decay` may be
            given for any rule, and is coupled where the rule has none of its own.
        seed: decides the initial parameters and the order of the data, alike for every method.
        recipe: schedule, clipping, batch size.
        bracket: names the runs that this one is compared with as they train, and stopped if it
            falls behind them; None for a run that trains to its end.
    """

    method: Method
    hyper: Mapping[str, float] = field(hash=False)
    seed: int
    recipe: Recipe = PLAIN
    bracket: str | None = None

    @property
    def rule(self) -> Rule:
        """The rule that this run steps with: the method's, with what goes in front of it."""
        assert isinstance(self.method, Rule)
        decayed = "weight_decay" in self.hyper and "weight_decay" not in self.method.defaults
        return _prepared(self.method, decayed, self.recipe.clip is not None)

    @property
    def scalars(self) -> dict[str, float]:
        """All hyperparameters of that rule, and their values."""
        clip = {} if self.recipe.clip is None else {"max_norm": self.recipe.clip}
        return {**self.method.defaults, **self.hyper, **clip}


@cache
def _prepared(rule: Rule, decayed: bool, clipped: bool) -> Rule:
    if decayed:
        rule = coupled_weight_decay(rule, name=f"{rule.name}_decayed")
    # In front of the decay, as clip_grad_norm_ runs before the optimizer adds it.
    return clip_norm(rule, name=f"{rule.name}_clipped") if clipped else rule


@dataclass(frozen=True)
class Regime:
    """How long and on what every run of a race trains.

    Attributes:
        epochs: passes over the training data.
        batch_size: samples in a mini-batch.
        evaluations: how often a run is measured, evenly over its steps, its start apart.
        drop_last: leave out the last mini-batch of an epoch where it is smaller than the others.
    """

    epochs: int
    batch_size: int
    evaluations: int = 40
    drop_last: bool = False

    def steps(self, samples: int) -> int:
        """The number of steps on a training set of this size."""
        batches = samples // self.batch_size
        return self.epochs * (batches + (not self.drop_last and samples % self.batch_size > 0))

    def milestones(self, samples: int) -> list[int]:
        """The steps after which a run is measured; the first is 0."""
        marks = np.linspace(0, self.steps(samples), self.evaluations + 1).round().astype(int)
        return sorted(set(marks.tolist()))

    def under(self, recipe: Recipe) -> Regime:
        """The regime with the recipe's batch size, if it has one."""
        size = recipe.batch_size
        return self if size is None else replace(self, batch_size=size)

    def check(self, samples: int) -> None:
        """Refuse what cannot be trained.

        Raises:
            UsageError: a number is below 1, or a batch is larger than the data.
        """
        for name in ("epochs", "batch_size", "evaluations"):
            check_count(name, getattr(self, name))
        if self.batch_size > samples:
            raise UsageError(
                f"batch_size={self.batch_size} is larger than the training data; "
                f"take at most {samples}, which is the whole set"
            )


@dataclass
class Result:
    """What a run leaves behind; numbers that are not finite are kept as they are.

    Attributes:
        steps: the steps after which it was measured; the first is 0.
        train_loss: the mean over the mini-batches since the last measurement.
        validation_loss, validation_metric: on the whole validation set.
        test_loss, test_metric: on the whole test set, untrained and trained; empty unless asked
            for.
        gradient_norm: of the mini-batch of the step before each measurement, over all parameters.
        update_ratio: the length of that step by the norm of the parameters it started from.
        effective_lr: the length of that step by the gradient's norm: the learning rate with which
            plain gradient descent would have gone as far.
        diverged_at: the step at which the loss stopped being finite or exploded, if it did.
        stopped_at: the step after which the run was stopped because others did better, if it was;
            the last of its measurements is then of this step.
        stopped_why: what it fell behind.
        also: on "validation" and "test", as above, the metrics by name that decide nothing.
        failed: the error that the model raised, with the person's own file and line, if it did;
            every measurement is then NaN.
    """

    steps: list[int]
    train_loss: list[float]
    validation_loss: list[float]
    validation_metric: list[float]
    test_loss: list[float]
    test_metric: list[float]
    gradient_norm: list[float] = field(default_factory=list)
    update_ratio: list[float] = field(default_factory=list)
    effective_lr: list[float] = field(default_factory=list)
    diverged_at: int | None = None
    stopped_at: int | None = None
    stopped_why: str | None = None
    also: Also = field(default_factory=dict)
    failed: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain data; without `also` and `failed` where there is nothing in them."""
        return {
            name: value
            for name, value in vars(self).items()
            if value or name not in ("also", "failed")
        }


def batches(
    samples: int, regime: Regime, seed: int, order: Order = SHUFFLED
) -> Iterator[npt.NDArray[np.int64]]:
    """The mini-batches of a run, as indices: the same for every method of this seed.

    Args:
        samples: size of the training set.
        regime: epochs, batch size, whether a smaller last batch is left out.
        seed: of the run.
        order: of the samples in an epoch.

    Raises:
        UsageError: an order of one's own gives something else than sample numbers.
    """
    generator, size = numpy_generator(Purpose.BATCHES, seed), regime.batch_size
    last = samples - samples % size if regime.drop_last else samples
    for indices in islice(epochs(order, samples, generator, drawing_from), regime.epochs):
        for start in range(0, last, size):
            yield indices[start : min(start + size, last)]
