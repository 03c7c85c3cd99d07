"""The page of a server in a browser, and what a person does with it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.support.chromium import Faults
from tests.support.serving import PATIENCE, picture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page, Request

    from tests.support.serving import Live

WIDE = (1280, 800)
NARROW = (360, 740)


class Visit:
    """An open page.

    Args:
        page: the page, as playwright sees it.
        faults: what it must not do.
    """

    def __init__(self, page: Page, faults: Faults) -> None:
        self.page, self.faults = page, faults
        self.questions: list[Request] = []
        page.on("request", lambda request: request.url.endswith("/v1/stream") and self.questions.append(request))

    def give(self, content: bytes | None = None, name: str = "street.png") -> None:
        """Choose a picture file."""
        file = {"name": name, "mimeType": "image/png", "buffer": content or picture()}
        self.page.set_input_files("#choose", [file])  # type: ignore[list-item]
        self.page.wait_for_selector("#frame:not([hidden])")

    def start(self, task: str, **fields: str) -> None:
        """Choose a task, fill fields by their ids, and ask."""
        self.page.select_option("#task", task)
        self.page.evaluate("document.querySelector('#more').open = true")
        for field, value in fields.items():
            self.page.fill(f"#{field}", value)
        self.page.click("#ask")

    def ask(self, task: str, **fields: str) -> str:
        """Ask, and wait for the end of the answer; return the line that tells how it ended."""
        self.start(task, **fields)
        self.page.wait_for_selector("#ask:not([hidden])")
        return self.text("#status")

    def text(self, selector: str) -> str:
        """Return the text of an element as it is shown."""
        return self.page.inner_text(selector)

    def listing(self, language: str) -> str:
        """Return the code of the question in a language."""
        self.page.check(f"input[value={language}]", force=True)
        return self.page.text_content("#listing") or ""

    @property
    def sent(self) -> list[str]:
        """How each question came to the server: as a form with the picture, or as JSON with its id."""
        return [question.headers["content-type"].partition(";")[0] for question in self.questions]

    @property
    def record(self) -> dict[str, Any]:
        """The answer as the page shows it in JSON."""
        record: dict[str, Any] = json.loads(self.listing("json"))
        return record


@contextmanager
def visit(browser: Browser, live: Live, size: tuple[int, int] = WIDE, **context: Any) -> Iterator[Visit]:
    """Open the page of a server; in the end it must not have failed, or asked anyone but its server."""
    opened = browser.new_context(viewport={"width": size[0], "height": size[1]}, **context)
    page = opened.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    visited = Visit(page, Faults(page, live.url))
    page.goto(live.url)
    yield visited
    opened.close()
    assert (visited.faults.console, visited.faults.outside) == ([], [])


def wait_for_tasks(visited: Visit) -> None:
    """Wait until the page has read the tasks of its server."""
    visited.page.locator("#task option").first.wait_for(state="attached")
