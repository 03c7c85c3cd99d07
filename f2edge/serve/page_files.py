"""The files of the page: a fixed list of names, read once; no path of a request is ever opened."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from starlette.responses import Response

from f2edge.serve.refusals import Refusal

if TYPE_CHECKING:
    from importlib.abc import Traversable

    from starlette.requests import Request

_KINDS = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {"cache-control": "no-cache", "content-security-policy": _POLICY, "referrer-policy": "no-referrer"}
INDEX = "index.html"


class PageFile(NamedTuple):
    """One file of the page."""

    content: bytes
    kind: str
    etag: str


def page_files(folder: Traversable | None = None) -> dict[str, PageFile]:
    """Return the files of the page by name; those of the package, unless a folder is given."""
    folder = folder or files("f2edge.serve") / "page"
    if not folder.is_dir():
        return {}
    found = {}
    for entry in folder.iterdir():
        kind = _KINDS.get(f".{entry.name.rpartition('.')[2]}")
        if kind and entry.is_file():
            content = entry.read_bytes()
            found[entry.name] = PageFile(content, kind, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
    return found


class Page:
    """Serves the files of the page at ``/`` and ``/page/NAME``."""

    def __init__(self, known: dict[str, PageFile]) -> None:
        self._known = known

    async def __call__(self, request: Request) -> Response:
        """Return a file of the page.

        Raises:
            Refusal: there is none of this name.
        """
        file = self._known.get(request.path_params.get("name", INDEX))
        if file is None:
            raise Refusal(404, "not_found", "the page has no such file")
        headers = {**_HEADERS, "etag": file.etag}
        if request.headers.get("if-none-match") == file.etag:
            return Response(status_code=304, headers=headers)
        return Response(file.content, headers=headers, media_type=file.kind)
