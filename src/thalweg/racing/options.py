"""The options of a race, each defined once: its type, default, meaning and check.

The keyword arguments of `race` and `races`, the command line with its help, and docs/options.md are
made from this. It imports no framework, so that the command line can be read without one.
"""

# Annotations are evaluated here, for what they are annotated with; types that only a framework has
# are quoted.

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ForwardRef, TypedDict

from ..errors import check_count, unknown
from ..inits import INITS
from ..orders import ORDERS
from ..schedules import KINDS
from .option import (
    Option,
    check_callbacks,
    check_duration,
    check_first_seed,
    check_flag,
    check_folder_name,
    check_names,
    check_ranges,
    check_text,
    duration,
    names,
    number,
    rates,
    search_space,
    switch,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from ..callbacks import Callback
    from ..rules.ranges import Choice, Range
    from ..tasks.order import Order
    from ..training.execution.ray import Cluster
    from .entrants import Entrant
    from .watcher import Watcher

SAMPLERS = ("grid", "sobol", "optuna")


class Options(TypedDict, total=False):
    """The keyword arguments of a race."""

    optimizers: Annotated[
        "Sequence[Entrant] | Mapping[str, Entrant] | None",
        Option(
            "names of built-in optimizers, rules of one's own, or optimizer classes of other "
            "packages, as package:Class; all distinct built-in ones by default",
            python="a class derived from `torch.optim.Optimizer` or a `functools.partial` of one "
            "itself, and a mapping by the names that tables show",
            shell="names are listed by `thalweg rules`, and there is random_search; a rule or "
            "class of one's own is FILE.py:NAME",
            metavar="A,B,…",
            read=names,
        ),
    ]
    budget: Annotated[
        int,
        Option(
            "configurations that each tries before the search is continued",
            9,
            metavar="N",
            read=whole,
            check=check_count,
        ),
    ]
    seeds: Annotated[
        int,
        Option(
            "fresh seeds that the chosen ones are compared on",
            10,
            metavar="N",
            read=whole,
            check=check_count,
        ),
    ]
    seed: Annotated[
        int,
        Option(
            "which runs those are: another number gives other initial weights, orders of the data "
            "and draws, in the search and in the comparison, and so an independent repetition",
            0,
            metavar="N",
            read=whole,
            check=check_first_seed,
        ),
    ]
    epochs: Annotated[
        int | None,
        Option(
            "passes over the training data; the task's own number by default",
            metavar="N",
            read=whole,
            check=check_count,
        ),
    ]
    batch_size: Annotated[
        int | None,
        Option(
            "samples in a mini-batch; the task's own number by default",
            metavar="N",
            read=whole,
            check=check_count,
        ),
    ]
    tune: Annotated[
        "str | Sequence[str]",
        Option(
            "what is searched beside the learning rate: all, or some of the hyperparameters, "
            "weight_decay, schedule, warmup, clip, batch_size; what is given as an option of its "
            "own is not searched",
            ("lr",),
            metavar="A,B,…",
            read=names,
            check=check_names,
        ),
    ]
    sampler: Annotated[
        str | None,
        Option(
            "how configurations are chosen: grid, of learning rates alone; sobol, the default "
            "where more is tuned; or optuna, which needs the extra of that name",
            choices=SAMPLERS,
            read=str,
        ),
    ]
    learning_rates: Annotated[
        "Sequence[float] | Mapping[str, Sequence[float]] | None",
        Option(
            "learning rates that every optimizer tries, instead of a grid that is continued",
            python="by the name of each its own, equally many",
            shell="again with NAME= before them for those of one optimizer",
            flag="--lr",
            metavar="[NAME=]A,B,…",
            read=rates,
        ),
    ]
    search: Annotated[
        "Mapping[str, Mapping[str, Range | Choice | tuple[float, float]]] | None",
        Option(
            "ranges, or values to choose from, in place of those that an optimizer declares; a "
            "hyperparameter that is named is tuned, for all optimizers that have it",
            python='as {"adam": {"lr": (1e-5, 1e-2)}}: two ends, or a `LogRange`, `NearOne`, '
            "`LinearRange` or `Choice`",
            shell="as adam.lr=1e-5..1e-2 or adamw.weight_decay=0,1e-2, and again for others",
            metavar="NAME.HYPER=LOW..HIGH|A,B,…",
            read=search_space,
            check=check_ranges,
        ),
    ]
    schedule: Annotated[
        str | None,
        Option(
            "schedule of the learning rate, for all; constant by default",
            choices=KINDS,
            read=str,
        ),
    ]
    warmup: Annotated[
        float | None,
        Option(
            "share of the steps over which the learning rate rises first, as 0.05",
            metavar="SHARE",
            read=number,
        ),
    ]
    clip: Annotated[
        float | None,
        Option(
            "norm that the gradients of a step together may have; any by default",
            metavar="NORM",
            read=number,
        ),
    ]
    order: Annotated[
        "Order | None",
        Option(
            "order of the training samples in an epoch; the task's own by default, which usually "
            "is shuffled",
            python="a name, a torch `Sampler` or a function, as in `Task`",
            choices=ORDERS,
            read=str,
        ),
    ]
    init: Annotated[
        str | None,
        Option(
            "what runs start from: fresh weights, other ones for every seed; or those given with "
            "the model, as in fine-tuning; by default (auto) those given where parameters are "
            "frozen or the model looks trained",
            choices=INITS,
            read=str,
        ),
    ]
    drop_last: Annotated[
        bool | None,
        Option(
            "leave out the last mini-batch of an epoch where it is smaller than the others; as "
            "the task says by default",
            read=switch,
            check=check_flag,
        ),
    ]
    prune: Annotated[
        bool,
        Option(
            "stop configurations early that fall behind the others of their optimizer",
            True,
            shell="train every configuration to its end, instead of stopping those early "
            "that fall behind the others of their optimizer",
            flag="--no-prune",
            read=switch,
            check=check_flag,
        ),
    ]
    time_limit: Annotated[
        "float | str | None",
        Option(
            "time in which the race is to end, as 90s, 10m or 1h30m; where it is too short for all "
            "that was asked, there are fewer fresh seeds, then fewer configurations, alike for all "
            "optimizers, and what was cut is said",
            python="or seconds",
            flag="--time",
            metavar="TIME",
            read=duration,
            check=check_duration,
        ),
    ]
    out: Annotated[
        "str | Path | None",
        Option(
            "folder for the records and report.html; the same call goes on with what it finds "
            "there",
            shell="races/TASK by default",
            metavar="DIR",
            read=str,
            check=check_folder_name,
        ),
    ]
    overwrite: Annotated[
        bool,
        Option(
            "race in a folder that holds another task's race, and replace its summary",
            False,
            read=switch,
            check=check_flag,
        ),
    ]
    live: Annotated[
        bool,
        Option(
            "show the race while it runs: report.html in its folder, which a browser reads again "
            "every few seconds; needs out",
            False,
            shell="its address is printed first",
            read=switch,
            check=check_flag,
        ),
    ]
    device: Annotated[
        "str | torch.device | None",
        Option(
            "where the runs train; by default wherever a short measurement finds them faster; the "
            "same when a race is continued",
            metavar="auto|cpu|cuda|cuda:N",
            read=str,
        ),
    ]
    ray: Annotated[
        "str | Cluster | None",
        Option(
            "Ray cluster to train on: its address, local for one on this machine, auto for the one "
            "that it belongs to; needs the extra of that name",
            python="or a `Cluster`, which also says what every group asks for",
            metavar="ADDRESS",
            read=str,
        ),
    ]
    name: Annotated[
        str | None,
        Option(
            "what the race calls its task; the task's own name by default, or the model's",
            metavar="NAME",
            read=str,
            check=check_text,
        ),
    ]
    target: Annotated[
        str | None,
        Option(
            "column to be learned, of a model whose data has columns",
            python="as a frame has, or a CSV or Parquet file",
            shell="as the file of --train has",
            metavar="COLUMN",
            read=str,
            check=check_text,
        ),
    ]
    validation: Annotated[
        Any,
        Option(
            "data that settings are chosen on, of a model that is given without a task; a fifth "
            "of the training data by default",
            python="in any form that `Task` takes",
            shell="a file or folder like that of --train",
            metavar="FILE",
            read=str,
        ),
    ]
    test: Annotated[
        Any,
        Option(
            "data that the chosen settings are judged on, of a model that is given without a task; "
            "a fifth of the training data by default",
            python="in any form that `Task` takes",
            shell="a file or folder like that of --train",
            metavar="FILE",
            read=str,
        ),
    ]
    loss: Annotated[Any, Option("loss of a model that is given without a task, as in `Task`")]
    metrics: Annotated[
        Any,
        Option(
            "metrics of a model that is given without a task, as in `Task`; of several the first "
            "judges"
        ),
    ]
    callbacks: Annotated[
        "Sequence[Callback]",
        Option(
            "are told of every run that this call trains, when its group has finished, and of the "
            "end of the race: TensorBoard, MLflow, WandB of `thalweg.callbacks`, or one's own",
            (),
            check=check_callbacks,
        ),
    ]
    progress: Annotated[
        bool | None,
        Option(
            "show how the race goes on stderr; where a terminal or a notebook is, by default, and "
            "else what was decided, in the log `thalweg` or on stderr"
        ),
    ]
    watcher: Annotated["Watcher | None", Option("is told how the race goes, instead")]


OPTIONS: Mapping[str, Option] = {
    name: annotated.__metadata__[0] for name, annotated in Options.__annotations__.items()
}
"""What is known of every option, by name."""


def type_of(name: str) -> str:
    """An option's type as it is written."""
    origin = Options.__annotations__[name].__origin__
    if isinstance(origin, ForwardRef):
        return origin.__forward_arg__
    return origin.__name__ if isinstance(origin, type) else str(origin).removeprefix("typing.")


def completed(given: Mapping[str, Any]) -> dict[str, Any]:
    """All options: those that were given, checked, and the defaults of the others.

    Args:
        given: by name.

    Raises:
        TypeError: there is no such option.
        UsageError: a value cannot work.
    """
    for name in given:
        if name not in OPTIONS:
            raise TypeError(f"race() has {unknown('option', name, OPTIONS)}")
    return {
        name: option.checked(name, given[name]) if name in given else option.default
        for name, option in OPTIONS.items()
    }
