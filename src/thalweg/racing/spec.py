"""What a race is: the task, who takes part, and how much each may try."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Real
from typing import Any

import msgspec

from ..errors import UsageError, check_count, known_name, unknown
from ..records import RunInfo, RunRecord, identity
from ..rules.core import LogRange, Rule
from ..rules.ranges import Choice, Range
from ..tape import trace
from ..tasks import Task
from ..training.halving import LEAST, bracket
from ..training.identity import run_identity
from ..training.rng import TUNING
from ..training.runs import Method, RandomSearch, Recipe, Regime, Run
from ..training.torch_method import TorchMethod
from . import samplers
from .option import SEED_SETS
from .options import OPTIONS, SAMPLERS
from .space import ALL, FREE, Configuration, Fixed, Space, check, space

SEEDS = TUNING // SEED_SETS
"""How many fresh seeds a set has, and how many that tune."""

_BRACKET = 16  # configurations that are compared with each other as they train


@dataclass(frozen=True)
class Spec:
    """A race, fully determined.

    Attributes:
        task: what is trained.
        entrants: the methods that take part.
        regime: how every run trains.
        budget: configurations that each tries first.
        seeds: fresh seeds that the chosen ones are compared on.
        tuning_seeds: seeds that every configuration is tried with.
        rounds: how often the search may be continued, beyond the edge of a range where the best
            lies on it, around the best elsewhere. It ends when every best is inside, or
            `search.BEYOND` decades beyond the range.
        extra: configurations that each gets in such a round.
        tune: what is searched: lr, all, or names of hyperparameters and parts of a recipe.
        sampler: grid, sobol or optuna; None for the grid where learning rates alone are tuned,
            and Sobol's points elsewhere.
        rates: by method the learning rates that it tries, and no others; empty for a search.
        ranges: by method and hyperparameter, in place of those that it declares; what is in it is
            tuned.
        fixed: the schedule and the clipping that all train with.
        prune: stop configurations early that fall behind the others of their method.
        sizes: whether batch sizes may be searched.
        seed: which set of seeds the runs have; two sets share none.
    """

    task: Task
    entrants: tuple[Method, ...]
    regime: Regime
    budget: int = OPTIONS["budget"].default
    seeds: int = OPTIONS["seeds"].default
    tuning_seeds: int = 2
    rounds: int = 8
    extra: int = 2
    tune: tuple[str, ...] = OPTIONS["tune"].default
    sampler: str | None = None
    rates: Mapping[str, Sequence[float]] = field(default_factory=dict)
    ranges: Mapping[str, Mapping[str, Range | Choice]] = field(default_factory=dict)
    fixed: Fixed = FREE
    prune: bool = OPTIONS["prune"].default
    sizes: bool = True
    seed: int = OPTIONS["seed"].default

    def __post_init__(self) -> None:
        self.regime.check(self.task.samples)
        if not self.entrants:
            raise UsageError("optimizers is empty; name at least one")
        names = [m.name for m in self.entrants]
        if twice := [n for n in dict.fromkeys(names) if names.count(n) > 1]:
            raise UsageError(
                f"optimizer {twice[0]!r} takes part twice; give a class another name, as "
                "{'a name': …} in the place of the list"
            )
        for option in ("budget", "seeds", "tuning_seeds", "extra"):
            check_count(option, getattr(self, option))
        if max(self.seeds, self.tuning_seeds) > SEEDS:
            raise UsageError(f"seeds={self.seeds} is more than a race has; take at most {SEEDS:,}")
        for entrant in self.entrants:
            if isinstance(entrant, Rule):
                trace(entrant)  # a formula that cannot run is refused before anything is
                if "lr" not in entrant.defaults:
                    raise UsageError(f"{entrant.name} has no hyperparameter lr to race over")
            where = self._learning_rates(entrant)
            if not (0 < where.centre < math.inf and 0 < where.decades < math.inf):
                raise UsageError(
                    f"{entrant.name} would search {where.decades:g} decades around the learning "
                    f"rate {where.centre:g}; give it a positive default, or "
                    '@rule(search={"lr": LogRange(…)})'
                )
        self._check_search()

    def _learning_rates(self, entrant: Method) -> LogRange:
        declared = self.ranges.get(entrant.name, {}).get("lr")
        return declared if isinstance(declared, LogRange) else entrant.learning_rates()

    def _check_search(self) -> None:
        check(self.tune, [self._space(m, (ALL,)) for m in self.entrants])
        if self.rates and self.ranges:
            raise UsageError("learning_rates leaves no range to search; give one of the two")
        if self.rates and (self.sampler is not None or set(self.tune) != {"lr"}):
            raise UsageError(
                "learning_rates names all that is tried; leave sampler and tune out, or give a "
                "range to search instead: search={…}"
            )
        if self.kind not in (*SAMPLERS, samplers.GIVEN):
            raise unknown("sampler", self.kind, SAMPLERS)
        if self.kind == "grid" and set(self.tune) != {"lr"}:
            raise UsageError(
                f"sampler='grid' is of learning rates alone; take sobol to tune "
                f"{', '.join(self.tune)}"
            )
        assert self.fixed.recipe  # which refuses what is no schedule or clipping

    @property
    def kind(self) -> str:
        """The sampler's name."""
        if self.rates:
            return samplers.GIVEN
        return self.sampler or ("grid" if set(self.tune) == {"lr"} else "sobol")

    def _space(self, entrant: Method, tune: tuple[str, ...]) -> Space:
        usual = self.regime.batch_size
        fits = self.sizes and 2 * usual <= self.task.samples
        own = self.ranges.get(entrant.name)
        return space(entrant, tune, self.fixed, usual if fits else None, own)

    def space(self, entrant: Method) -> Space:
        """Where the configurations of an entrant are looked for."""
        return self._space(entrant, self.tune)

    @property
    def batch_sizes(self) -> list[int]:
        """All that runs may have, the usual one first."""
        found = [self.regime.batch_size]
        for entrant in self.entrants:
            axis = self.space(entrant).axes.get("batch_size")
            if isinstance(axis, Choice):
                found += [int(size) for size in axis.options if size is not None]
        return list(dict.fromkeys(found))

    @cached_property
    def steps(self) -> int:
        """Steps of every run."""
        return self.regime.steps(self.task.samples)

    @cached_property
    def setting(self) -> str:
        """What names the conditions that all runs share: the task and how it is trained."""
        return identity({"task": self.task.fingerprint, "regime": vars(self.regime)})

    @property
    def classes(self) -> float:
        """The share of the entrants that are optimizer classes."""
        return sum(isinstance(m, TorchMethod) for m in self.entrants) / len(self.entrants)

    @property
    def notes(self) -> list[str]:
        """What was decided about the entrants, for a person to read."""
        if self.rates:
            return []
        return [
            f"{m.name}: learning rates are searched from {low:g} to {high:g} at first, around its "
            f"default of {m.defaults['lr']:g}"
            for m in self.entrants
            if isinstance(m, TorchMethod) and "lr" not in self.ranges.get(m.name, {})
            for low, high in [m.learning_rates().ends]
        ]

    def steps_of(self, recipe: Recipe) -> int:
        """Steps of a run with this recipe."""
        return self.regime.under(recipe).steps(self.task.samples)

    def tuning(
        self, entrant: Method, tried: Sequence[Configuration], halved: bool = False
    ) -> list[Run]:
        """The runs that try these configurations.

        Args:
            entrant: the method.
            tried: configurations of it.
            halved: whether those that fall behind the others are stopped.
        """
        first = TUNING + self.seed * SEEDS
        seeds = range(first, first + self.tuning_seeds)
        runs: list[Run] = []
        # What random search reached halfway says nothing of its draws to come.
        halved = halved and not isinstance(entrant, RandomSearch)
        # Sobol's points are even in every sixteen; a longer budget adds brackets to those known.
        size = _BRACKET if self.kind in ("sobol", "optuna") else len(tried)
        for first in range(0, len(tried), max(1, size)):
            part = tried[first : first + size]
            own = [Run(entrant, dict(c.hyper), seed, c.recipe) for c in part for seed in seeds]
            name = bracket(own) if halved and len(part) >= LEAST else None
            runs += [replace(run, bracket=name) for run in own]
        return runs

    def final(self, entrant: Method, chosen: Configuration) -> list[Run]:
        """The runs that the chosen configuration is judged by, on seeds shared by all."""
        first = self.seed * SEEDS
        seeds = range(first, first + self.seeds)
        return [Run(entrant, dict(chosen.hyper), seed, chosen.recipe) for seed in seeds]

    def identity(self, run: Run, test: bool) -> str:
        """What names a run's record: everything that its result depends on."""
        return run_identity(self.task, self.regime, run, test=test)

    def about(self, run: Run, test: bool) -> dict[str, Any]:
        """What a run's record says of the run, for whoever reads records alone."""
        also = [{"name": m.name, "higher_is_better": m.higher_is_better} for m in self.task.also]
        return {
            **({"also": also} if also else {}),
            "task": self.task.name,
            "metric": self.task.metric.name,
            "higher_is_better": self.task.metric.higher_is_better,
            "optimizer": run.method.name,
            "stage": "final" if test else "tuning",
            "seed": run.seed,
            "configuration": Configuration(tuple(run.hyper.items()), run.recipe).to_dict(),
        }

    def fits(self, record: RunRecord, run: Run, test: bool) -> bool:
        """Whether a record can be that of a run: its steps, its metrics, what it says it is of.

        Args:
            record: found under the run's identity.
            run: the run.
            test: whether it measures the test set.
        """
        steps = self.regime.under(run.recipe).milestones(self.task.samples)
        if record.stopped_at is not None:
            steps = steps[: len(record.steps)]
        return (
            record.steps == steps
            and bool(record.test_metric) == bool(record.test_loss) == test
            and set(record.also) == {metric.name for metric in self.task.also}
            and record.run == msgspec.convert(self.about(run, test), RunInfo)
        )


