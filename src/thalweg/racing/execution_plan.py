"""How a race is executed: measured once, and kept for as long as it is continued."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch

from ..errors import UsageError
from ..records import Damaged, Execution, read, to_plain, write_json, write_json_if_absent
from ..training import devices
from ..training.execution.plan import ExecutionPlan
from ..training.memory import models_that_fit
from ..training.runs import Regime, Run
from .spec import Spec


class Listener(Protocol):
    """Receives what takes time, and what is worth a line."""

    def stage(self, text: str) -> None:
        """A stage begins."""

    def say(self, text: str) -> None:
        """Something worth a line happened."""


def decide(
    spec: Spec,
    runs: Sequence[Run],
    out: Path | None,
    listener: Listener,
    choose: Callable[[Any, Sequence[Run], Regime, torch.device | None], ExecutionPlan],
    device: torch.device | None = None,
    elsewhere: bool = False,
) -> ExecutionPlan:
    """The plan in the folder of a race; else the fastest one measured, which is written there.

    The last digits of a result depend on the device and on how many runs share a matrix product,
    and which runs are stopped early on whether a bracket fits into memory. Records of one race
    should not mix, so the first process that races into a folder decides, and all others follow.

    Args:
        spec: the race.
        runs: those that it begins with.
        out: its folder, if it has one.
        listener: is told that it is measured.
        choose: measures it.
        device: where the runs must train; None for whichever is faster.
        elsewhere: whether that is a device of other machines, which this one may not have.

    Raises:
        UsageError: the plan's device is not here, or is not the one it must be.
        ThalwegError: the plan cannot be written down.
    """
    path = None if out is None else out / "execution" / f"{spec.setting}.json"
    damaged = False
    if path is not None and path.exists():
        try:
            plan = _read(path)
        except Damaged:
            damaged = True
            listener.say(f"{path} is damaged; the fastest way to run is measured again")
        else:
            return _on_its_device(plan, path, device, elsewhere)
    listener.stage("measuring the fastest way to run")
    plan = _measured(spec, runs, choose, device, elsewhere)
    if path is None:
        return plan
    if damaged:
        write_json(path, vars(plan))
    else:
        write_json_if_absent(path, vars(plan))
    return _on_its_device(_read(path), path, device, elsewhere)  # another may have been first


def _measured(
    spec: Spec,
    runs: Sequence[Run],
    choose: Callable[[Any, Sequence[Run], Regime, torch.device | None], ExecutionPlan],
    device: torch.device | None,
    elsewhere: bool,
) -> ExecutionPlan:
    """The fastest plan, as measured on this machine."""
    # Only runs of one batch size train together.
    usual = [replace(run, recipe=replace(run.recipe, batch_size=None)) for run in runs]
    not_here = elsewhere and device is not None and devices.why_unusable(device)
    plan = choose(spec.task, usual, spec.regime, devices.CPU if not_here else device)
    plan = replace(plan, fits=models_that_fit(spec.task, device=torch.device(plan.device)))
    if elsewhere and device is not None and device.type != "cpu":
        # Processes are for the cores of this machine.
        mode = "one by one" if plan.mode == "processes" else plan.mode
        plan = replace(plan, mode=mode, processes=1, class_processes=1, device=str(device))
    return plan


def _on_its_device(
    plan: ExecutionPlan, path: Path, device: torch.device | None, elsewhere: bool
) -> ExecutionPlan:
    """The plan on the device that is wanted, if it is of the kind on which the race began."""
    begun = plan.device
    where = device or torch.device(begun)
    if where.type != torch.device(begun).type:
        raise UsageError(
            f"device={str(device)!r}, but the race in {path.parent.parent} began on {begun}, and "
            f"its records must not mix; give device={begun!r}, or another out"
        )
    if not elsewhere and (why := devices.why_unusable(where)):
        raise UsageError(
            f"the race in {path.parent.parent} began on {begun}, and that cannot be used here: "
            f"{why}; go on where there is one, or give another out"
        )
    return replace(plan, device=str(where))


def _read(path: Path) -> ExecutionPlan:
    """The plan in a file.

    Raises:
        Damaged: the file is no such plan; the message says why.
    """
    document = read(path, Execution)
    try:
        torch.device(document.device)
        return ExecutionPlan(**to_plain(document))
    except (ValueError, RuntimeError) as error:
        raise Damaged(f"{path}: {error}") from error
