"""A page during a race: always whole, ended by a killed race, and the final one in the end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import thalweg as tw
from chromium import Chromium
from report_pages import HOSTILE, browser
from report_sample import race as made
from thalweg.errors import UsageError
from thalweg.racing.live import Live as Telling
from thalweg.racing.watcher import Silence
from thalweg.records import Store
from thalweg.report import follow, html

REFRESH = '<meta http-equiv="refresh"'
ENDED = "The race has ended before it was finished"


def until(found: Callable[[], bool], seconds: float = 90.0) -> None:
    """Wait until something is so, for as long as a slow machine may take."""
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end
        time.sleep(0.05)


def read(page: Path) -> str:
    """The page, which is there whole or not at all."""
    shown = page.read_text(encoding="utf-8") if page.exists() else ""
    assert not shown or shown.endswith("</html>\n")
    return shown


# --- what is understood ---------------------------------------------------------------------


def test_lines_are_understood_wherever_they_are_cut() -> None:
    said = [
        {"stage": "learning rates", "done": 0, "total": 40},
        {"done": 10, "total": 40},
        {"note": "a worker died; π"},
        {"finished": True},
    ]
    data = b"".join(json.dumps(line).encode() + b"\n" for line in said)
    for size in (1, 7, len(data)):
        heard = follow.Heard()
        for k in range(0, len(data), size):
            heard.take(data[k : k + size])
        assert (heard.stage, heard.done, heard.total) == ("learning rates", 10, 40)
        assert heard.finished
        live = heard.live("x")
        assert live.percent == 25
        assert live.notes == ("a worker died; π",)
        assert "left" in live.left


def test_a_folder_is_needed() -> None:
    with pytest.raises(UsageError, match="live=True shows the page in the race's folder"):
        tw.race("spiral-mlp", optimizers=["adam"], live=True)


def test_a_page_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(UsageError, match="is no page of thalweg's"):
        tw.race("quadratic:dim=4", optimizers=["sgd"], out=tmp_path, live=True)
    assert (tmp_path / "report.html").read_text() == "mine"


def test_a_full_or_broken_pipe_stops_nothing(tmp_path: Path) -> None:
    with Telling(Silence(), tmp_path) as telling:
        os.kill(telling.process.pid, signal.SIGSTOP)
        for k in range(20_000):  # 64 KiB fill a pipe
            telling.say(f"line {k} of many that there is no room for")
        os.kill(telling.process.pid, signal.SIGKILL)
        telling.process.wait()
        telling.stage("goes on", 10)


# --- a process that follows -----------------------------------------------------------------


def test_a_page_follows_the_records(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    telling = Telling(Silence(), tmp_path).__enter__()
    telling.stage(f"learning rates {HOSTILE}", 100)
    until(lambda: "No run is recorded yet" in read(page) and "learning rates" in read(page))
    assert REFRESH in read(page)
    assert "<img" not in read(page)
    _, records = made(2, 1, 2)
    Store(tmp_path / "records").add(records)
    until(lambda: 'id="results"' in read(page))
    assert "This race is not finished" in read(page)
    assert REFRESH in read(page)
    telling.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    until(lambda: ENDED in read(page))
    assert REFRESH not in read(page)
    assert telling.process.wait(30) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"records", "report.html"}


def test_a_race_ends_with_its_own_page(tmp_path: Path) -> None:
    found = tw.race(
        "quadratic:dim=4",
        optimizers=["sgd", "momentum"],
        budget=2,
        seeds=2,
        epochs=2,
        out=tmp_path,
        live=True,
    )
    shown = read(tmp_path / "report.html")
    assert REFRESH not in shown
    assert 'class="live"' not in shown
    assert found.result.verdict.sentence[:20] in shown


def test_a_killed_race_leaves_a_whole_page(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    options = [
        "--optimizers",
        "sgd,adam",
        "--budget",
        "9",
        "--seeds",
        "60",
        "--epochs",
        "60",
        "--live",
        "--no-prune",
    ]
    command = [sys.executable, "-m", "thalweg", "race", "spiral-mlp", *options]
    running = subprocess.Popen(
        [*command, "--out", str(tmp_path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: bool(re.search(r"learning rates: \d+ runs", read(page))))
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    until(lambda: ENDED in read(page))
    assert REFRESH not in read(page)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@browser
def test_a_live_page_keeps_the_view(tmp_path: Path) -> None:
    document, records = made(2, 1, 2)
    live = follow.Live("learning rates", 37.5, "about 3 min left", ("a note",), refresh=1)
    page = tmp_path / "report.html"
    page.write_text(html.render(document, records, live=live), encoding="utf-8")
    with Chromium(tmp_path) as chromium:
        chromium.open(page.as_uri() + "#view&curve=train_loss&curves.x=100,300")
        chromium.evaluate("window.before = true")
        seen = "[window.before, document.body.dataset.ready, location.hash, "
        seen += "document.querySelector('progress').value]"

        def again() -> bool:
            with suppress(RuntimeError):  # as the page is left for the next one
                found = chromium.evaluate(seen)
                return found == [None, "", "#view&curve=train_loss&curves.x=100,300", 37.5]
            return False

        until(again)
        assert chromium.messages == []
