"""JavaScript as tests run it: by Node, or by a browser without a window."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from thalweg.playground.page import core

NODE = shutil.which("node")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_node = pytest.mark.skipif(NODE is None, reason="there is no node on this machine")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium found (apt install chromium)"
)

# JSON has no infinities: they come as text, which float() reads.
_SPELLED = """
const spelled = (_, x) => (typeof x === 'number' && !Number.isFinite(x) ? `${x}` :
  ArrayBuffer.isView(x) ? Array.from(x) : x);
"""


def node(script: str) -> str:
    """What a script prints under Node."""
    assert NODE is not None
    done = subprocess.run([NODE, "-"], input=script, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@cache
def built_in_core() -> str:
    """The core of the page, with the built-in rules and surfaces."""
    return core()


def answer(expression: str, script: str | None = None) -> Any:
    """An expression of `T`, which is `window.thalweg`, under Node; it may be a promise.

    Args:
        expression: a JavaScript expression whose value JSON can hold.
        script: the core; that of the built-in rules if None.
    """
    program = f"""
globalThis.window = globalThis;
{script or built_in_core()}
{_SPELLED}
const T = window.thalweg;
const refused = (call) => {{
  try {{ call(); return null; }} catch (error) {{ return `${{error.name}}: ${{error.message}}`; }}
}};
Promise.resolve({expression}).then((value) => console.log(JSON.stringify(value, spelled)));
"""
    return json.loads(node(program))


def in_chromium(script: str, folder: Path) -> Any:
    """What a script sets `answer` to in Chromium, through JSON."""
    text = f"<!doctype html><title>t</title><pre id=answer></pre><script>{script}\n"
    text += "document.getElementById('answer').textContent = JSON.stringify(answer);</script>"
    page = folder / "page.html"
    page.write_text(text, encoding="utf-8")
    switches = (
        "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
        f"--dump-dom --user-data-dir={folder / 'profile'}"
    ).split()
    done = subprocess.run(
        [str(CHROMIUM), *switches, page.as_uri()],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=True,
    )
    found = done.stdout.partition('<pre id="answer">')[2].partition("</pre>")[0]
    return json.loads(found)
