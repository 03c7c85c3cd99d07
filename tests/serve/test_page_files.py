"""The files of the page: those that were there at the start, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from f2edge.serve.page_files import Page, page_files
from f2edge.serve.refusals import Refusal

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response


@pytest.fixture
def page(tmp_path: Path) -> TestClient:
    """Return a client of a page of three files, beside which other files lie."""
    for name in ("index.html", "page.js", "icon.svg", "notes.txt", "secret"):
        (tmp_path / name).write_text(name)
    (tmp_path / "folder.js").mkdir()
    served = Page(page_files(tmp_path))
    (tmp_path / "later.js").write_text("later")

    async def handle(request: Request) -> Response:
        try:
            return await served(request)
        except Refusal as refusal:
            return refusal.response()

    return TestClient(Starlette(routes=[Route("/", handle), Route("/page/{name}", handle)]))


def test_files_have_their_types_and_a_policy(page: TestClient) -> None:
    """Nothing may be loaded from elsewhere, and no script may stand in the page itself."""
    kinds = {"/": "text/html", "/page/page.js": "text/javascript", "/page/icon.svg": "image/svg+xml"}
    for path, kind in kinds.items():
        answer = page.get(path)
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, kind)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in policy


def test_an_unchanged_file_is_not_sent_again(page: TestClient) -> None:
    """Status 304."""
    tag = page.get("/").headers["etag"]
    again = page.get("/", headers={"if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["notes.txt", "secret", "folder.js", "later.js", "%2e%2e%2fsecret", "page.js%00"])
def test_other_files_are_not_there(name: str, page: TestClient) -> None:
    """Of another kind, made later, or by a path."""
    assert page.get(f"/page/{name}").status_code == 404


def test_without_a_page(tmp_path: Path) -> None:
    """A folder that is missing has no files."""
    assert page_files(tmp_path / "missing") == {}
