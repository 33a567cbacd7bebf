"""`thalweg race`: which optimizer, at which learning rate, for this task?"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError, known_name
from ..racing.option import Option, check_folder_name, flag_of, in_shell, switch
from ..racing.options import OPTIONS
from . import task_list

if TYPE_CHECKING:
    from ..racing import Race, Races
    from ..training.execution.ray import Cluster

_EXAMPLES = """\
examples:
  thalweg race digits-mlp
      every optimizer, 10 seeds, a table and report.html in races/digits-mlp
  thalweg race digits-mlp --optimizers adam,nadam,momentum --seeds 20
      three of them, with more seeds for smaller differences
  thalweg race quadratic:dim=50,condition=1000 --budget 15 --epochs 30
      a task with options of its own, a finer grid, longer runs
  thalweg race spiral-mlp --optimizers adam,my_rule.py:my_adam --json
      an optimizer of your own, and one JSON document on stdout
  thalweg race my_task.py
      a model and data of your own; `thalweg init` writes such a file
  thalweg race digits-mlp --tune all --budget 32
      every hyperparameter, schedule, clipping, batch size; 32 configurations each
  thalweg race digits-mlp wine-mlp spiral-mlp --schedule cosine --clip 1
      three tasks, all with this schedule and clipping, and what they say together
  thalweg race my_model.py:Net --train data.csv --target species --time 10m
      a model of your own on a file of data; ends within ten minutes
  thalweg race my_task.py --dry-run
      how many runs that is, how long it takes, and in how much memory
  thalweg race my_task.py --ray auto --out /shared/races/mine
      on the Ray cluster that this machine belongs to
  thalweg race --list
      the tasks

A race that was interrupted continues where it stopped: give the same command again.
"""


# The options of a race by what they decide, for the help.
_GROUPS = {
    "what is raced": "optimizers init name target validation test",
    "what is tried": "budget seeds seed tune sampler learning_rates search prune",
    "how runs train": "epochs batch_size schedule warmup clip order drop_last device",
}
_REST = "the race itself"


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "race",
        help="compare optimizers on a task: tuned, repeated, with the uncertainty",
        description="Compare optimizers on a task. Each tries the same number of learning rates;\n"
        "the one that is best on validation data is trained again on fresh seeds that\n"
        "all share, and judged on test data once.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="thalweg race [OPTION ...] TASK [TASK ...]",
    )
    parser.add_argument(
        "task",
        nargs="*",
        metavar="TASK",
        help="its name (see --list), or FILE.py[:NAME] for one of your own; several are raced "
        "one after the other, and compared together",
    )
    parser.add_argument(
        "--list", action="store_true", help="list the tasks with their sizes, and stop"
    )
    parser.add_argument(
        "--train",
        metavar="FILE",
        help="race a model, FILE.py:NAME in the place of a task, on these data: a CSV or Parquet "
        "file with --target, or a folder of images",
    )
    groups = {title: parser.add_argument_group(title) for title in (*_GROUPS, _REST)}
    titles = {name: title for title, names in _GROUPS.items() for name in names.split()}
    for name, option in OPTIONS.items():
        if option.read is not None and name != "ray":
            _add_option(groups[titles.get(name, _REST)], name, option)
    _add_cluster(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="say what the race would take: runs, steps, time, memory; nothing is trained but a "
        "few steps that are timed, and no file is written",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON document instead of the table"
    )
    parser.set_defaults(run=run)


def _add_option(parser: argparse._ArgumentGroup, name: str, option: Option) -> None:
    """Add an option of a race."""
    flag, about = flag_of(name, option), in_shell(option)
    if option.read is switch:
        change = not option.default
        parser.add_argument(flag, dest=name, action="store_const", const=change, help=about)
        return
    if option.default is not None:
        default = option.default
        shown = ",".join(default) if isinstance(default, tuple) else default
        about += f" (default: {shown})"
    parser.add_argument(
        flag,
        dest=name,
        type=_reader(name, option),
        action=_Merged,
        metavar=option.metavar or "|".join(option.choices),
        help=about,
    )


def _reader(name: str, option: Option) -> Callable[[str], Any]:
    """What turns an argument into the value of an option."""
    if not option.choices:
        return option.read or str

    def choice(text: str) -> str:
        try:
            return known_name(name, text, option.choices)
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return choice


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where the runs train."""
    group = parser.add_argument_group("on a Ray cluster (pip install 'thalweg[ray]')")
    group.add_argument(
        "--ray",
        metavar=OPTIONS["ray"].metavar,
        help=in_shell(OPTIONS["ray"]),
    )
    group.add_argument(
        "--ray-cpus",
        type=float,
        metavar="N",
        help="processor cores that a group of runs asks for (default: one per thread)",
    )
    group.add_argument(
        "--ray-gpus",
        type=float,
        metavar="N",
        help="GPUs that a group of runs asks for, as 0.25, and trains on (default: 0)",
    )
    group.add_argument(
        "--ray-retries",
        type=int,
        metavar="N",
        help="how often a group begins again whose node was lost (default: 3)",
    )
    group.add_argument(
        "--ray-shared",
        action="store_true",
        default=None,
        help="the nodes write the records, into --out on storage that all of them see",
    )


