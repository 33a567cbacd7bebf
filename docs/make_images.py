"""Make the pictures of docs/images anew: paths on surfaces, `thalweg play`, a race's report.

Run it after the report or a figure has changed: `make images`. It needs Chromium, to draw the page.
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
from thalweg.plotting import save
from thalweg.surfaces.figures import figure

HERE = Path(__file__).parent
IMAGES = HERE / "images"
EXAMPLE = HERE.parent / "examples" / "notes_pictures.py"
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
    stream = io.BytesIO()
    with Image.open(picture) as opened:
        opened.convert("RGB").quantize(COLOURS).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def main() -> None:
    """Draw, race, photograph."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=IMAGES, help="(default: %(default)s)")
    parser.add_argument("--race", type=Path, help="the folder of a race that is finished")
    options = parser.parse_args()
    program = browser()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, trajectory in runpy.run_path(str(EXAMPLE))["pictures"]().items():
        print(save(figure(trajectory), options.out / f"{name}.png"))
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
