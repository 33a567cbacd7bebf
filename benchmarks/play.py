"""The page of `thalweg play` in a browser: nine rules over 2,000 steps after a slider has moved."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

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
