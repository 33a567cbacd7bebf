"""The page of `thalweg play` in a browser: nine rules over 2,000 steps after a slider has moved.

Measured are the paths alone, on every surface, and on Beale's function the whole page: drawing it
anew after a slider has moved, and the time from frame to frame while it plays.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

import thalweg as tw
from common import Record, parser
from thalweg.bench.timing import Spread
from thalweg.playground import regression
from thalweg.playground.page import core
from thalweg.surfaces import registry

RULES = ["sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "nadam", "lion"]
STEPS, ROUNDS, TARGET = 2000, 60, 16.0  # milliseconds: one frame of a screen

# A round moves the slider of the learning rate and computes all paths anew. Rates are small, so
# that no path ends early.
_SCRIPT = """
const T = window.thalweg;
const {rules, steps, rounds, surfaces} = SETTING;
const found = {};
for (const surface of surfaces) {
  const times = [];
  for (let round = 0; round < rounds; round++) {
    const hyper = {lr: 1e-8 * (1 + round / rounds)};
    const begun = performance.now();
    let taken = 0;
    for (const rule of rules) taken += T.path({rule, surface, steps, hyper, ...OPTIONS}).steps;
    times.push(performance.now() - begun);
    if (taken !== rules.length * steps) throw new Error(`${surface}: a path ended early`);
  }
  found[surface] = times;
}
document.getElementById('answer').textContent = JSON.stringify(found);
"""

# `redraw` is what the page asks the browser to call before its next frame.
_PAGE = """
async ({rules, steps, rounds, view}) => {
  const hyper = (lr) => Object.fromEntries(rules.map((rule) => [rule, {lr}]));
  const drawn = [];
  const ask = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = (call) => ask((time) => {
    const begun = performance.now();
    call(time);
    if (call.name === 'redraw') drawn.push(performance.now() - begun);
  });
  const frame = () => new Promise((done) => ask(() => done(performance.now())));
  thalweg.set({surface: 'beale', rules, steps, step: steps, view, hyper: hyper(1e-4)});
  await frame();
  await frame();
  drawn.length = 0;
  for (let k = 1; k <= rounds; k++) {
    thalweg.set({hyper: hyper(1e-4 * (1 + k / rounds))});
    await frame();
    await frame();
  }
  const slider = drawn.slice();
  thalweg.set({step: 0});
  const speed = document.getElementById('speed');
  speed.value = '300';
  speed.dispatchEvent(new Event('change'));
  document.getElementById('go').click();
  const stamps = [];
  while (stamps.length < 4 * rounds && thalweg.state().step < steps) stamps.push(await frame());
  document.getElementById('go').click();
  return {slider, gaps: stamps.slice(1).map((time, k) => time - stamps[k])};
}
"""


def main() -> None:
    """Measure, print, and keep the result."""
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if browser is None:
        raise SystemExit("this needs chromium")
    options = parser(__doc__ or "").parse_args()
    record = Record("play", options)
    rounds = 5 if options.quick else ROUNDS
    rows = []
    for noise in (0.0, 0.1):
        for surface, times in measured(browser, rounds, noise).items():
            spread = Spread.of(times[len(times) // 5 :])  # the first ones compile
            rows.append(
                {
                    "surface": surface,
                    "noise": noise,
                    "milliseconds": spread.median,
                    "low": spread.low,
                    "high": spread.high,
                    "first": times[0],
                    "met": spread.median <= TARGET,
                }
            )
            print(f"{surface:16} noise {noise}: {spread.median:6.2f} ms, first {times[0]:6.1f} ms")
    record.document |= {
        "rules": RULES,
        "steps": STEPS,
        "target_milliseconds": TARGET,
        "browser": version(browser),
        "rows": rows,
        "page": whole_page(browser, rounds),
        "met": all(row["met"] for row in rows),
    }
    record.close()


def measured(browser: str, rounds: int, noise: float) -> dict[str, list[float]]:
    """Milliseconds of each round on each surface."""
    setting = {
        "rules": RULES,
        "steps": STEPS,
        "rounds": rounds,
        "surfaces": [*registry(), regression.NAME],
    }
    script = _SCRIPT.replace("SETTING", json.dumps(setting))
    script = script.replace("OPTIONS", json.dumps({"noise": noise}))
    page = f"<pre id=answer></pre><script>{core()}\n{script}</script>"
    found: dict[str, list[float]] = json.loads(answer(browser, page))
    return found


def whole_page(browser: str, rounds: int) -> list[dict[str, Any]]:
    """Milliseconds to draw the page anew, and between its frames while it plays, by view."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        file = tw.play().write(Path(folder) / "play.html")
        program = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for view in ("map", "3d"):
            page = program.new_page(viewport={"width": 1400, "height": 900})
            page.goto(file.as_uri() + "#steps=2")
            page.wait_for_selector("html[data-ready=true]", state="attached")
            setting = {"rules": RULES, "steps": STEPS, "rounds": rounds, "view": view}
            found = page.evaluate(_PAGE, setting)
            slider, gap = Spread.of(found["slider"]), Spread.of(found["gaps"])
            print(f"{view}: drawn in {slider.median:.1f} ms, a frame every {gap.median:.1f} ms")
            rows.append({"view": view, "slider": slider.median, "frame": gap.median})
            rows[-1] |= {"slider_high": slider.high, "frame_high": gap.high}
        program.close()
    return rows


def answer(browser: str, page: str) -> str:
    """The text of the element `answer` after the page's scripts have run."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(page, encoding="utf-8")
        switches: list[Any] = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        switches += ["--dump-dom", f"--user-data-dir={folder}/profile", file.as_uri()]
        done = subprocess.run(
            [browser, *switches], capture_output=True, encoding="utf-8", check=True, timeout=300
        )
    text = done.stdout.partition('<pre id="answer">')[2].partition("</pre>")[0]
    if not text:
        raise SystemExit("the page did not finish")
    return text


def version(browser: str) -> str:
    """The browser's name and version."""
    return subprocess.run(
        [browser, "--version"], capture_output=True, encoding="utf-8", check=True
    ).stdout.strip()


if __name__ == "__main__":
    main()
