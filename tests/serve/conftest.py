"""One model for the tests of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from starlette.testclient import TestClient

import f2edge
from f2edge.serve.app import create_app
from tests.support.chromium import chromium
from tests.support.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

    from tests.support.serving import Live


@pytest.fixture(scope="session")
def model(tiny_bundle: Path) -> Iterator[f2edge.Florence2]:
    """Return the tiny bundle, opened."""
    with f2edge.load(tiny_bundle) as opened:
        yield opened


@pytest.fixture(scope="session")
def client(model: f2edge.Florence2) -> Iterator[TestClient]:
    """Return a client of a server that nobody else asks."""
    app = create_app(model)
    yield TestClient(app, base_url="http://localhost")
    app.state.service.room.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a browser."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def live(model: f2edge.Florence2) -> Iterator[Live]:
    """Return a server with the page."""
    with serving(model) as server:
        yield server
