"""`tw.race_paths`: the weights along the judged runs of a race, by training them again."""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.console import Console
from rich.progress import track
from torch import nn

from .._version import __version__
from ..errors import UsageError, known_name
from ..records import RaceDocument, RunRecord, Store, Value, read_race
from ..rules.core import Rule
from ..rules.names import registered
from ..schedules import Schedule
from ..tasks import Task, find
from ..training.identity import run_identity
from ..training.runs import RANDOM_SEARCH, Method, Recipe, Regime, Run
from ..training.torch_method import TorchMethod, torch_method
from ..training.train import Session
from ..training.trial import tried
from .weights import WeightPath

# Of the validation loss; its square, of that of the untrained model. Lanes and single runs round
# differently, and training can enlarge that; a picture does not show a hundredth.
TOLERANCE = 0.01


class FinishedRace(Protocol):
    """What `tw.race` returns.

    Attributes:
        result: what the race found.
        runs: the records of its runs, by identity.
    """

    result: RaceDocument
    runs: Mapping[str, RunRecord]


def race_paths(
    race: FinishedRace | str | os.PathLike[str],
    task: Task | str,
    optimizers: Sequence[str] | None = None,
    *,
    seed: int | None = None,
    methods: Mapping[str, Method | Callable[..., torch.optim.Optimizer]] | None = None,
) -> tuple[nn.Module, dict[str, WeightPath]]:
    """The weights along judged runs of a race, found by training them again.

    Records hold no weights, but all that a run is made from. For every optimizer the run of its
    chosen configuration on one of the seeds that it was judged by is trained on the processor,
    and its weights are recorded where the race measured it. All start from the same weights. A
    run that diverged ends at the last measurement before.

    The validation losses are compared with the record's. Where one differs by more than 1 % and
    more than 0.01 % of the untrained model's, or only one of the two runs diverged, a warning
    names the optimizer and the probable cause. Runs differ in their rounding: a race trains many
    at once, and perhaps on a GPU.

    Args:
        race: as `tw.race` returned it, or the folder that it was written to.
        task: the task that was raced; of a built-in one the name is enough.
        optimizers: their names in the race; all if None.
        seed: of the run, one of those that the race was judged on; the first if None.
        methods: the rules and optimizer classes of your own that took part, by their names in
            the race.

    Returns:
        A model, and by the names of the optimizers their paths: for
        `tw.landscape(model, task, task.train, paths=paths)`.

    Raises:
        UsageError: an argument that cannot work; a task or a method that is another than the one
            raced; no record of the run, or one of a model that failed.
        ThalwegError: the folder cannot be read, or is of a newer version.
    """
    document, records = _read(race)
    task = _task(task, document)
    own = _methods(methods, document)
    runs = _judged_runs(document, records, _wanted(optimizers, document), seed)
    prepared = [_prepared(document, task, _method(name, own, task), runs[name]) for name in runs]
    paths: dict[str, WeightPath] = {}
    console = Console(file=sys.stderr)
    quiet = not console.is_terminal
    for name, run, regime in track(
        prepared, "training again", console=console, transient=True, disable=quiet
    ):
        session = Session(task, [run], regime)
        paths[name] = _trained(session, runs[name].steps)
        _compare(name, session, runs[name], document)
    return next(iter(paths.values())).model, paths


def _read(race: Any) -> tuple[RaceDocument, Mapping[str, RunRecord]]:
    """The document of a race and the records of its runs, by identity."""
    if isinstance(race, str | os.PathLike):
        folder = Path(race)
        try:
            found = read_race(folder / "race.json")
        except (FileNotFoundError, NotADirectoryError):
            raise UsageError(
                f"race={str(folder)!r} has no race.json; give the folder that a finished race was "
                "written to (out=…, --out), or the race itself"
            ) from None
        if not isinstance(found, RaceDocument):
            raise UsageError(
                f"race={str(folder)!r} holds races on {len(found.tasks)} tasks; give the folder "
                "of one of them, which lies in it"
            )
        return found, Store(folder / "records").runs
    document, records = getattr(race, "result", None), getattr(race, "runs", None)
    if not isinstance(document, RaceDocument) or not isinstance(records, Mapping):
        raise UsageError(
            f"race={race!r} is neither what tw.race returns nor the folder of a race; of races on "
            "several tasks give one, as races.races[0]"
        )
    return document, records


