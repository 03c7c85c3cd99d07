"""The committed answers are transformers' own: a part of them is computed again, live."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.oracles.regenerate import RECOMPUTED, differences
from tests.support import oracles

if TYPE_CHECKING:
    from pathlib import Path


NARROW_AND_TALL = {"grey_L", "exif_applied"}
"""Pictures narrower and taller than 192 pixels, which Pillow resizes in another order before version 13."""


def reproducible(picture: str) -> bool:
    """Tell whether the installed Pillow gives transformers the recorded values of a picture at 192 pixels."""
    return picture not in NARROW_AND_TALL or int(version("pillow").split(".")[0]) >= 13


def part(name: str, content: Any) -> Any:
    """Take what can be computed within seconds: every 12th search, pictures at 192 pixels, all of the rest."""
    if name == "generation.jsonl":
        return content[::12]
    if name == "preprocess.npz":
        return {key: content[key] for key in content if key.endswith("_192") and reproducible(key[:-4])}
    if name == "preprocess.json":
        images = [entry for entry in content["images"] if reproducible(entry["name"])]
        return {**content, "images": [{**entry, "stats": {"192": entry["stats"]["192"]}} for entry in images]}
    return content


@pytest.mark.parametrize("name", RECOMPUTED)
def test_transformers_gives_the_committed_answers(name: str, oracles_dir: Path) -> None:
    """Every answer that transformers can give equals the committed one, floats within 2e-6."""
    content = part(name, oracles.load(oracles_dir / name))
    assert differences(content, RECOMPUTED[name](content, oracles_dir), name) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"ids": [0, 5, 2]}, {"ids": [0, 6, 2]}),
        ({"ids": [0, 5, 2]}, {"ids": [0, 5]}),
        ({"score": -0.5}, {"score": -0.50001}),
        ({"score": None}, {"score": -0.5}),
        ({"text": "a"}, {"texts": "a"}),
        ({"values": np.zeros(3)}, {"values": np.full(3, 1e-5)}),
    ],
)
def test_a_changed_answer_is_a_difference(old: Any, new: Any) -> None:
    """A changed id, length, key, float or array is reported once, and equal contents are not."""
    assert len(differences(old, new, "file")) == 1
    assert differences(old, old, "file") == differences(new, new, "file") == []


@pytest.mark.parametrize("name", [name for name in RECOMPUTED if "json" in name])
def test_rewriting_keeps_the_bytes(name: str, oracles_dir: Path, tmp_path: Path) -> None:
    """A text file that is read and written again has the same bytes, so a rewrite changes answers only."""
    oracles.dump(oracles.load(oracles_dir / name), tmp_path / name)
    assert (tmp_path / name).read_bytes() == (oracles_dir / name).read_bytes()


def test_committed_files_stay_small() -> None:
    """All committed files together are below 2 MB."""
    assert sum(path.stat().st_size for path in oracles.ORACLES.rglob("*") if path.is_file()) < 2e6
