"""One model for the tests of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from starlette.testclient import TestClient

import f2edge
from f2edge.serve.app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
