"""A real browser for tests of pages: headless Chromium, driven by playwright."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

PATH = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_OWN = ("data", "blob")
_FAILED_LOAD = "Failed to load resource"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser; the test is skipped where there is none.

    Playwright has an event loop of its own in this thread until the browser is closed.
    """
    if PATH is None:
        pytest.skip("there is no Chromium: install the package chromium of Debian, or Google Chrome")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=PATH, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Faults:
    """What a page must not do, as it happens.

    Args:
        page: the page, before it is opened.
        origin: the scheme, host and port that it may send requests to.
    """

    def __init__(self, page: Page, origin: str) -> None:
        self.console: list[str] = []
        self.refused: list[str] = []
        """Errors in the console about answers of the server that are no success: browsers write them by themselves."""
        self.outside: list[str] = []
        self._origin = origin
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.console.append(str(error)))
        page.on("request", self._requested)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            (self.refused if message.text.startswith(_FAILED_LOAD) else self.console).append(message.text)

    def _requested(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in _OWN and f"{parts.scheme}://{parts.netloc}" != self._origin:
            self.outside.append(request.url)
