"""Make the pictures of docs/images anew: surfaces, a network's loss, `thalweg play`, a report.

Run it after the report or a figure has changed: `make images`. It needs Chromium, to draw pages;
with `--drawn` it makes only the pictures that need none.
"""

from __future__ import annotations

import argparse
import io
import runpy
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

import thalweg as tw
from thalweg.cli import main as command
from thalweg.plotting import save, save_film
from thalweg.surfaces.figures import figure

HERE = Path(__file__).parent
IMAGES = HERE / "images"
EXAMPLES = HERE.parent / "examples"
TASK = "digits-mlp"
REPORT = (1200, 1900)  # pixels: the page down to its first chart
PLAY = (1400, 1000)
PLAYED = (
    "#surface=bowl&rules=sgd,momentum,nesterov,adam&active=momentum&steps=60&step=14"
    "&sgd.lr=0.95&momentum.lr=0.1&nesterov.lr=0.1&adam.lr=0.5&lang=en&theme=light"
)
COLOURS = 256
PATIENCE = 120.0  # seconds for the browser


def browser() -> str:
    """The path of Chromium.

    Raises:
        SystemExit: it is not installed.
    """
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    raise SystemExit("this needs chromium")


def photographed(program: str, page: str, size: tuple[int, int], folder: Path) -> bytes:
    """A page as a browser draws it, as a PNG of few colours.

    Args:
        program: the browser.
        page: the address of an HTML file.
        size: width and height in pixels.
        folder: for what the browser writes.
    """
    picture = folder / "page.png"
    subprocess.run(
        [
            program,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--hide-scrollbars",
            "--virtual-time-budget=10000",
            f"--window-size={size[0]},{size[1]}",
            f"--user-data-dir={folder / 'profile'}",
            f"--screenshot={picture}",
            page,
        ],
        capture_output=True,
        check=True,
        timeout=PATIENCE,
    )
    return with_few_colours(picture)


def with_few_colours(picture: Path) -> bytes:
    """A picture as a PNG of few colours, which is smaller."""
    stream = io.BytesIO()
    with Image.open(picture) as opened:
        opened.convert("RGB").quantize(COLOURS).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def draw(folder: Path) -> None:
    """Draw paths on surfaces and the pictures of the gallery."""
    gallery = runpy.run_path(str(EXAMPLES / "gallery.py"))
    notes = runpy.run_path(str(EXAMPLES / "notes_pictures.py"))["pictures"]()
    figures = {name: figure(trajectory) for name, trajectory in notes.items()}
    for name, drawn in {**figures, **gallery["surfaces"](), **gallery["network"]()}.items():
        target = save(drawn, folder / f"{name}.png")
        target.write_bytes(with_few_colours(target))
        print(target)
    print(save_film(gallery["film"](), folder / "ravine.gif", dpi=gallery["DPI"]))


def main() -> None:
    """Draw, race, photograph."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=IMAGES, help="(default: %(default)s)")
    parser.add_argument("--race", type=Path, help="the folder of a race that is finished")
    parser.add_argument("--drawn", action="store_true", help="only what needs no browser")
    options = parser.parse_args()
    program = None if options.drawn else browser()
    options.out.mkdir(parents=True, exist_ok=True)
    draw(options.out)
    if program is None:
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.race or Path(scratch) / "race").resolve()
        if options.race is None:
            tw.race(TASK, out=folder)
        page = Path(scratch) / "report.html"
        if command(["report", str(folder), "--out", str(page)]):
            raise SystemExit(1)
        played = tw.play().write(Path(scratch) / "play.html")
        for name, address, size in (
            ("report", page.as_uri(), REPORT),
            ("play", played.as_uri() + PLAYED, PLAY),
        ):
            target = options.out / f"{name}.png"
            target.write_bytes(photographed(program, address, size, Path(scratch)))
            print(target)


if __name__ == "__main__":
    main()
