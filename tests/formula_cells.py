"""Rules made from source text, as a notebook makes them."""

from __future__ import annotations

import itertools
import linecache

from thalweg import ops
from thalweg.rules import Rule, rule

_serial = itertools.count()


def define(body: str, hyperparameters: str) -> Rule:
    """A rule without state whose source can be looked up; all of thalweg.ops is in scope.

    Args:
        body: its statements; the first is in line 2.
        hyperparameters: as in a signature, "lr=0.1, beta=0.9".
    """
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    source = f"def printed(theta, g, t, *, {hyperparameters}):\n{lines}"
    file = f"<cell {next(_serial)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    scope = dict(vars(ops))
    exec(compile(source, file, "exec"), scope)
    return rule(scope["printed"])
