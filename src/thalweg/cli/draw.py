"""`thalweg draw`: a picture of optimizers walking down a surface."""

from __future__ import annotations

import argparse
import re

from ..errors import UsageError
from ..racing.option import number, whole
from ..surfaces import registry
from .load import load_rule, load_surface

_EXAMPLES = """\
examples:
  thalweg draw beale adam momentum rmsprop
      every optimizer at its own best learning rate, into beale.png
  thalweg draw beale adam momentum rmsprop --start 3,4 --out far.png
      from another start
  thalweg draw bowl sgd momentum --start -7,2 --steps 30 --lr sgd=0.95,momentum=0.1
      at learning rates of your own; an optimizer that is not named is searched
  thalweg draw rosenbrock sgd adam --lr 0.002 --noise 5 --seed 1 --out noisy.svg
      one learning rate for all, and the same gradient noise
  thalweg draw himmelblau adam my_rule.py:my_adam
      a rule of your own, made with @thalweg.rule in my_rule.py
  thalweg draw my_file.py:f adam --view -2,2,-1,3
      a function f(x, y) of your own, in arithmetic and thalweg.ops
  thalweg draw bowl,beale adam sgd --3d
      two surfaces, one below the other, in three dimensions
  thalweg draw beale adam momentum --out beale.gif
      an animation; .mp4 needs the program ffmpeg
  thalweg draw --list
      the surfaces
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "draw",
        help="draw optimizers walking down a surface",
        description="Draw the paths of optimizers over a surface f(x, y), and their losses:\n"
        "same start, same steps, same noise for all. Prints where the picture is and\n"
        "how each ended.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # Otherwise `--start -7,2` is taken for an option called -7,2.
    parser._negative_number_matcher = re.compile(r"-\.?\d")
    parser.add_argument(
        "surface",
        nargs="?",
        metavar="SURFACE",
        help="its name (see --list), or FILE.py:NAME for a function f(x, y) of your own; "
        "several with commas between them",
    )
    parser.add_argument(
        "rules",
        nargs="*",
        metavar="RULE",
        help="an optimizer (`thalweg rules` lists them), or FILE.py:NAME for one of your own",
    )
    parser.add_argument("--list", action="store_true", help="list the surfaces and stop")
    parser.add_argument(
        "--start", type=_start, metavar="X,Y", help="where all begin (default: the surface's own)"
    )
    parser.add_argument(
        "--view",
        type=_view,
        metavar="X0,X1,Y0,Y1",
        help="the part of the surface to draw (default: the surface's own; ±5 for one of yours)",
    )
    parser.add_argument(
        "--steps", type=whole, default=100, metavar="N", help="steps of each (default: %(default)s)"
    )
    parser.add_argument(
        "--lr",
        type=_lr,
        metavar="LR",
        help="learning rate: 0.01 for all, or adam=0.05,sgd=0.001 "
        "(default: searched for each, equally many tries)",
    )
    parser.add_argument(
        "--noise",
        type=number,
        default=0.0,
        metavar="S",
        help="standard deviation of noise on the gradient (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=whole, default=0, metavar="N", help="the noise's seed (default: %(default)s)"
    )
    parser.add_argument(
        "--3d",
        dest="three_d",
        action="store_true",
        help="draw the surface in three dimensions, not by its contours",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="the picture: .png, .svg or .pdf; an animation: .gif or .mp4 (default: SURFACE.png)",
    )
    parser.set_defaults(run=_draw)


def _draw(args: argparse.Namespace) -> int:
    """Draw what the arguments ask for, or list the surfaces."""
    if args.list:
        print(_list())
        return 0
    if args.surface is None:
        raise UsageError("name a surface and one or more optimizers; --list shows the surfaces")
    surfaces = [load_surface(name, args.view, args.start) for name in args.surface.split(",")]
    names = [surface.name for surface in surfaces]
    if not args.rules:
        raise UsageError(
            f"name one or more optimizers to draw on {' and '.join(names)}, as in "
            f"`thalweg draw {args.surface} sgd momentum adam`"
        )
    rules = [load_rule(spec) for spec in args.rules]

    from ..plotting import FILMS, FORMATS, check_file, check_film, save, save_film
    from ..surfaces.figures import figure
    from ..surfaces.trajectory import trajectory

    file = check_file(args.out or f"{'-'.join(names)}.png", formats=(*FORMATS, *FILMS))
    film = file.suffix.lower() in FILMS
    if film:
        check_film(file)
    results = [
        trajectory(
            rules, surface, args.start, args.steps, lr=args.lr, noise=args.noise, seed=args.seed
        )
        for surface in surfaces
    ]
    drawn = figure(*results, three_d=args.three_d)
    print(f"wrote {save_film(drawn, file) if film else save(drawn, file)}")
    print(*results, sep="\n\n")
    return 0


def _list() -> str:
    width = max(map(len, registry()))
    return "\n".join(f"{name:<{width}}  {s.title}" for name, s in registry().items())


def _start(text: str) -> tuple[float, float]:
    try:
        x, y = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not X,Y, as in 3,4") from None
    return x, y


def _view(text: str) -> tuple[float, float, float, float]:
    try:
        left, right, bottom, top = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not X0,X1,Y0,Y1, as in -2,2,-1,3") from None
    return left, right, bottom, top


def _lr(text: str) -> float | dict[str, float]:
    try:
        if "=" not in text:
            return float(text)
        pairs = [item.split("=") for item in text.split(",")]
        return {name.strip(): float(rate) for name, rate in pairs}
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a number nor NAME=NUMBER,…, as in adam=0.05,sgd=0.001"
        ) from None
