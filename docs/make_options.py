"""Write docs/options.md, the reference of a race's options, from where they are defined.

Run it after an option has changed: `python docs/make_options.py`.
"""

from __future__ import annotations

from pathlib import Path

from thalweg.racing.option import Option, flag_of, in_shell, switch
from thalweg.racing.options import OPTIONS, type_of

PAGE = Path(__file__).with_name("options.md")
_INTRODUCTION = """\
# Options of a race

<!-- Made by docs/make_options.py from racing/options.py; changes made here are overwritten. -->

`thalweg.race(task, …)` and `thalweg.races([task, …], …)` take these as keyword arguments, and
`thalweg race TASK …` on the command line; each is defined once, in `racing/options.py`. What they
change is explained in [races](races.md), and what a task may say itself in
[your own model](tasks.md).
"""


def page() -> str:
    """The whole page."""
    sections = [_INTRODUCTION]
    sections += [_section(name, option) for name, option in OPTIONS.items()]
    return "\n".join(sections)


def _section(name: str, option: Option) -> str:
    shown = f'"{option.default}"' if isinstance(option.default, str) else option.default
    lines = [f"## `{name}`\n", f"- Python: `{name}: {type_of(name)} = {shown}`"]
    if option.read is not None:
        flag = flag_of(name, option)
        value = option.metavar or "|".join(option.choices)
        lines.append(f"- Command line: `{flag}{'' if option.read is switch else f' {value}'}`")
    about = f"{option.about[0].upper()}{option.about[1:]}."
    lines.append(f"\n{about}")
    if option.python:
        lines.append(f"In Python: {option.python}.")
    if option.shell:
        said = in_shell(option) if option.flag.startswith("--no-") else option.shell
        lines.append(f"On the command line: {said}.")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
