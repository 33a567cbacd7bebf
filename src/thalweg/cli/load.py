"""Rules and tasks from the command line: built-in ones by name, your own by file."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

from ..errors import UsageError, unknown
from ..rules import Rule, find, registry
from ..training import FILE

if TYPE_CHECKING:
    from torch import nn

    from ..surfaces.surface import Point, Surface, View
    from ..tasks import Task

Entrant = TypeVar("Entrant")


def load_rule(spec: str) -> Rule:
    """The rule that an argument of the command line means.

    Args:
        spec: a built-in rule's name; or `my_rule.py:name`, a rule made with `@thalweg.rule` in a
            file of your own; or `my_rule.py`, if the file makes only one.

    Raises:
        UsageError: no such rule, file or name in it; or the file fails when it is run.
    """
    file, colon, name = _parted(spec)
    if not file.endswith(".py"):
        return find(spec)
    rules = _rules(run_file(file))
    if colon:
        if name not in rules:
            raise unknown(f"rule in {file}", name, rules) if rules else _empty(file)
        return rules[name]
    return _only(rules, file, "rules")


def load_entrant(spec: str) -> object:
    """What an argument of the command line enters a race with.

    Args:
        spec: as for `load_rule`, and with random search; or `my_file.py:Name` of a class derived
            from `torch.optim.Optimizer`, a `functools.partial` of one or a function that builds
            one; or `my_file.py`, if the file makes only one of all these; or `package:Class`.

    Raises:
        UsageError: no such file or name in it; or the file fails when it is run.
    """
    file, colon, name = _parted(spec)
    if not file.endswith(".py"):
        return spec  # a race knows it by its name
    from ..training.torch_method import is_optimizer

    module = run_file(file)
    rules = _rules(module)
    if colon and callable(found := vars(module).get(name)):
        return found
    classes = {k: v for k, v in vars(module).items() if is_optimizer(v)}
    if colon:
        raise unknown(f"optimizer in {file}", name, {**rules, **classes})
    # A class that the file only imports is no class of its own.
    own = {k: v for k, v in classes.items() if getattr(v, "__module__", "") == module.__name__}
    return _only({**rules, **own}, file, "optimizers")


def _rules(module: ModuleType) -> dict[str, Rule]:
    return {k: v for k, v in vars(module).items() if isinstance(v, Rule)}


def _only(found: Mapping[str, Entrant], file: str, kind: str) -> Entrant:
    """The only one that a file makes, built-in rules that it imports apart."""
    own = {k: v for k, v in found.items() if all(v is not r for r in registry().values())}
    if not own:
        raise _empty(file)
    if len(own) > 1:
        raise UsageError(f"{file} makes several {kind}; say which: {file}:{' or :'.join(own)}")
    return next(iter(own.values()))


def load_task(spec: str) -> Task:
    """The task that an argument of the command line means.

    Args:
        spec: a built-in task's name, with options or not; or `my_task.py:name`, a `Task` in a
            file of your own; or `my_task.py`, if the file makes only one.

    Raises:
        UsageError: no such task, file or name in it; or the file fails when it is run.
    """
    from .. import tasks

    file, colon, name = _parted(spec)
    if not file.endswith(".py"):
        return tasks.find(spec)
    found = {k: v for k, v in vars(run_file(file)).items() if isinstance(v, tasks.Task)}
    if colon:
        if name not in found:
            raise unknown(f"task in {file}", name, found) if found else _no_task(file)
        return _named(found[name], file, name if len(found) > 1 else "")
    if not found:
        raise _no_task(file)
    if len({id(task) for task in found.values()}) > 1:
        raise UsageError(f"{file} makes several tasks; say which: {file}:{' or :'.join(found)}")
    return _named(next(iter(found.values())), file, "")


def load_model(spec: str) -> Callable[[], nn.Module] | nn.Module:
    """The model that an argument of the command line means.

    Args:
        spec: `my_model.py:name`, a model, its class or a function that builds it in a file of your
            own; or `my_model.py`, if the file has one class of models.

    Raises:
        UsageError: no such file or name in it; or the file fails when it is run.
    """
    from torch import nn

    file, colon, name = _parted(spec)
    if not file.endswith(".py"):
        raise UsageError(f"--train is for a model, FILE.py:NAME in the place of a task, not {spec}")
    module = run_file(file)
    if colon:
        found = {k: v for k, v in vars(module).items() if callable(v) and not k.startswith("_")}
        if name not in found:
            raise unknown(f"model in {file}", name, found)
        return found[name]
    classes = {
        k: v
        for k, v in vars(module).items()
        if isinstance(v, type) and issubclass(v, nn.Module) and v.__module__ == module.__name__
    }
    if len(classes) != 1:
        having = f"{len(classes)} classes" if classes else "no class"
        raise UsageError(f"{file} has {having} of models; say which model: {file}:NAME")
    return next(iter(classes.values()))


def load_surface(spec: str, view: View | None = None, start: Point | None = None) -> Surface:
    """The surface that an argument of the command line means.

    Args:
        spec: a built-in surface's name; or `my_file.py:name`, a function of two variables or a
            `Surface` in a file of your own.
        view: the part to draw, as of `Surface.of`; the surface's own if None.
        start: where a function of your own starts from.

    Raises:
        UsageError: no such surface, file or name in it; or the file fails when it is run.
    """
    from ..surfaces import Surface
    from ..surfaces import find as find_surface

    file, colon, name = _parted(spec)
    if not file.endswith(".py"):
        found = find_surface(spec)
        return found if view is None else replace(found, view=view)
    module = run_file(file)
    functions = {
        k: v
        for k, v in vars(module).items()
        if isinstance(v, Surface) or getattr(v, "__module__", "") == module.__name__
        if callable(v) and not isinstance(v, Rule | type) and not k.startswith("_")
    }
    if not colon:
        raise UsageError(
            f"name the function of two variables in {file}: {file}:{' or :'.join(functions) or 'f'}"
        )
    if name not in functions:
        if not functions:
            raise UsageError(f"{file} has no function f(x, y) to draw")
        raise unknown(f"function in {file}", name, functions)
    chosen = functions[name]
    if isinstance(chosen, Surface):
        return chosen if view is None else replace(chosen, view=view)
    if (count := len(inspect.signature(chosen).parameters)) != 2:
        raise UsageError(f"{spec} must be a function of two variables, f(x, y); it takes {count}")
    if view is None:
        return Surface.of(chosen, start=start)
    return Surface.of(chosen, view=view, start=start)


def _parted(spec: str) -> tuple[str, str, str]:
    """The file of an argument FILE.py:NAME, the colon if there is one, and the name."""
    return (spec, "", "") if spec.endswith(".py") else spec.rpartition(":")


def _named(task: Task, file: str, name: str) -> Task:
    """The task, called after its file where it was given no name."""
    if task.name != "task":
        return task
    return replace(task, name="-".join(filter(None, (Path(file).stem, name))))


def _no_task(file: str) -> UsageError:
    return UsageError(
        f"{file} makes no task; write task = thalweg.Task(…) in it (`thalweg init` shows how), or "
        "give the data of a model in it with --train"
    )


def run_file(file: str) -> ModuleType:
    """The file as a module; found in `sys.modules` so that its source can be looked up.

    Its folder is searched for what it imports, as Python does for a script.
    """
    path = Path(file)
    name = _name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UsageError(f"there is no file {str(path)!r}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    from ..tasks.user_errors import describe_error

    try:
        with redirect_stdout(sys.stderr):  # what it prints is no result of ours
            spec.loader.exec_module(module)
    except SystemExit as error:
        del sys.modules[name]
        raise UsageError(
            f"{path} ends the program when it is run: {describe_error(error)}; put what only the "
            'script needs under `if __name__ == "__main__":`'
        ) from error
    except Exception as error:
        del sys.modules[name]
        raise UsageError(f"{path} fails when it is run: {describe_error(error)}") from error
    return module


def _name(path: Path) -> str:
    """A name for the module of a file, which the module of no other file has."""

    def free(name: str) -> bool:
        known = getattr(sys.modules.get(name), "__file__", None)
        return known is None or Path(known).resolve() == path.resolve()

    plain = f"{FILE}{path.stem}"
    return next(filter(free, chain([plain], (f"{plain}_{k}" for k in count(2)))))


def _empty(file: str) -> UsageError:
    return UsageError(f"{file} makes no rule; put @thalweg.rule above a formula in it")
