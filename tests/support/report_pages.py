"""Pages of reports, as a test reads them: parsed, with hostile texts, or drawn by a browser."""

from __future__ import annotations

import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

HOSTILE = (
    "</script><script>document.title='owned'</script>"
    "<img src=x onerror=\"document.title='owned'\">&'"
)


class Page(HTMLParser):
    """All start tags with their attributes, and the text inside each kind of element."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {}
        self._open = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        self.inside.setdefault(self._open, []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def renamed(value: Any, to: str) -> Any:
    """The same document with every text replaced that is not one of a few."""
    if isinstance(value, dict):
        return {k: v if k in ("schema", "stage") else renamed(v, to) for k, v in value.items()}
    if isinstance(value, list):
        return [renamed(v, to) for v in value]
    return to if isinstance(value, str) else value


BROWSER = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)
browser = pytest.mark.skipif(BROWSER is None, reason="no chromium found (apt install chromium)")


def drawn(page: str, folder: Path) -> str:
    """The page's elements after its script has run; fails on any message on the console."""
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    switches = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-sync",
        "--disable-background-networking",
        "--disable-component-update",
        "--enable-logging=stderr",
        "--window-size=1280,2400",
        "--virtual-time-budget=4000",
        "--dump-dom",
        f"--user-data-dir={folder / 'profile'}",
    ]
    done = subprocess.run(
        [str(BROWSER), *switches, file.as_uri()],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=True,
    )
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    return done.stdout
