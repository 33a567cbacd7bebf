"""What a race will take, before it is begun: runs, steps, time, memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..durations import shown
from ..tasks.trees import nbytes
from ..training.execution.plan import ExecutionPlan
from ..training.memory import model_bytes
from ..training.runs import Method
from .space import Configuration
from .spec import Spec

USUAL_ROUNDS = 3
"""How many rounds a search is continued for, where it is."""

_MEASURED = 1.25  # times as long as its steps alone a run takes, which is measured on the way
_BASE = 350 << 20  # bytes that a process with torch holds before it trains


@dataclass(frozen=True)
class Forecast:
    """What a race is expected to take.

    Attributes:
        task: its name.
        optimizers: how many take part.
        search: runs of the first budget.
        rounds: runs by which the search is continued, where it is continued as often as usual.
        final: runs on fresh seeds.
        run_steps: training steps of all of them.
        seconds: until the end, with this plan; None where it was not measured. Runs that are
            stopped early make it less.
        memory: bytes, of all processes together.
        executor: how the runs are executed.
    """

    task: str
    optimizers: int
    search: int
    rounds: int
    final: int
    run_steps: int
    seconds: float | None
    memory: int
    executor: str

    @property
    def runs(self) -> int:
        """All runs."""
        return self.search + self.rounds + self.final

    def __str__(self) -> str:
        time = "not measured" if self.seconds is None else f"about {shown(self.seconds)}"
        rows = {
            "runs": f"{self.runs:,}: {self.search:,} that search, {self.rounds:,} where the search "
            f"is continued as usual, {self.final:,} on fresh seeds",
            "steps": f"{self.run_steps:,} in all",
            "time": f"{time}, less where runs are stopped early",
            "memory": f"about {self.memory / 2**20:,.0f} MiB",
            "executed as": self.executor,
        }
        head = f"{self.task}: {self.optimizers} optimizer{'s' * (self.optimizers > 1)}"
        return "\n".join([head, *(f"  {name:12} {text}" for name, text in rows.items())])


def expected(
    spec: Spec, first: Mapping[Method, Sequence[Configuration]], plan: ExecutionPlan
) -> Forecast:
    """What a race is expected to take if nothing of it is recorded yet.

    Args:
        spec: the race.
        first: the configurations that each optimizer begins with.
        plan: how the runs are executed.
    """
    configurations = [c for own in first.values() for c in own]
    begun = max(map(len, first.values()))  # a sampler may ask for its budget in parts
    steps = sum(spec.steps_of(c.recipe) for c in configurations) / len(configurations)
    search = spec.budget * len(first) * spec.tuning_seeds if begun < spec.budget else 0
    search = search or len(configurations) * spec.tuning_seeds
    rounds = 0 if spec.rates else min(USUAL_ROUNDS, spec.rounds) * spec.extra
    continued, final = rounds * len(first) * spec.tuning_seeds, spec.seeds * len(first)
    run_steps = round((search + continued + final) * steps)
    return Forecast(
        spec.task.name,
        len(first),
        search,
        continued,
        final,
        run_steps,
        training_seconds(plan, run_steps, spec.classes),
        _memory(spec, plan),
        str(plan),
    )


def training_seconds(plan: ExecutionPlan, run_steps: float, classes: float = 0.0) -> float | None:
    """The seconds that so many steps take with the measurements between them, if it is known.

    Args:
        plan: how the runs are executed.
        run_steps: of all runs.
        classes: the share of them that optimizer classes take.
    """
    if plan.microseconds is None:
        return None
    apart = round(classes * run_steps)
    seconds = plan.seconds(round(run_steps) - apart) if classes < 1 else 0.0
    return _MEASURED * (seconds + (plan.seconds_of_classes(apart) if apart else 0.0))


def _memory(spec: Spec, plan: ExecutionPlan) -> int:
    """Bytes of all processes together: what they hold before, data, models in training."""
    parts = (spec.task.train, spec.task.validation, spec.task.test)
    data = sum(nbytes(tree) for pair in parts for tree in pair)
    models = plan.lanes * model_bytes(spec.task, spec.regime.batch_size)
    training = plan.processes + (plan.processes > 1)
    return training * (_BASE + data) + plan.processes * models
