"""`thalweg report`: draw a race again from what it left in its folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from ..report.folders import Folder

_EXAMPLES = """\
examples:
  thalweg report races/digits-mlp
      report.html in that folder, drawn again from race.json and the records
  thalweg report races/digits-mlp --out digits.html
      somewhere else
  thalweg report races/digits-mlp --figures figures
      a PNG and a PDF of each figure in the folder figures
  thalweg report races/digits-mlp --markdown > digits.md
      a summary in Markdown
  thalweg report races/digits-mlp --methods
      a paragraph for a paper's section on method, and BibTeX for what it cites
  thalweg report races/mine races/theirs --out both.html
      two races side by side, and what sets them apart
  thalweg report races
      a page for every race in the folder, and index.html, which lists them

A race that is not finished is drawn as far as it is, without a verdict.
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "report",
        help="draw a race again: page, figures, Markdown, a paragraph for a paper",
        description="Draw a race from the files in its folder. Nothing is trained.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="the folder of a race, or one that holds such folders; several are shown side by side",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="where the page goes (default: DIR/report.html; index.html for a folder of races, "
        "comparison.html here for several)",
    )
    parser.add_argument(
        "--figures", type=Path, metavar="OUT", help="write a PNG and a PDF of each figure there"
    )
    parser.add_argument(
        "--markdown", action="store_true", help="print a summary in Markdown instead"
    )
    parser.add_argument(
        "--methods",
        action="store_true",
        help="print a paragraph on the method and BibTeX entries instead",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a file that thalweg did not write"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Draw what was asked for, and say where it is."""
    from ..report import folders

    if len(args.folder) > 1:
        return _compare(args)
    (folder,) = args.folder
    found = folders.read(folder)
    for note in _notes(found):
        print(note, file=sys.stderr)
    _print(args, found)
    if args.figures is not None:
        from ..report import pictures

        for path in pictures.write(found, args.figures):
            print(path)
    if args.out is not None or not (args.markdown or args.methods or args.figures):
        from ..report.pages import write

        named = args.out or folder / ("index.html" if found.inside else "report.html")
        for page in write(found, named, overwrite=args.overwrite):
            print(f"report: {page}", file=sys.stderr)
    return 0


def _notes(found: Folder) -> Iterator[str]:
    """What a reader should know of the files: all notes of races, and what cannot be read."""
    for race in found.races:
        yield from race.notes
    for _, each in found.inside:
        if isinstance(each, str):
            yield each


def _print(args: argparse.Namespace, found: Folder) -> None:
    """Print what was asked for as text."""
    from ..report import markdown, paper

    documents = [race.document for race in found.races]
    if args.markdown:
        if found.together is not None:
            print(markdown.together(found.together))
        print("\n".join(markdown.summary(document) for document in documents), end="")
    if args.methods:
        for document in documents:
            if words := paper.paragraph(document):
                print(f"{words}\n\n{paper.bibtex(document)}")
            else:
                print(f"{document.task}: no method yet to tell of", file=sys.stderr)


def _compare(args: argparse.Namespace) -> int:
    """Draw several races side by side."""
    from ..report import folders
    from ..report.pages import compare

    for flag in ("markdown", "methods", "figures"):
        if getattr(args, flag):
            raise UsageError(f"--{flag} is of one race; name one folder")
    races = folders.read_several(args.folder)
    for race in races:
        for note in race.notes:
            print(note, file=sys.stderr)
    page = compare(races, args.out or Path("comparison.html"), overwrite=args.overwrite)
    print(f"report: {page}", file=sys.stderr)
    return 0
