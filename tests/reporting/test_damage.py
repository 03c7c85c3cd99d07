"""Whatever one value of a result is replaced by, the result is refused in one line, or every report can be made."""

from __future__ import annotations

import json
from typing import Any

import pytest

from f2edge.errors import InputError
from f2edge.reporting.bencher import bencher
from f2edge.reporting.markdown import markdown
from f2edge.reporting.page import render
from f2edge.reporting.results import Results
from tests.support.manifests import paths, replaced
from tests.support.measured import compared, evaluation, measurement, sustained


def whole() -> dict[str, Any]:
    """Return a result with everything that one can hold, of few runs."""
    return {**compared(), "curve": sustained(2)["curve"], "samples_ms": measurement(runs=2)["samples_ms"]}


@pytest.mark.parametrize("value", [None, -1, ...], ids=str)
def test_damaged_values(value: Any) -> None:
    """Negative times and unknown dates are odd, but no reason to fail; the page is made of those that are numbers."""
    pages = refused = 0
    for damaged, other in ((whole(), evaluation()), (evaluation(), measurement())):
        for place in (place for place in paths(damaged) if place[0] != "against"):
            try:
                found = Results.of([("damaged", replaced(damaged, place, value)), ("other", other)])
            except InputError as error:
                assert "\n" not in str(error)  # noqa: PT017 - those that are no error are checked below
                refused += 1
                continue
            assert markdown(found, "Results")
            assert json.dumps(bencher(found), allow_nan=False)
            if value == -1:
                assert render(found)
                pages += 1
    assert refused > 20
    assert (pages > 20) == (value == -1)
