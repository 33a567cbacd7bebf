"""The page as one HTML file that needs nothing beside it and asks nothing of any network."""

from __future__ import annotations

import base64
import hashlib
import inspect
import json
import os
import sys
import tempfile
import webbrowser
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from .._version import __version__
from ..atomic import replacing
from ..errors import ThalwegError, UsageError
from ..plotting import LOOKS, looks
from ..rules import Rule
from ..surfaces import Surface
from .generated import javascript, named_rules, write

# In the order in which the page runs them.
CORE = (
    *("errors", "random", "parser", "typed", "surfaces", "path", "results", "stability"),
    *("tournament", "state", "api"),
)
PAGE = (
    *("texts", "basics", "stories", "model", "relief", "map", "turned", "charts", "numbers"),
    *("controls", "player", "gif", "save", "contest", "page"),
)

_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")  # set where windows can be seen


@dataclass(frozen=True)
class Page:
    """The page of `play`; the value of a notebook's cell shows it there.

    Attributes:
        html: the whole page.
    """

    html: str

    def write(self, file: str | Path) -> Path:
        """Write the page to a file, which is replaced whole or not at all.

        Raises:
            UsageError: the file's folder does not exist.
            ThalwegError: it cannot be written.
        """
        path = Path(file)
        if not path.parent.is_dir():
            raise UsageError(f"out={str(file)!r}: there is no folder {str(path.parent)!r}")
        if path.is_dir():
            raise UsageError(f"out={str(file)!r} is a folder; name a file")
        try:
            with replacing(path) as draft:
                draft.write_text(self.html, encoding="utf-8")
        except OSError as error:
            raise ThalwegError(f"{path} cannot be written: {error}") from error
        return path

    def open(self) -> bool:
        """Show the page in a browser; False where there is no screen or no browser.

        The page is written into the system's folder for temporary files, where it stays: the
        browser may read it again.
        """
        return show(self.write_temporary())

    def write_temporary(self) -> Path:
        """Write the page into a new folder among the system's temporary files."""
        return self.write(Path(tempfile.mkdtemp(prefix="thalweg-play-")) / "play.html")

    def _repr_html_(self) -> str:
        style = "width: 100%; height: 46rem; border: 0"
        return (
            f'<iframe title="thalweg play" style="{style}" sandbox="allow-scripts allow-downloads" '
            f'srcdoc="{escape(self.html)}"></iframe>'
        )


def show(file: Path) -> bool:
    """Open a file in a browser with windows; False where there is no screen or no browser."""
    if sys.platform not in ("darwin", "win32") and not any(map(os.environ.get, _SCREENS)):
        return False  # a browser in a terminal runs no script
    return webbrowser.open(file.as_uri())


def play(*own: Rule | Surface | Callable[[Any, Any], Any]) -> Page:
    """A page on which optimizers walk down surfaces, for a notebook, a browser or a file.

    Every built-in rule and surface is on it. In a notebook, `tw.play()` as the last line of a cell
    shows the page there; elsewhere use `tw.play().open()`, or `.write("play.html")`.

    Args:
        *own: rules made with `@thalweg.rule`, surfaces, and functions f(x, y) of your own.

    Returns:
        The page.

    Raises:
        UsageError: an argument is none of these, or two share a name.
        RuleError: a rule or function that cannot be recorded.
    """
    rules = [each for each in own if isinstance(each, Rule)]
    surfaces = [_surface(each) for each in own if not isinstance(each, Rule)]
    named = {"rules": [r.name for r in rules], "surfaces": [s.name for s in surfaces]}
    for kind, names in named.items():
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UsageError(f"two {kind} are named {twice[0]!r}; give each its own name")
    return Page(_render(core(rules, surfaces), named_rules(rules), named))


def _surface(given: object) -> Surface:
    if isinstance(given, Surface):
        return given
    if callable(given):
        return Surface.of(given)
    raise UsageError(f"{given!r} is neither a rule, a surface nor a function f(x, y)")


def found_in(names: dict[str, Any], module: str) -> list[Rule | Surface | Callable[..., Any]]:
    """What of a person's module belongs on the page.

    Args:
        names: the module's variables.
        module: its name; what it only imports stays off the page.

    Returns:
        Its rules, its surfaces, and its functions of two arguments named x and y.
    """
    from ..rules import registry
    from ..surfaces import registry as surface_registry

    built_in = {id(each) for each in (*registry().values(), *surface_registry().values())}
    found = [
        each
        for name, each in names.items()
        if not name.startswith("_")
        and id(each) not in built_in
        and (isinstance(each, Rule | Surface) or _of_x_and_y(each, module))
    ]
    return list({id(each): each for each in found}.values())


def _of_x_and_y(value: object, module: str) -> bool:
    if not inspect.isfunction(value) or value.__module__ != module:
        return False
    return list(inspect.signature(value).parameters) == ["x", "y"]


def core(rules: Iterable[Rule] = (), surfaces: Iterable[Surface] = ()) -> str:
    """The script that makes `window.thalweg`: what is generated, and what runs it.

    Args:
        rules, surfaces: a person's own.

    Raises:
        RuleError: a rule or function that cannot be recorded.
    """
    parts = [
        f"const VERSION = {json.dumps(__version__)};",
        javascript(rules, surfaces),
        *(_dense(_asset(f"core/{name}.js")) for name in CORE),
    ]
    return _script(parts)


def _dense(script: str) -> str:
    """A script without its indents and comments, which a browser does not need."""
    lines = (line.strip() for line in script.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def _script(parts: Iterable[str]) -> str:
    """One script of several files, which share their names with each other alone."""
    script = "\n".join(["(() => {", "'use strict';", *parts, "})();"])
    if "</script" in script.lower() or "<!--" in script:
        raise AssertionError("a script may not contain its own end")
    return script


def _render(core: str, rules: Iterable[str], own: Mapping[str, Sequence[str]]) -> str:
    styles = {name: LOOKS.index(look) for name, look in looks(rules).items()}
    known = [{"light": look.light, "dark": look.dark, "dash": look.dash} for look in LOOKS]
    parts = (_dense(_asset(f"page/{name}.js")) for name in PAGE)
    constants = {"LOOKS": known, "STYLES": styles, "OWN": own}
    page = _script([*(f"const {k} = {write(v, {})};" for k, v in constants.items()), *parts])
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in (core, page))
    return _template().render(
        hashes=Markup(hashes),
        style=Markup(_asset("page/page.css")),
        core=Markup(core),
        page=Markup(page),
        version=__version__,
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _template() -> Template:
    """The template of the page; what it shows is escaped unless it is Markup."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(_asset("page/page.html"))


@cache
def _asset(name: str) -> str:
    return (files(__package__) / "assets" / name).read_text(encoding="utf-8")
