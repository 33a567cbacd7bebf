"""What a race is: the task, who takes part, and how much each may try."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ..errors import UsageError
from ..records import SCHEMA, identity
from ..rules.core import Rule
from ..tape import trace
from ..tasks import Task
from ..training.runs import Method, Regime, Run, count, method, methods

TUNING_SEED = 1 << 32  # tuning seeds count from here, final ones from 0: they never meet


@dataclass(frozen=True)
class Spec:
    """A race, fully determined.

    Attributes:
        task: what is trained.
        entrants: the methods that take part.
        regime: how every run trains.
        budget: learning rates that each tries first, on a log grid over its own range.
        seeds: fresh seeds that the chosen ones are compared on.
        tuning_seeds: seeds that every learning rate is tried with.
        rounds: how often the grid may be continued, beyond its edge where the best lies on it,
            between its points elsewhere.
        extra: learning rates that each gets in such a round.
    """

    task: Task
    entrants: tuple[Method, ...]
    regime: Regime
    budget: int = 9
    seeds: int = 10
    tuning_seeds: int = 2
    rounds: int = 3
    extra: int = 2

    def __post_init__(self) -> None:
        self.regime.check(len(self.task.train[0]))
        if not self.entrants:
            raise UsageError("optimizers is empty; name at least one")
        names = [m.name for m in self.entrants]
        if twice := [n for n in dict.fromkeys(names) if names.count(n) > 1]:
            raise UsageError(f"optimizer {twice[0]!r} takes part twice; give it another name")
        for option in ("budget", "seeds", "tuning_seeds", "extra"):
            count(option, getattr(self, option))
        for entrant in self.entrants:
            if isinstance(entrant, Rule):
                trace(entrant)  # a formula that cannot run is refused before anything is
                if "lr" not in entrant.defaults:
                    raise UsageError(f"{entrant.name} has no hyperparameter lr to race over")
            where = entrant.learning_rates()
            if not (0 < where.centre < math.inf and 0 < where.decades < math.inf):
                raise UsageError(
                    f"{entrant.name} would search {where.decades:g} decades around the learning "
                    f"rate {where.centre:g}; give it a positive default, or "
                    '@rule(search={"lr": LogRange(…)})'
                )

    @cached_property
    def steps(self) -> int:
        """Steps of every run."""
        return self.regime.steps(len(self.task.train[0]))

    @cached_property
    def setting(self) -> str:
        """What names the conditions that all runs share: the task and how it is trained."""
        return identity({"task": self.task.fingerprint, "regime": vars(self.regime)})

    def tuning(self, entrant: Method, rates: Sequence[float]) -> list[Run]:
        """The runs that try these learning rates."""
        seeds = range(TUNING_SEED, TUNING_SEED + self.tuning_seeds)
        return [Run(entrant, {"lr": lr}, seed) for lr in rates for seed in seeds]

    def final(self, entrant: Method, rate: float) -> list[Run]:
        """The runs that the chosen learning rate is judged by, on seeds shared by all."""
        return [Run(entrant, {"lr": rate}, seed) for seed in range(self.seeds)]

    def identity(self, run: Run, test: bool) -> str:
        """What names a run's record: everything that its result depends on."""
        rule = run.method
        return identity(
            {
                "schema": SCHEMA,
                "task": self.task.fingerprint,
                "regime": vars(self.regime),
                "method": rule.name,
                # A formula that changed is another method, whatever its name.
                "formula": trace(rule).key if isinstance(rule, Rule) else rule.title,
                "init": rule.init if isinstance(rule, Rule) else None,
                "hyper": {**rule.defaults, **run.hyper},
                "seed": run.seed,
                "test": test,
            }
        )


def entrants(optimizers: Sequence[str | Method] | None) -> tuple[Method, ...]:
    """The methods that these names mean; by default all that are distinct, and random search.

    Args:
        optimizers: names of built-in methods, or rules of one's own.

    Raises:
        UsageError: a name is unknown, and the message names the nearest ones; or what is given
            is no method.
    """
    if optimizers is None:
        return tuple(m for m in methods().values() if m.name not in _VARIANTS)
    if isinstance(optimizers, str):
        raise UsageError(f"optimizers={optimizers!r} must be a list, as [{optimizers!r}]")
    found = tuple(method(m) if isinstance(m, str) else m for m in optimizers)
    for given in found:
        if not isinstance(given, Method):
            raise UsageError(
                f"optimizers has {given!r}, which is neither a name nor a rule; make one of a "
                "formula with @thalweg.rule"
            )
    return found


# Two options of RMSProp at once are no method of their own.
_VARIANTS = ("rmsprop_centered_momentum",)
