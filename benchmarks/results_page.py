"""Write docs/results.md out of the measurements in benchmarks/results/: python benchmarks/results_page.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from f2edge.reporting.markdown import markdown
from f2edge.reporting.results import Results

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
DEVICES = RESULTS / "devices"
"""Files as ``f2edge bench --json`` and ``f2edge eval --json`` print them."""
PAGE = ROOT / "docs" / "results.md"

_TITLE = "Results"
_INTRODUCTION = """\
Every measurement with `f2edge bench` that is in `benchmarks/results/`. Bundles of base size have
random weights, which is enough for times and says nothing about accuracy. Comparisons with other
ways to run the model, and measurements that were not made with `f2edge bench`, are on
[Performance](performance.md) and [Devices](devices.md).

To add a row, write the output of `f2edge bench BUNDLE --new-tokens 32 --runs 100 --json` into a file
in `benchmarks/results/devices/`, run `python benchmarks/results_page.py`, and open a pull request;
[Add your device](measure.md#add-your-device) has the details.
"""


def results() -> Iterator[tuple[str, Any]]:
    """Yield the name and the JSON of each result, those of an earlier version in their present form."""
    yield "base.json", _from_sizes(json.loads((RESULTS / "base.json").read_text("utf-8")))
    for path in sorted(DEVICES.glob("*.json")):
        yield path.name, json.loads(path.read_text("utf-8"))


def _from_sizes(sizes: dict[str, Any]) -> dict[str, Any]:
    """Return the measurement in a result of ``benchmarks/sizes.py``, which has bundle and precision beside it."""
    recipe = sizes["bundle"]["recipe"]
    named = {"bundle": f"florence-2-{sizes['size']}.{sizes['target']}", "target": recipe["target"]}
    return {**sizes["bench"], **named, "precision": recipe["precision"]}


def page() -> str:
    """Return the page."""
    heading, rest = markdown(Results.of(results()), _TITLE).split("\n", 1)
    return f"{heading}\n\n{_INTRODUCTION}{rest}"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
