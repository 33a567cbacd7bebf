"""How long a race of each built-in task takes with the options' defaults, from Python and without
records: what `thalweg race --list` shows beside the sizes of the task.

The list is a file of the package, src/thalweg/cli/tasks.json, so that it can be shown without
importing a framework. This script writes it; with --sizes it leaves the times as they are, which is
what to run after a task was added or changed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import thalweg as tw
from common import RESULTS, Record, parser
from thalweg.bench.document import describe_machine
from thalweg.cli.task_list import FILE
from thalweg.tasks import Task, registry
from thalweg.training.runs import Regime

TITLE = "races with the options' defaults"
COLUMNS = {"task": "{task}", "seconds": "{seconds:.0f}", "runs": "{runs}"}
QUICK = {"optimizers": ["sgd", "adam"], "budget": 2, "seeds": 2, "epochs": 1}


def sizes(name: str) -> dict[str, Any]:
    """What the list says of a task beside its time."""
    builder = registry()[name]
    task: Task = builder()
    count = len(task.train[0])
    return {
        "name": name,
        "title": builder.title,
        "options": dict(builder.options),
        "parameters": task.parameters(),
        "samples": count,
        "steps": Regime(task.epochs, task.batch_size, drop_last=task.drop_last).steps(count),
    }


def document(result: Mapping[str, Any] | None) -> dict[str, Any]:
    """The list: the sizes of all tasks, and the times that were recorded.

    Args:
        result: the document of this benchmark; None where there is none.
    """
    rows = result["tables"][TITLE] if result else []
    times = {row["task"]: row["seconds"] for row in rows}
    tasks = [{**sizes(name), "seconds": times.get(name)} for name in registry()]
    return {"machine": describe_machine(result) if result else "", "tasks": tasks}


def write(result: Mapping[str, Any] | None) -> None:
    """Write the list into the package."""
    text = json.dumps(document(result), indent=1, ensure_ascii=False)
    FILE.write_text(f"{text}\n", encoding="utf-8")


def recorded() -> Mapping[str, Any] | None:
    """The document of this benchmark, if there is one."""
    path = RESULTS / "task_times.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def timed(name: str, **options: Any) -> dict[str, Any]:
    """A race of a task, from its start to its end.

    Args:
        name: of the task.
        **options: of the race.
    """
    started = time.perf_counter()
    found = tw.race(name, progress=False, **options)
    seconds = time.perf_counter() - started
    return {"task": name, "seconds": seconds, "runs": found.result.runs, "met": None}


def main() -> None:
    """Race each task, record the times, and write the list."""
    options = parser(__doc__ or "")
    options.add_argument("--sizes", action="store_true", help="race nothing: write the list anew")
    chosen = options.parse_args()
    if chosen.sizes:
        write(recorded())
        return
    record = Record("task_times", chosen)
    asked = QUICK if chosen.quick else {}
    rows = [record.case(name, partial(timed, name, **asked)) for name in registry()]
    record.table(TITLE, COLUMNS, rows)
    record.close()
    if not chosen.quick:
        write(recorded())


if __name__ == "__main__":
    main()
