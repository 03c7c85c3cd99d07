"""The page of results is what the report makes of the measurements beside it."""

from __future__ import annotations

from results_page import PAGE, page


def test_the_page_is_up_to_date() -> None:
    """After a change of the measurements or of the report, ``python benchmarks/results_page.py`` writes it anew."""
    assert PAGE.read_text("utf-8") == page()
