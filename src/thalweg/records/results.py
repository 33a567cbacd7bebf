"""What a race found about each optimizer."""

from __future__ import annotations

from .values import Count, Document, Interval, Number, Value, Whole, same_length


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