def rates_of(
    given: Sequence[float] | Mapping[str, Sequence[float]] | None, methods: Sequence[Method]
) -> dict[str, tuple[float, ...]]:
    """The learning rates of a caller for every method; none where none are given.

    Args:
        given: the same for all, or by the names of all methods.
        methods: that take part.

    Raises:
        UsageError: a method has none, or more than another; or one is no positive number, or
            named twice.
    """
    if given is None:
        return {}
    names = [m.name for m in methods]
    if isinstance(given, Mapping):
        kind = "optimizer in learning_rates"
        each = {known_name(kind, name, names): own for name, own in given.items()}
    else:
        each = dict.fromkeys(names, given)
    if missing := [name for name in names if name not in each]:
        raise UsageError(f"learning_rates has none for {missing[0]}; name some for every optimizer")
    found = {name: _rates(each[name], name) for name in names}
    if len({len(own) for own in found.values()}) > 1:
        counts = ", ".join(f"{len(own)} for {name}" for name, own in found.items())
        raise UsageError(f"learning_rates has {counts}; give everyone as many")
    return found


def _rates(given: Sequence[float], name: str) -> tuple[float, ...]:
    own = [given] if isinstance(given, int | float) else list(given)
    for rate in own:
        if isinstance(rate, bool) or not isinstance(rate, Real) or not 0 < rate < math.inf:
            raise UsageError(f"learning_rates of {name} has {rate!r}; it must be a number above 0")
    if not own or len(set(own)) < len(own):
        raise UsageError(f"learning_rates of {name} are {own}; name one or more, each once")
    return tuple(map(float, own))
