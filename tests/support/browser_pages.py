"""Pages in the system's Chromium, driven by Playwright as a person uses them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Request, sync_playwright

from browsers import CHROMIUM


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, without a window."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, file: Path, hash: str = "", **options: Any) -> Iterator[Page]:
    """A page in a context of its own; errors of its scripts and requests fail the test.

    Args:
        browser: of `chromium`.
        file: the page.
        hash: the address's, with its #.
        **options: of the context, such as viewport or color_scheme.
    """
    troubles: list[str] = []

    def asked(request: Request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            troubles.append(f"request {request.url}")

    context = browser.new_context(**{"reduced_motion": "reduce", **options})
    page = context.new_page()
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda said: troubles.append(f"{said.type}: {said.text}"))
    page.on("request", asked)
    page.goto(file.as_uri() + hash)
    page.wait_for_selector("html[data-ready=true]", state="attached")
    try:
        yield page
    finally:
        context.close()
    assert not troubles
