"""What a race found: the document that is printed, written to race.json, and drawn."""

from __future__ import annotations

import msgspec

from .values import (
    Count,
    Document,
    Interval,
    Metric,
    Number,
    OtherMetric,
    Value,
    Whole,
    same_length,
)

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


class Citation(Document, frozen=True, kw_only=True):
    """A published work.

    Attributes:
        authors: as "Kingma & Ba".
        year: of publication.
        title: of the work.
        where: journal, conference or archive.
    """

    authors: str
    year: Whole | None
    title: str
    where: str


class BySeed(Document, frozen=True, kw_only=True):
    """The results per fresh seed.

    Attributes:
        test: the test metric.
        steps_to_target: null for never.
        steps: training steps of a run.
        diverged: whether the run did; empty in documents of versions that do not say.
    """

    test: list[Number]
    steps_to_target: list[Number]
    steps: Count
    diverged: list[bool] = []

    def __post_init__(self) -> None:
        same_length(len(self.test), "seeds", steps_to_target=self.steps_to_target)
        if self.diverged:
            same_length(len(self.test), "seeds", diverged=self.diverged)


class PerStep(Document, frozen=True, kw_only=True):
    """What one training step is, in units that do not depend on the batch size.

    Attributes:
        epochs: share of a pass over the training data.
        samples: training samples, on average over an epoch.
        seconds: estimated: `ms_per_step`, measured alone on the machine.
    """

    epochs: Number = None
    samples: Number = None
    seconds: Number = None


class ToTarget(Document, frozen=True, kw_only=True):
    """When the target loss was first met, median over the fresh seeds; null for never.

    Attributes:
        steps: training steps.
        epochs: passes over the training data.
        samples: training samples.
        seconds: estimated from `ms_per_step`.
    """

    steps: Number = None
    epochs: Number = None
    samples: Number = None
    seconds: Number = None


class GoodRange(Document, frozen=True, kw_only=True):
    """The learning rates that are about as good as the best.

    Attributes:
        low: the smallest.
        high: the largest.
        decades: the width, in powers of ten.
        at_least: a rate beside the range was stopped early, so the range may be wider.
    """

    low: Number = None
    high: Number = None
    decades: Number = None
    at_least: bool = False


class Tried(Document, frozen=True, kw_only=True):
    """A configuration that the search tried.

    Attributes:
        learning_rate: its learning rate.
        configuration: all of it, as `optimizers[].configuration`.
        validation: interval of the validation metric over tuning seeds.
        validation_loss: mean over the same runs.
        diverged: share of its runs that diverged.
        stopped_at: the step after which it was stopped early; null where it was not.
        preference: its place among all configurations of the race, 1 for the one preferred to
            all: by metric, loss, smaller learning rate.
    """

    learning_rate: Number = None
    configuration: dict[str, Value] = {}
    validation: Interval | None = None
    validation_loss: Number = None
    diverged: Number = None
    stopped_at: Count | None = None
    preference: Count | None = None


class Band(Document, frozen=True, kw_only=True):
    """A mean course with its 95 % band.

    Attributes:
        mean: the means.
        low: the lower bounds.
        high: the upper bounds.
    """

    mean: list[Number]
    low: list[Number]
    high: list[Number]


class Curve(Document, frozen=True, kw_only=True):
    """The mean course of the final runs.

    Attributes:
        steps: after which the runs were measured; the bands have a value for each.
        train_loss: mean over the mini-batches since the measurement before.
        validation_loss: on the validation set.
        validation_metric: on the validation set.
        also: by name the metrics that decide nothing, on the validation set.
    """

    steps: list[Count]
    train_loss: Band
    validation_loss: Band
    validation_metric: Band
    also: dict[str, Band] = {}

    def __post_init__(self) -> None:
        bands = {name: getattr(self, name) for name in self.__struct_fields__[1:4]} | self.also
        for name, band in bands.items():
            for part in ("mean", "low", "high"):
                same_length(len(self.steps), "steps", **{f"{name}.{part}": getattr(band, part)})


