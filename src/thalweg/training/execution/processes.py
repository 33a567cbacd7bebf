"""Groups of runs trained in worker processes of one thread each.

This process only hands out work and collects results: a model that ends its process, by a
segmentation fault or by running out of memory, ends a worker and not the race. A group whose worker
died is trained again as it was, so its results are those of an undisturbed race. A group that has
lost several workers is taken apart, to find the run that ends them; that run has failed.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace

from ...errors import ThalwegError, UsageError
from ..context import TrainingContext
from ..runs import Method, Result, Run
from .channel import encode
from .grouping import units
from .pool import Worker, WorkerPool
from .recovery import complete, no_result, warn_of_failure
from .transport import pack
from .worker import greet, repeat_warnings

_TICK = 0.2  # seconds until a worker that ended without closing its socket is noticed
_TOGETHER = 2  # workers that a group may lose before its runs are trained one by one
_UNPLACED = 2  # workers that a unit may lose before it began to train
_STARTS = 3  # workers in a row that may die while they start

Finished = tuple[Sequence[Run], list[Result]]


class ProcessExecutor:
    """Trains groups in worker processes, which start when there is work for them.

    Use it in a `with` statement, which ends them.

    Args:
        processes: how many.
    """

    def __init__(self, processes: int) -> None:
        self.pool = WorkerPool(processes)
        self.context: TrainingContext | None = None
        self.greeting = b""
        self.startable = True
        self.has_warned = False

    def __enter__(self) -> ProcessExecutor:
        return self

    def __exit__(self, *args: object) -> None:
        self.pool.end()

    def train(
        self, context: TrainingContext, groups: Sequence[Sequence[Run]]
    ) -> Generator[Finished, None, None]:
        """Train groups and yield each when it is finished.

        Where no worker can be started, which is said in a warning, this process trains them.

        Args:
            context: what the runs have in common.
            groups: from `grouped`.

        Raises:
            ThalwegError: workers died of a group, and no other can be started to train it.
        """
        context = replace(context, threads=1)
        dispatch = _Dispatch(self, context, groups)
        try:
            self._meet(context)
            dispatch.prepare()
        except UsageError as error:
            self.give_up_starting(str(error))
        try:
            yield from dispatch.run()
        finally:
            self.pool.end([worker for worker in self.pool.workers if worker.work is not None])

    def _meet(self, context: TrainingContext) -> None:
        """Prepare what every worker is sent first; workers that were sent something else end."""
        met = self.context
        if (
            met is not None
            and met.task is context.task
            and (
                (met.regime, met.lanes, met.device)
                == (context.regime, context.lanes, context.device)
            )
        ):
            return
        self.pool.end()
        self.greeting = greet(context)
        self.context = context

    def start_workers(self, wanted: int) -> None:
        """Start workers until there are so many, or as many as may be."""
        while self.startable and len(self.pool.workers) < min(wanted, self.pool.size):
            try:
                self.pool.start(self.greeting)
            except OSError as error:
                self.give_up_starting(str(error))

    def give_up_starting(self, why: str) -> None:
        """Start no more workers, and say so."""
        if self.startable:
            self.startable = False
            warnings.warn(
                f"worker processes cannot start here: {why}; without them the runs train in this "
                "process",
                RuntimeWarning,
                stacklevel=2,
            )

    def say_that_one_died(self, why: str) -> None:
        """Say that a worker died, the first time that one does."""
        if not self.has_warned:
            self.has_warned = True
            warnings.warn(
                f"a worker process ended early: {why}; another takes its place, and what it was "
                "training begins again",
                RuntimeWarning,
                stacklevel=2,
            )


@dataclass(eq=False)
class _Group:
    """A group of runs, and the results that are there.

    Attributes:
        runs: of the group.
        results: of its units that are finished, by the number of their first run.
    """

    runs: Sequence[Run]
    results: dict[int, list[Result]] = field(default_factory=dict)

    def finished(self) -> list[Result] | None:
        """All results in order, once they are there."""
        found = [result for first in sorted(self.results) for result in self.results[first]]
        return found if len(found) == len(self.runs) else None


@dataclass(eq=False)
class _Job:
    """Runs that a worker trains.

    Attributes:
        group: to which they belong.
        first: the number of the first of them in the group.
        runs: a group, or a unit of one.
        doomed: None for runs that train together; else why some are not trained any more, by
            their numbers, and the others are trained one by one.
        deaths: workers that died of it.
        counted: run-steps that were reported by the worker that has it.
        at: the number of the run that this worker trains, where they train one by one.
    """

    group: _Group
    first: int
    runs: Sequence[Run]
    doomed: dict[int, str] | None = None
    deaths: int = 0
    counted: int = 0
    at: int | None = None

    @property
    def suspect(self) -> bool:
        """Whether training it may end the process that does."""
        return self.deaths > 0 or self.doomed is not None


class _Dispatch:
    """Hands groups out to workers, and takes care of those whose worker dies.

    Args:
        executor: has the workers.
        context: what the runs have in common.
        groups: all of them.
    """

    def __init__(
        self, executor: ProcessExecutor, context: TrainingContext, groups: Sequence[Sequence[Run]]
    ) -> None:
        self.executor, self.pool, self.context = executor, executor.pool, context
        self.waiting = deque(_Job(_Group(group), 0, group) for group in groups)
        methods: list[Method] = list(dict.fromkeys(r.method for group in groups for r in group))
        self.number = {method: number for number, method in enumerate(methods)}
        self.methods = b""
        self.informed: set[Worker] = set()  # the workers that have been sent the methods
        self.start_deaths = 0

    def prepare(self) -> None:
        """Pack the methods, which groups name by their numbers.

        Raises:
            UsageError: they cannot be sent to another process.
        """
        self.methods = encode(("methods", pack(list(self.number))))

    def run(self) -> Iterator[Finished]:
        """Train everything, and yield each group when it is finished."""
        self._hand_out()
        while self.waiting or self._busy():
            if not self.executor.startable and not self.pool.workers:
                yield from self._train_here()
                continue
            for worker, messages, gone in self.pool.listen(_TICK):
                for kind, *content in messages:
                    yield from self._take(worker, kind, content)
                if gone:
                    yield from self._bury(worker)
            self._hand_out()

    def _busy(self) -> int:
        return sum(worker.work is not None for worker in self.pool.workers)

    def _hand_out(self) -> None:
        """Give every idle worker a job, and start workers for the jobs that are left."""
        for worker in self.pool.workers:
            if worker.ready and worker.work is None and self.waiting:
                self._give(worker, self.waiting.popleft())
        self.executor.start_workers(self._busy() + len(self.waiting))

    def _give(self, worker: Worker, job: _Job) -> None:
        if worker not in self.informed:
            worker.channel.send(self.methods)
            self.informed.add(worker)
        worker.work, job.counted, job.at = job, 0, None
        packed = [(self.number[r.method], r.hyper, r.seed, r.recipe, r.bracket) for r in job.runs]
        worker.channel.send(encode(("train", self.context.test, job.doomed, packed)))

    def _take(self, worker: Worker, kind: str, content: Sequence[object]) -> Iterator[Finished]:
        """Act on a message."""
        job = worker.work
        match kind, content:
            case "ready", _:
                worker.ready, self.start_deaths = True, 0
            case "unfit", [str(why)]:
                self.executor.give_up_starting(why)
            case "progress", [int(run_steps)]:
                job.counted += run_steps
                self.context.progress(run_steps)
            case "at", [int(number)]:
                job.at = number
            case "done", [list(results), list(said)]:
                worker.work = None
                repeat_warnings(said)
                yield from self._finish(job, results)
            case "failed", [Exception() as error, list(said)]:
                worker.work = None
                repeat_warnings(said)
                raise error

    def _finish(self, job: _Job, results: list[Result]) -> Iterator[Finished]:
        job.group.results[job.first] = results
        whole = job.group.finished()
        if whole is not None:
            yield job.group.runs, whole

    def _bury(self, worker: Worker) -> Iterator[Finished]:
        """Go on without a worker that has died."""
        why, job = self.pool.remove(worker), worker.work
        if job is None:
            self._count_start(worker, why)
            return
        self.executor.say_that_one_died(why)
        self.context.progress(-job.counted)
        job.deaths += 1
        if job.doomed is None:
            self.waiting.extendleft(
                reversed(self._apart(job) if job.deaths >= _TOGETHER else [job])
            )
        else:
            yield from self._doom(job, why)

    def _count_start(self, worker: Worker, why: str) -> None:
        """Note that a worker died which had no work; many in a row die of something that stays."""
        self.start_deaths += not worker.ready
        exited = not worker.ready and (worker.process.returncode or 0) > 0
        if exited or self.start_deaths >= _STARTS:
            self.executor.give_up_starting(why)
        elif self.executor.startable:
            self.executor.say_that_one_died(why)

    def _apart(self, job: _Job) -> list[_Job]:
        """The units of a job, whose runs are trained one by one to find which ends its process."""
        found, first = [], job.first
        for unit in units(job.runs):
            found.append(_Job(job.group, first, unit, {}))
            first += len(unit)
        return found

    def _doom(self, job: _Job, why: str) -> Iterator[Finished]:
        """Train a unit without the run that its worker was at, which has failed."""
        assert job.doomed is not None
        if job.at is None and job.deaths < _UNPLACED and len(job.runs) > 1:
            self.waiting.appendleft(job)
            return
        all_of_them = job.at is None or len(job.runs) == 1
        for number in range(len(job.runs)) if all_of_them else [job.at or 0]:
            job.doomed[number] = f"the process that trained it ended: {why}"
            warn_of_failure(job.runs[number], job.doomed[number])
        if len(job.doomed) < len(job.runs):
            self.waiting.appendleft(job)
            return
        self.context.progress(self.context.steps(job.runs))
        lost = [no_result(self.context, run, job.doomed[k]) for k, run in enumerate(job.runs)]
        yield from self._finish(job, lost)

    def _train_here(self) -> Iterator[Finished]:
        """Train the next job in this process, if it has not ended another."""
        job = next((job for job in self.waiting if not job.suspect), None)
        if job is None:
            raise ThalwegError(
                "worker processes died, and no other can be started to train what they had; what "
                "is finished is kept, and the same call goes on from there"
            )
        self.waiting.remove(job)
        yield from self._finish(job, complete(self.context, job.runs))