def _cluster(args: argparse.Namespace) -> Cluster | None:
    """The cluster that the options mean, if any."""
    asked = {name: getattr(args, f"ray_{name}") for name in ("cpus", "gpus", "retries", "shared")}
    given = {name: value for name, value in asked.items() if value is not None}
    if args.ray is None:
        if given:
            raise UsageError(f"--ray-{next(iter(given))} needs --ray ADDRESS")
        return None
    from ..training.execution.ray import Cluster

    return Cluster(args.ray, **given)


def run(args: argparse.Namespace) -> int:
    """Race, print what was found, and say where the report is."""
    if args.list:
        print(task_list.lines())
        return 0
    if not args.task:
        raise UsageError("name a task; --list shows them")
    given = _given(args)
    if args.dry_run:
        return _dry_run(given, args)
    from ..racing import Races
    from ..racing.multitask import folder
    from ..report import pages

    names = [args.name] if args.name else [getattr(t, "name", None) or t.__name__ for t in given]
    if args.out is not None:
        check_folder_name("out", args.out)
    out = Path(args.out or Path("races", "+".join(map(folder, names))[:100]))
    pages.check(out / "report.html", overwrite=bool(args.overwrite))
    found = _raced(given, args, out)
    if args.json:
        print(json.dumps(found.document))
    else:
        for one in found.races if isinstance(found, Races) else [found]:
            print(one)
        if isinstance(found, Races):
            print(found)
    for page in found.pages:
        print(f"report: {page}", file=sys.stderr)
    return 0


def _given(args: argparse.Namespace) -> list[Any]:
    """The tasks that are named, or the model whose data are."""
    from .load import load_model, load_task

    if args.train is None:
        return [load_task(name) for name in args.task]
    if len(args.task) > 1:
        raise UsageError(f"--train is for one model; {len(args.task)} are named")
    return [load_model(args.task[0])]


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """The options of a race that were given, the optimizers loaded."""
    asked = {name: getattr(args, name, None) for name in OPTIONS}
    found = {name: value for name, value in asked.items() if value is not None}
    if args.optimizers is not None:
        from .load import load_entrant

        found["optimizers"] = [load_entrant(name) for name in args.optimizers]
    return found


def _raced(given: list[Any], args: argparse.Namespace, out: Path) -> Race | Races:
    """Race, and show on stderr how it goes."""
    from ..racing import race, races
    from ..racing.progress import Progress

    common = {**_options(args), "out": out, "ray": _cluster(args)}
    # What Ray has to say of its nodes is no result.
    with redirect_stdout(sys.stderr), Progress(sys.stderr) as progress:
        common["watcher"] = progress
        if len(given) > 1:
            return races(given, **common)
        return race(given[0], args.train, **common)


def _dry_run(given: list[Any], args: argparse.Namespace) -> int:
    """Print what the races would take."""
    from ..racing import forecast
    from ..racing.progress import Progress

    options = {**_options(args), "ray": None, "out": None}
    with redirect_stdout(sys.stderr), Progress(sys.stderr) as progress:
        options["watcher"] = progress
        found = [forecast(each, args.train, **options) for each in given]
    if args.json:
        print(json.dumps([dataclasses.asdict(each) for each in found]))
    else:
        print("\n".join(map(str, found)))
    return 0


class _Merged(argparse.Action):
    """Takes an option several times: what stands alone replaces, what has a name is joined."""

    def __call__(
        self, parser: argparse.ArgumentParser, args: argparse.Namespace, values: Any, *_: Any
    ) -> None:
        known = getattr(args, self.dest)
        if isinstance(known, dict) and isinstance(values, dict):
            for name, own in values.items():
                joined = isinstance(own, dict) and name in known
                known[name] = {**known[name], **own} if joined else own
        else:
            setattr(args, self.dest, values)
