"""A run that is killed goes on: every picture is annotated exactly once, as in a run that was never killed."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.annotations import stop_at, tables, write_photos
from tests.support.command import f2edge, start

if TYPE_CHECKING:
    from pathlib import Path

PICTURES = 5
QUICK = ("--tasks", "caption,od", "--num-beams", 1, "--max-new-tokens", 8, "--shard", 2, "--min-confidence", 0)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_at_three_points(tiny_bundle: Path, tmp_path: Path) -> None:
    """Killed while it writes its description, while it writes a shard, and right after a shard is there."""
    write_photos(tmp_path / "photos", PICTURES)
    arguments = ("annotate", tiny_bundle, tmp_path / "photos", *QUICK, "-o")
    unbroken, killed = tmp_path / "unbroken", tmp_path / "killed"
    assert f2edge(*arguments, unbroken).code == 0
    there = []
    for call in (1, 3, 2):
        with start(*arguments, killed, first=stop_at(call)) as process:
            assert process.stdout
            assert process.stdout.readline() == "reached\n"
            process.kill()
            process.communicate()
        there.append((len(tables(killed)), len(list(killed.rglob(".*.partial-*")))))
    assert there == [(0, 1), (0, 1), (1, 0)]
    assert f2edge(*arguments, killed).code == 0
    assert tables(killed) == tables(unbroken)
    ids = [row["image"] for table in tables(killed) for row in table.to_pylist() if row["kind"] == "picture"]  # type: ignore[attr-defined]
    assert ids == [f"{number:02d}.png" for number in range(PICTURES)]
    names = {path.relative_to(killed) for path in killed.rglob("*") if path.name != ".lock"}
    assert names == {path.relative_to(unbroken) for path in unbroken.rglob("*") if path.name != ".lock"}
