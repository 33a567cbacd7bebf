"""`thalweg play`: the page on which optimizers walk down surfaces."""

from __future__ import annotations

import argparse

_EXAMPLES = """\
examples:
  thalweg play
      open the page in the browser
  thalweg play --out play.html
      write it to a file, to send or to open later; it needs no network
  thalweg play my_rules.py
      with your own on it: every rule made with @thalweg.rule in my_rules.py, every
      thalweg.surfaces.Surface, and every function of two arguments named x and y
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "play",
        help="watch optimizers walk down surfaces, in the browser",
        description="Open a page in the browser: choose a surface or type a function, drag the\n"
        "start, choose optimizers and turn their hyperparameters. The page is one file and\n"
        "works offline.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE.py",
        help="with rules and surfaces of your own",
    )
    parser.add_argument(
        "--out", metavar="FILE", help="write the page to this file, and open no browser"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the page; write or open it."""
    from ..errors import UsageError
    from ..playground.page import found_in, play, show
    from .load import run_file

    own = []
    for file in args.files:
        module = run_file(file)
        found = found_in(vars(module), module.__name__)
        if not found:
            raise UsageError(
                f"{file} has nothing for the page; put @thalweg.rule above a formula in it, or "
                "write a function of x and y: def valley(x, y): …"
            )
        own += found
    page = play(*own)
    if args.out is not None:
        print(f"wrote {page.write(args.out)}")
        return 0
    file = page.write_temporary()
    if not show(file):
        print(f"wrote {file}; there is no screen here, so open it in a browser elsewhere")
    return 0
