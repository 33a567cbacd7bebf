"""`thalweg cache`: the folder of compiled kernels, its size, and how it is emptied."""

from __future__ import annotations

import argparse
import json
import os

_EXAMPLES = """\
examples:
  thalweg cache
      where the compiled kernels are, how many, and how large
  thalweg cache --clear
      remove them; a program that runs is not disturbed, and kernels are compiled anew when needed

The folder is $THALWEG_CACHE, else thalweg in $XDG_CACHE_HOME, else ~/.cache/thalweg.
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "cache",
        help="show or empty the folder of compiled kernels",
        description="Show the folder in which compiled kernels are kept, or empty it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--clear", action="store_true", help="remove the kernels")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show the folder, or empty it."""
    from ..engines import cache
    from ..errors import ThalwegError

    try:
        folder = cache.folder()
        if args.clear:
            count, size = cache.clear()
        else:
            sizes = [path.stat().st_size for path in cache.files()]
            count, size = len(sizes), sum(sizes)
    except RuntimeError as error:
        raise ThalwegError(f"{error}; set THALWEG_CACHE to a folder") from error
    if args.json:
        key = "removed" if args.clear else "files"
        print(json.dumps({"folder": str(folder), key: count, "bytes": size}))
        return 0
    chosen = " (THALWEG_CACHE)" if os.environ.get("THALWEG_CACHE") else ""
    files = f"{count:,} file{'s' * (count != 1)}, {size / 1e6:.1f} MB"
    print(f"{folder}{chosen}: {f'removed {files}' if args.clear else files}")
    return 0
