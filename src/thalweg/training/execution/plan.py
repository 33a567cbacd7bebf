"""How runs are executed: in lanes, in processes, or one by one; the fastest is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch

from ...errors import UsageError, check_count
from ...tasks import Task
from ...tasks.user_errors import describe_error
from .. import devices
from ..context import TrainingContext
from ..devices import cores
from ..memory import models_that_fit
from ..runs import Kind, Regime, Run, kind_of
from .speedup import measure_speedup
from .timing import few_lanes, measure
from .transport import can_travel

LANES = 128  # more gain a processor little and cost memory
GPU_LANES = 512  # a GPU computes many small models in the time of one
_BATCH = 8  # runs in a group where lanes do not pay: little is lost when one is interrupted
_START = 3.0  # seconds that it takes to start processes
_WORTH = 20.0  # seconds from which on it is measured how fast several processes are

Mode = Literal["lanes", "processes", "one by one"]


@dataclass(frozen=True)
class ExecutionPlan:
    """How runs are executed, and the times by which that was chosen.

    Attributes:
        mode: runs together as lanes, in processes, or one after the other.
        lanes: how many train together, in each process.
        processes: how many processes train at once.
        threads: how many each of them uses.
        microseconds: per run and step by this plan; None where nothing was measured. In a race of
            less than 20 seconds several processes are assumed not to slow each other.
        alone: per run and step, one after the other.
        why: the reason why the runs do not train as lanes or on a GPU; empty where they do.
        device: where the runs train: cpu, cuda:0 and so on.
        fits: how many models may be in memory at once; None before that is known.
        class_processes: in how many processes the runs of optimizer classes train, which cannot
            be lanes; 1 for the processes of the others.
    """

    mode: Mode
    lanes: int = 1
    processes: int = 1
    threads: int = 1
    microseconds: float | None = None
    alone: float | None = None
    why: str = field(default="", compare=False)
    device: str = "cpu"
    fits: int | None = field(default=None, compare=False)
    class_processes: int = 1

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise ValueError(f"mode={self.mode!r} is none of {get_args(Mode)}")
        for name in ("lanes", "processes", "threads", "class_processes"):
            check_count(name, getattr(self, name))

    def seconds(self, work: int) -> float:
        """The seconds that so many run-steps are expected to take; needs a measurement."""
        assert self.microseconds is not None
        return self.microseconds * work / 1e6 + _START * (self.processes > 1)

    def seconds_of_classes(self, work: int) -> float:
        """The same for the run-steps of optimizer classes, which are no lanes."""
        if self.mode != "lanes" or self.alone is None:
            return self.seconds(work)
        started = _START * (self.class_processes > 1)
        return self.alone * work / 1e6 / max(self.processes, self.class_processes) + started

    @property
    def group(self) -> int:
        """How many runs finish and are recorded together."""
        return self.lanes if self.mode == "lanes" else _BATCH

    def group_of_classes(self, runs: int) -> int:
        """How many of these runs of optimizer classes finish and are recorded together."""
        return max(1, min(_BATCH, -(-runs // max(self.processes, self.class_processes))))

    def context(self, task: Task, regime: Regime) -> TrainingContext:
        """The context of runs of a task that are executed by this plan."""
        return TrainingContext(
            task, regime, self.lanes, self.threads, device=torch.device(self.device)
        )

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        threads = threads if self.device == "cpu" else f"on {self.device}"
        several = self.processes > 1
        where = f"in {self.processes} processes of one thread each" if several else threads
        described = {
            "lanes": f"up to {self.lanes} runs together as lanes of one stacked model, {where}",
            "processes": f"runs in {self.processes} processes of one thread each",
            "one by one": f"runs one after the other, {threads}",
        }
        said = described[self.mode]
        if self.microseconds and self.alone:
            said += f": {self.microseconds:.0f} µs per run and step"
            if self.mode != "one by one":
                said += f", {self.alone / self.microseconds:.1f}× as fast as one after the other"
        if self.class_processes > 1:
            said += f"; optimizer classes in {self.class_processes} processes of one thread each"
        return f"{said}; {self.why}" if self.why else said


def choose(
    task: Task, runs: Sequence[Run], regime: Regime, device: torch.device | None = None
) -> ExecutionPlan:
    """Measure a few steps by every plan and take the fastest.

    Lanes are left out where the model cannot be vectorized over them; processes where the runs are
    over before a process would have started, or cannot be sent to one; the GPU where there is none
    that can be used.

    Args:
        task: what will be trained.
        runs: what will be run; the first ones serve as the sample.
        regime: how they will be trained.
        device: the only one to measure, from `devices.parse_device`; None for all there are.

    Raises:
        UsageError: the model fails on the only one.
    """
    places, said = devices.candidates(device)
    found, why = list[ExecutionPlan](), [said] if said else []
    for place in places:
        if place == devices.CPU:
            found.append(_on_processor(task, runs, regime))
            continue
        try:
            found.append(_on_gpu(task, runs, regime, place))
        except Exception as error:  # a model raises errors of its own
            if device is not None:
                raise UsageError(
                    f"device={str(place)!r}: the model fails there: {describe_error(error)}; "
                    "tensors that it makes itself must be made on the device of its inputs"
                ) from error
            why.append(f"not on {place}, because the model fails there: {describe_error(error)}")
        devices.release(place)
    work = len(runs) * regime.steps(task.samples)
    fastest = min(found, key=lambda plan: plan.seconds(work))
    why = [fastest.why] * bool(fastest.why) + why
    why += [f"on {p.device} it took {p.microseconds:.0f} µs" for p in found if p is not fastest]
    alone = min(plan.alone for plan in found if plan.alone is not None)
    fastest = replace(fastest, alone=alone, why="; ".join(why))
    return _with_classes(fastest, task, runs, regime)


def _with_classes(
    plan: ExecutionPlan, task: Task, runs: Sequence[Run], regime: Regime
) -> ExecutionPlan:
    """The plan, with processes for the optimizer classes where that is worth starting them.

    They are taken to be as fast as the runs that were measured.
    """
    apart = [run for run in runs if kind_of(run.method) == "torch"]
    processes = min(cores(), len(apart), models_that_fit(task, regime.batch_size))
    if plan.processes > 1 or plan.device != "cpu" or processes < 2:
        return plan
    taken = (plan.alone or 0.0) * len(apart) * regime.steps(task.samples) / 1e6
    if taken <= _START or not can_travel((task, apart)):
        return plan
    return replace(plan, class_processes=processes)


def _sample(runs: Sequence[Run]) -> list[Run]:
    """The runs whose steps are timed: of rules, where there are any."""
    kinds = {kind: [r for r in runs if kind_of(r.method) == kind] for kind in get_args(Kind)}
    return kinds["rule"] or kinds["torch"] or kinds["search"]


def _stackable(sample: Sequence[Run]) -> int:
    """How many of these runs could train as lanes."""
    return 1 if kind_of(sample[0].method) == "torch" else len(sample)


def _on_processor(task: Task, runs: Sequence[Run], regime: Regime) -> ExecutionPlan:
    """The fastest plan on the processor."""
    sample = _sample(runs)
    fits = models_that_fit(task, regime.batch_size)
    lanes = min(LANES, fits, _stackable(sample))
    why: list[str] = []
    measured = measure(task, sample, regime, lanes, why)
    alone = min(taken for (together, _), taken in measured.items() if together == 1)
    plans = []
    for (together, threads), taken in measured.items():
        mode: Mode = "lanes" if together > 1 else "one by one"
        plans.append(ExecutionPlan(mode, together, 1, threads, taken, alone))
    work = len(runs) * regime.steps(task.samples)
    soonest = min(plan.seconds(work) for plan in plans)
    if soonest > _START and can_travel((task, list(runs))):
        plans += _in_processes(measured, alone, len(runs), fits)
    fastest = _checked(plans, task, sample, regime, work, why)
    stacked = [taken for (together, _), taken in measured.items() if together > 1]
    if stacked and fastest.mode != "lanes":
        why.append(f"as lanes they took {min(stacked):.0f} µs")
    return replace(fastest, why="; ".join(why))


def _checked(
    plans: Sequence[ExecutionPlan],
    task: Task,
    sample: Sequence[Run],
    regime: Regime,
    work: int,
    why: list[str],
) -> ExecutionPlan:
    """The fastest plan; of several processes the speed is measured before it is believed.

    Args:
        plans: those there are; in them several processes do not slow each other.
        task: what is trained.
        sample: the runs to measure with.
        regime: how they train.
        work: run-steps.
        why: receives what was measured where other plans are faster for it.
    """
    here = min(plan.seconds(work) for plan in plans if plan.processes == 1)
    left, measured = list(plans), list[ExecutionPlan]()
    while True:
        best = min([*left, *measured], key=lambda plan: plan.seconds(work))
        if best.processes == 1 or best in measured or here < _WORTH:
            break
        left.remove(best)
        assert best.microseconds is not None
        assert best.alone is not None
        lanes = few_lanes(best.lanes, best.alone) if best.lanes > 1 else 1
        speedup = measure_speedup(best.context(task, regime), sample[:lanes], best.processes)
        if speedup is None:
            why.append(f"{best.processes} processes could not be timed")
            continue
        taken = best.microseconds * best.processes / speedup
        measured.append(replace(best, microseconds=taken))
    if measured and best.processes == 1:
        slow = min(measured, key=lambda plan: plan.seconds(work))
        why.append(f"in {slow.processes} processes they took {slow.microseconds:.0f} µs")
    return best


def _on_gpu(task: Task, runs: Sequence[Run], regime: Regime, place: torch.device) -> ExecutionPlan:
    """The fastest plan on a GPU."""
    sample, why = _sample(runs), list[str]()
    fits = models_that_fit(task, regime.batch_size, place)
    lanes = min(GPU_LANES, fits, _stackable(sample))
    measured = measure(task, sample, regime, lanes, why, place)
    alone = min(taken for (together, _), taken in measured.items() if together == 1)
    together, threads = min(measured, key=measured.__getitem__)
    taken = measured[together, threads]
    mode: Mode = "lanes" if together > 1 else "one by one"
    if mode != "lanes" and len(measured) > 1:
        why.append(f"as lanes they took {max(measured.values()):.0f} µs")
    return ExecutionPlan(mode, together, 1, threads, taken, alone, "; ".join(why), str(place))


def _in_processes(
    measured: Mapping[tuple[int, int], float], alone: float, runs: int, fits: int
) -> list[ExecutionPlan]:
    """The plans that share the runs out to processes.

    Args:
        measured: microseconds per run and step by (runs together, threads).
        alone: the least of them for one run.
        runs: how many there are.
        fits: how many models may be in memory at once.
    """
    processes = min(cores(), runs, fits)
    if processes == 1:
        return []
    plans = []
    for (together, threads), taken in measured.items():
        lanes = min(together, fits // processes, -(-runs // processes))
        # Far fewer lanes than were measured would be slower than that.
        if threads == 1 and lanes >= together / 2:
            mode: Mode = "lanes" if lanes > 1 else "processes"
            plans.append(ExecutionPlan(mode, lanes, processes, 1, taken / processes, alone))
    return plans