class VersusBest(Document, frozen=True, kw_only=True):
    """The comparison with the first.

    Attributes:
        difference: mean over seeds of the test metric less that of the first.
        low: lower bound of its 95 % interval.
        high: upper bound.
        p: by the paired sign-flip test, adjusted over these comparisons.
        probability_better: share of seeds on which the optimizer is better than the first.
        detectable: the true difference that would have been found with a probability of 80 %;
            null where the seeds are too few or agree exactly.
        seeds_to_tell: the seeds that would find a difference as large as the one observed; null
            where these seeds told, or cannot say.
    """

    difference: Number = None
    low: Number = None
    high: Number = None
    p: Number = None
    probability_better: Number = None
    detectable: Number = None
    seeds_to_tell: Count | None = None


class OtherResult(Document, frozen=True, kw_only=True):
    """What a metric that decides nothing says of the final runs.

    Attributes:
        validation: interval over the fresh seeds.
        test: interval over the fresh seeds.
    """

    validation: Interval | None = None
    test: Interval | None = None


class OptimizerResult(Document, frozen=True, kw_only=True):
    """What the race found about one optimizer.

    Attributes:
        name: of the method.
        title: the first line of its documentation.
        reference: the paper it is from, in one line.
        citation: the same as data; null where there is no paper.
        formula_mathml: one step of it, in MathML; null for random search.
        code: the line that makes the chosen optimizer; null for random search, and for what
            diverged on every judged seed.
        rank: by mean test metric, 1 for all that tie for first; null where there are no ranks, and
            for what diverged on every judged seed.
        tied: whether it ties for first.
        learning_rate: `configuration.lr`.
        configuration: what was chosen: `lr`, other hyperparameters, `schedule`, `warmup`,
            `clip`, `batch_size` where they differ from the defaults.
        validation: interval of the validation metric over the fresh seeds.
        test: interval of the test metric over the fresh seeds.
        also: by name the metrics that decide nothing, over the same runs.
        settings: all that was tuned, with the values chosen, also where they are the usual ones.
        per_step: what a step is in epochs, samples and seconds, which batch sizes change.
        steps_to_target: median over the fresh seeds; null for never.
        to_target: the same in all units.
        by_seed: test metric and steps to the target per fresh seed.
        versus_best: comparison with the first; null for the first.
        diverged: share of all its runs that diverged.
        diverged_tuning: share of the runs of its search that did.
        diverged_final: share of its runs on fresh seeds that did.
        edge: whether something of the configuration lies at the edge of what was tried.
        edges: what does.
        rising: what still gets steeply better towards an end of what was tried: one more step
            with the same gain would reach the best.
        good_range: the learning rates about as good as the best.
        configurations: how many it tried.
        sensitivity: every configuration that it tried.
        expected_best: the best validation metric expected of 1, 2, … of its configurations.
        curve: the mean course of the final runs.
        ms_per_step: milliseconds per training step.
    """

    name: str
    title: str | None = None
    reference: str | None = None
    citation: Citation | None = None
    formula_mathml: str | None = None
    code: str | None = None
    rank: Count | None = None
    tied: bool = False
    learning_rate: Number = None
    configuration: dict[str, Value] = {}
    validation: Interval | None = None
    test: Interval | None = None
    also: dict[str, OtherResult] = {}
    settings: dict[str, Value] = {}
    per_step: PerStep | None = None
    steps_to_target: Number = None
    to_target: ToTarget | None = None
    by_seed: BySeed | None = None
    versus_best: VersusBest | None = None
    diverged: Number = None
    diverged_tuning: Number = None
    diverged_final: Number = None
    edge: bool = False
    edges: list[str] = []
    rising: list[str] = []
    good_range: GoodRange | None = None
    configurations: Count | None = None
    sensitivity: list[Tried] = []
    expected_best: list[Number] = []
    curve: Curve | None = None
    ms_per_step: Number = None


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
