"""What a race found: the document that is printed, written to race.json, and drawn."""

from __future__ import annotations

import msgspec

from .results import OptimizerResult
from .values import Count, Document, Interval, Metric, Number, OtherMetric, Value

RACE = "thalweg.race/1"


class Setting(Document, frozen=True, kw_only=True):
    """What was raced, and how long.

    Attributes:
        title: of the task.
        metric: what judges.
        adjustment: how p-values are adjusted: `max-t`; null in older documents, which used Holm's
            method.
        also: other metrics, which decide nothing.
        train: number of training samples.
        validation: number of validation samples.
        test: number of test samples.
        parameters: of the model.
        weights: that runs started from: given with the model or drawn anew, and which are frozen.
        fingerprint: digest of model, data, loss and metrics.
        batch_size: samples in a mini-batch.
        epochs: passes over the training data.
        steps: training steps of a run.
        budget: configurations that each optimizer tries before the search is continued.
        tuning_seeds: runs of every configuration of the search.
        seeds: fresh seeds that the chosen configurations are compared on.
        seed: which set of seeds the runs have.
        target_loss: the validation loss that counts as having learned the task.
        engine: what stepped the runs.
        device: where the runs trained.
        executor: how the runs were executed.
    """

    title: str | None = None
    metric: Metric
    adjustment: str | None = None
    also: list[OtherMetric] = []
    train: Count | None = None
    validation: Count | None = None
    test: Count | None = None
    parameters: Count | None = None
    weights: str | None = None
    fingerprint: str | None = None
    batch_size: Count | None = None
    epochs: Count | None = None
    steps: Count | None = None
    budget: Count | None = None
    tuning_seeds: Count | None = None
    seeds: Count | None = None
    seed: Count | None = None
    target_loss: Number = None
    engine: str | None = None
    device: str | None = None
    executor: str | None = None


class Search(Document, frozen=True, kw_only=True):
    """How configurations were searched, and what that cost.

    Attributes:
        tune: what was searched.
        sampler: `grid`, `sobol`, `optuna`, or `given` where the caller named the learning rates.
        beyond: decades beyond either end of its range that a search goes at most.
        fixed: what held for all: schedule, warmup, clip.
        pruned: whether runs were stopped early.
        stopped: how many were.
        repeated: how many of these belong to a learning rate next to the best, which was then
            trained again to its end.
        run_steps: training steps of all runs of the search.
        run_steps_of_full_search: what they would have been had no run been stopped.
        saved: the share that stopping saved.
    """

    tune: list[str] = msgspec.field(default_factory=lambda: ["lr"])
    sampler: str = "grid"
    beyond: Number = None
    fixed: dict[str, Value] = {}
    pruned: bool = False
    stopped: Count | None = None
    repeated: Count = 0
    run_steps: Count | None = None
    run_steps_of_full_search: Count | None = None
    saved: Number = None


class Pair(Document, frozen=True, kw_only=True):
    """Two optimizers compared.

    Attributes:
        a: name of one.
        b: name of the other.
        difference: mean over seeds of the test metric of a less that of b.
        low: lower bound of its 95 % interval.
        high: upper bound.
        p: by the paired sign-flip test, adjusted over all pairs.
        probability_better: share of seeds on which a is better.
    """

    a: str
    b: str
    difference: Number = None
    low: Number = None
    high: Number = None
    p: Number = None
    probability_better: Number = None


class Power(Document, frozen=True, kw_only=True):
    """What the race could have seen.

    Attributes:
        probability: of finding a difference this large.
        difference: the true difference from the first, median over the others; null where the
            seeds are too few for any.
    """

    probability: Number = None
    difference: Number = None


class Samples(Document, frozen=True, kw_only=True):
    """How finely the samples can tell: the metric's 95 % interval over samples like them.

    Attributes:
        validation: of the validation metric of the optimizer that is best by it; null where it is
            not known.
        test: of its test metric.
    """

    validation: Interval | None = None
    test: Interval | None = None


class Verdict(Document, frozen=True, kw_only=True):
    """Who is first, in words.

    Attributes:
        best: names of those that are first or tied for first; none where there are no ranks.
        sentence: the verdict.
        code: the line that makes the first; null for random search.
        unranked: why there are no ranks: `few seeds`, `no spread` (the seeds change nothing) or
            `nothing trained`; null where there are ranks.
        power: the difference that would have been found, and how probably.
        unknown: sentences on what the race leaves open: budget, seeds, whether a longer race
            could turn the order, edges.
    """

    best: list[str] = []
    sentence: str = ""
    code: str | None = None
    unranked: str | None = None
    power: Power | None = None
    unknown: list[str] = []


class Environment(Document, frozen=True, kw_only=True):
    """Versions and machine.

    Attributes:
        thalweg: its version.
        python: its version.
        torch: its version.
        numba: its version.
        numpy: its version.
        platform: operating system.
        processor: its model.
        gpu: its model, where torch sees one.
        cores: number of processor cores.
        date: when the race ended, in UTC.
    """

    thalweg: str | None = None
    python: str | None = None
    torch: str | None = None
    numba: str | None = None
    numpy: str | None = None
    platform: str | None = None
    processor: str | None = None
    gpu: str | None = None
    cores: Count | None = None
    date: str | None = None


class RaceDocument(Document, frozen=True, kw_only=True, tag_field="schema", tag=RACE):
    """A race, as in `race.json` and as `--json` prints it.

    Attributes:
        task: name of the task.
        setting: what was raced, and how long.
        search: how configurations were searched; null in documents of versions without it.
        optimizers: one entry per optimizer, by mean test metric.
        samples: the interval of the metric over samples, which seeds say nothing of.
        pairs: every two optimizers.
        verdict: who is first, in words.
        record_ids: identities of the runs, the keys of the records; null in documents that do
            not name them, to which all records in their folder belong.
        runs: number of runs.
        seconds: time that the race took.
        environment: versions and machine.
    """

    task: str
    setting: Setting
    search: Search | None = None
    optimizers: list[OptimizerResult]
    samples: Samples = Samples()
    pairs: list[Pair] = []
    verdict: Verdict
    record_ids: list[str] | None = None
    runs: Count | None = None
    seconds: Number = None
    environment: Environment = Environment()