def _task(given: Task | str, document: RaceDocument) -> Task:
    """The task, if it is the one that was raced."""
    task = find(given) if isinstance(given, str) else given
    if not isinstance(task, Task):
        raise UsageError(
            f"task={task!r} must be the tw.Task that was raced, or the name of a built-in one; "
            "of race(model, X, y) it is tw.Task(model=model, train=(X, y), name=…)"
        )
    if task.name != document.task:
        raise UsageError(f"task={task.name!r} is not what was raced: {document.task!r}")
    raced = document.setting.fingerprint
    if raced is not None and raced != task.fingerprint:
        raise UsageError(
            f"task {task.name!r} is another than the one raced: its data, model, loss, metrics or "
            f"order of samples have changed{_other_versions(document)}; give the task as it was"
        )
    return task


def _other_versions(document: RaceDocument) -> str:
    """What differs between the versions that raced and those here; empty if nothing does."""
    raced, here = document.environment, {"thalweg": __version__, "torch": torch.__version__}
    changed = [
        f"{package} {before} raced, here is {now}"
        for package, now in here.items()
        if (before := getattr(raced, package)) not in (None, now)
    ]
    return f" ({'; '.join(changed)})" if changed else ""


def _methods(given: Any, document: RaceDocument) -> dict[str, Method]:
    """The person's own methods, by their names in the race."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise UsageError(f"methods={given!r} must be a dict of name in the race to rule or class")
    names = [each.name for each in document.optimizers]
    return {known_name("optimizer in the race", n, names): _own(n, m) for n, m in given.items()}


def _own(name: str, given: Any) -> Method:
    if isinstance(given, Method):
        # A class is built under the name that the race gave it; a formula has its own.
        found = replace(given, name=name) if isinstance(given, TorchMethod) else given
    elif callable(given):
        found = torch_method(given, name)
    else:
        raise UsageError(
            f"methods[{name!r}]={given!r} is neither a rule nor a class derived from "
            "torch.optim.Optimizer"
        )
    if found.name != name:
        raise UsageError(f"methods[{name!r}] is the rule {found.name}; give the one of this name")
    return found


def _method(name: str, own: Mapping[str, Method], task: Task) -> Method:
    """The method of this name, ready to train."""
    if name in own:
        method = own[name]
        return tried(method, task) if isinstance(method, TorchMethod) else method
    if name == RANDOM_SEARCH.name:
        return RANDOM_SEARCH
    rule = registered(name)
    if rule is None:
        raise UsageError(
            f"{name} is no built-in optimizer; give the rule or class that was raced: "
            f"methods={{{name!r}: …}}"
        )
    return rule


def _wanted(given: Any, document: RaceDocument) -> list[str]:
    """The names of the optimizers in the race that are meant."""
    names = [each.name for each in document.optimizers]
    if given is None:
        return names
    if isinstance(given, str) or not isinstance(given, Sequence) or not given:
        raise UsageError(f"optimizers={given!r} must be a list of names, as {names[:2]}")
    return list(dict.fromkeys(known_name("optimizer in the race", str(n), names) for n in given))


def _judged_runs(
    document: RaceDocument,
    records: Mapping[str, RunRecord],
    names: Sequence[str],
    seed: int | None,
) -> dict[str, RunRecord]:
    """The record of every optimizer's chosen configuration on one seed that it was judged by."""
    chosen = {each.name: each.configuration for each in document.optimizers}
    found: dict[str, dict[int, RunRecord]] = {name: {} for name in names}
    for identity in document.record_ids or records:
        record = records.get(identity)
        of = None if record is None else record.run
        if record is None or of is None or of.stage != "final" or of.optimizer not in found:
            continue
        if of.task == document.task and of.configuration == chosen[of.optimizer]:
            found[of.optimizer][of.seed] = record
    if lacking := [name for name, own in found.items() if not own]:
        raise UsageError(
            f"the race has no record of a judged run of {lacking[0]}; the same race again, with "
            "the same folder, trains what is missing"
        )
    shared = sorted(set.intersection(*map(set, found.values())))
    if (seed is None and not shared) or (seed is not None and seed not in shared):
        known = ", ".join(map(str, shared)) or "none"
        raise UsageError(f"seed={seed!r} was not judged; the seeds that all have are: {known}")
    wanted = shared[0] if seed is None else seed
    for name, own in found.items():
        if own[wanted].failed is not None:
            raise UsageError(
                f"the run of {name} on seed {wanted} failed: {own[wanted].failed}; leave it out "
                "of optimizers"
            )
    return {name: own[wanted] for name, own in found.items()}


