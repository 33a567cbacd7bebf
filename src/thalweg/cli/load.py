"""Rules from the command line: built-in ones by name, your own by file."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from ..errors import UsageError, unknown
from ..rules import Rule, find, registry


def load_rule(spec: str) -> Rule:
    """The rule that an argument of the command line means.

    Args:
        spec: a built-in rule's name; or `my_rule.py:name`, a rule made with `@thalweg.rule` in a
            file of your own; or `my_rule.py`, if the file makes only one.

    Raises:
        UsageError: no such rule, file or name in it; or the file fails when it is run.
    """
    file, colon, name = (spec, "", "") if spec.endswith(".py") else spec.rpartition(":")
    if not file.endswith(".py"):
        return find(spec)
    rules = {k: v for k, v in vars(_run(Path(file))).items() if isinstance(v, Rule)}
    if colon:
        if name not in rules:
            raise unknown(f"rule in {file}", name, rules) if rules else _empty(file)
        return rules[name]
    own = {k: v for k, v in rules.items() if all(v is not r for r in registry().values())}
    if not own:
        raise _empty(file)
    if len(own) > 1:
        raise UsageError(f"{file} makes several rules; say which: {file}:{' or :'.join(own)}")
    return next(iter(own.values()))


def _run(path: Path) -> ModuleType:
    """The file as a module; found in `sys.modules` so that its source can be looked up."""
    name = f"thalweg_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UsageError(f"there is no file {str(path)!r} to take a rule from")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{path} fails when it is run: {type(error).__name__}: {error}") from error
    return module


def _empty(file: str) -> UsageError:
    return UsageError(f"{file} makes no rule; put @thalweg.rule above a formula in it")