def _prepared(
    document: RaceDocument, task: Task, method: Method, record: RunRecord
) -> tuple[str, Run, Regime]:
    """The run of a record, and how it trains.

    Raises:
        UsageError: the method is another than the one that was raced.
    """
    assert record.run is not None
    run = run_of(method, record.run.configuration, record.run.seed)
    setting, name = document.setting, method.name
    if setting.epochs is None or setting.batch_size is None:
        raise UsageError("the race does not say how long it trained; race again to draw paths")
    regimes = [Regime(setting.epochs, setting.batch_size, drop_last=drop) for drop in (False, True)]
    measured = [
        each
        for each in regimes
        if each.under(run.recipe).milestones(task.samples) == list(record.steps)
    ]
    if not measured:
        raise UsageError(
            f"{name} was measured at other steps than {task.name!r} has here; give the task as it "
            "was raced"
        )
    tested = bool(record.test_loss)
    for regime in measured:
        # The name of the record is a digest of everything that the run depends on.
        if run_identity(task, regime, run, test=tested) in (document.record_ids or ()):
            return name, run, regime
    if document.record_ids is not None and not _other_versions(document):
        part = "formula" if isinstance(method, Rule) else "code"
        raise UsageError(
            f"{name} is another than the one raced: its {part} or its defaults have changed; "
            f"give the one that was raced: methods={{{name!r}: …}}"
        )
    return name, run, measured[0]


def run_of(method: Method, configuration: Mapping[str, Value], seed: int) -> Run:
    """The run that a record's configuration describes.

    Args:
        method: what was run.
        configuration: as in `RunInfo`.
        seed: of the run.
    """
    hyper: dict[str, Any] = dict(configuration)
    schedule = Schedule(hyper.pop("schedule", "constant"), hyper.pop("warmup", 0.0))
    recipe = Recipe(schedule, hyper.pop("clip", None), hyper.pop("batch_size", None))
    return Run(method, hyper, seed, recipe)


def _trained(session: Session, steps: Sequence[int]) -> WeightPath:
    """The weights of a single run at these steps, the first of which is 0."""
    path = WeightPath(session.population.model)
    for step in steps[1:]:
        session.advance(step)
        if session.diverged_at[0] is not None:
            path.diverged_at = session.diverged_at[0]
            break
        with session.stepper.evaluating():  # some measure an average of the weights
            path.record(step)
    return path


def _compare(name: str, session: Session, record: RunRecord, document: RaceDocument) -> None:
    """Warn where a run is not what its record says."""
    (result,) = session.results()
    cause = _other_versions(document) or (
        f" (the race trained {document.setting.executor or 'many runs at once'}; rounding grows "
        "where training is unstable)"
    )
    ends = result.diverged_at, record.diverged_at
    if (ends[0] is None) != (ends[1] is None):
        here, there = (f"diverged at step {end}" if end else "did not diverge" for end in ends)
        warnings.warn(f"{name} {here}, but {there} in the race{cause}", stacklevel=3)
        return
    last = min((end for end in ends if end is not None), default=math.inf)
    smallest = TOLERANCE**2 * abs(result.validation_loss[0])
    for step, loss, raced in zip(
        record.steps, result.validation_loss, record.validation_loss, strict=False
    ):
        if step >= last:
            return
        if raced is None or not math.isclose(loss, raced, rel_tol=TOLERANCE, abs_tol=smallest):
            warnings.warn(
                f"{name} is not quite the run that was raced: its validation loss at step {step} "
                f"is {loss:.6g}, in the race it was {raced}{cause}",
                stacklevel=3,
            )
            return
