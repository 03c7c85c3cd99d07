"""Compute again what transformers answers to the inputs in the oracle files; README.md says which columns.

    python -m tests.oracles.regenerate --check    compare; the exit code is 1 if an answer differs
    python -m tests.oracles.regenerate            the same, and rewrite the files whose answers differ

Both need the development environment of this repository (``make test`` creates it) and about a minute.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
from functools import cache
from importlib.metadata import version
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps
from transformers import CLIPImageProcessorPil

from tests.support import oracles
from tests.support.florence2_processor import answer_of, florence2_processor, prompt_of
from tests.support.table_model import search

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from numpy.typing import NDArray

    Recompute: TypeAlias = Callable[[Any, Path], Any]

TOLERANCE = 2e-6
"""Relative and absolute, for floats: the last bit of a log-softmax depends on the processor."""

VERSIONS = ("pillow", "transformers", "numpy")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def searches(cases: list[dict[str, Any]], _: Path) -> list[dict[str, Any]]:
    """Search every table again with ``generate``."""
    return [{**case, **search(case)} for case in cases]


def answers(lines: list[dict[str, Any]], directory: Path) -> list[dict[str, Any]]:
    """Parse every text again with transformers' parsers: the ``native`` column."""
    return [{**line, "native": answer_of(processor_in(directory), line)} for line in lines]


def decoded(lines: list[dict[str, Any]], directory: Path) -> list[dict[str, Any]]:
    """Decode every sequence again token by token: the ``decoded`` column, without the start token."""
    parser = processor_in(directory).post_processor
    return [{**line, "decoded": parser.decode_with_spans(line["sequence"][1:])[0]} for line in lines]


def prompts(lines: list[dict[str, Any]], directory: Path) -> list[dict[str, Any]]:
    """Expand and tokenize every prompt again; where Microsoft's code differs, only the ``native`` columns."""
    again = []
    for line in lines:
        text, ids = prompt_of(processor_in(directory), line["prompt"])
        prefix = "native_" if "native_text" in line else ""
        again.append({**line, f"{prefix}text": text, f"{prefix}ids": ids})
    return again


def texts(content: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Decode all generated sequences again, and parse the end-to-end texts: the ``native`` column."""
    processor = processor_in(directory)
    cases = [
        {**case, "generate": {name: with_text(answer, processor) for name, answer in case["generate"].items()}}
        for case in content["cases"]
    ]
    whole = [{**case, "generate": with_text(case["generate"], processor)} for case in content["end_to_end"]]
    parsed = [{**case, "native": answer_of(processor, {**case, **case["generate"]})} for case in whole]
    return {**content, "cases": cases, "end_to_end": parsed}


def with_text(answer: dict[str, Any], processor: Any) -> dict[str, Any]:
    """Return a generated answer with its text decoded again."""
    return {**answer, "text": processor.decode(answer["sequence"])}


def described(content: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Compute the statistics of every picture again, at every size that the content has."""
    images = [{**entry, **statistics(entry, directory)} for entry in content["images"]]
    return {**content, **{name: version(name) for name in VERSIONS}, "images": images}


def statistics(entry: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Return the statistics of one picture's RGB bytes and of its processed values."""
    image = opened(entry, directory)
    rgb = np.asarray(CLIPImageProcessorPil().convert_to_rgb(image))
    return {
        "do_convert_rgb_null": unconverted(image),
        "rgb_shape": list(rgb.shape),
        "rgb_sha256": hashlib.sha256(rgb.tobytes()).hexdigest(),
        "rgb_mean": float(rgb.mean()),
        "stats": {size: moments(pixels(image, int(size))) for size in entry["stats"]},
    }


def unconverted(image: Image.Image) -> str:
    """Say what happens if ``do_convert_rgb`` is null: the same values, others, or an error."""
    try:
        values = pixels(image, 192, convert=None)
    except ValueError as error:
        return f"raises {type(error).__name__}"
    return "same" if np.array_equal(values, pixels(image, 192)) else "other"


def moments(values: NDArray[np.float32]) -> dict[str, Any]:
    """Return mean, standard deviation, extremes and channel means of values [3, height, width]."""
    wide = values.astype(np.float64)
    extremes = {name: float(getattr(wide, name)()) for name in ("mean", "std", "min", "max")}
    return {**extremes, "channel_means": wide.mean((1, 2)).tolist()}


def sampled(arrays: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Compute the values of every picture again, at the positions that the content has for a size."""
    again, description = dict(arrays), oracles.load(directory / "preprocess.json")
    for entry, size in product(description["images"], description["sizes"]):
        name = f"{entry['name']}_{size}"
        if name in arrays:
            again[name] = pixels(opened(entry, directory), size).ravel()[arrays[f"index_{size}"]]
    return again


def pixels(image: Image.Image, size: int, *, convert: bool | None = True) -> NDArray[np.float32]:
    """Return what transformers' image processor makes of a picture: float32 [3, size, size]."""
    processor = CLIPImageProcessorPil(
        size={"height": size, "width": size},
        do_center_crop=False,
        do_convert_rgb=convert,
        image_mean=MEAN,
        image_std=STD,
    )
    values: NDArray[np.float32] = processor(images=image, return_tensors="np")["pixel_values"][0]
    return values


def opened(entry: dict[str, Any], directory: Path) -> Image.Image:
    """Open one picture and do what its entry says is done before."""
    image: Image.Image = Image.open(directory / entry["file"])
    if entry["before"] == "exif_transpose":
        return ImageOps.exif_transpose(image)
    return image.convert("RGB") if entry["before"] == "convert_rgb" else image


@cache
def processor_in(directory: Path) -> Any:
    """Return transformers' processor with the tokenizer of an unpacked directory."""
    return florence2_processor(directory / "tokenizer" / "tokenizer.json")


RECOMPUTED: dict[str, Recompute] = {
    "generation.jsonl": searches,
    "postprocess.jsonl": answers,
    "postprocess_scores.jsonl": decoded,
    "prompts.jsonl": prompts,
    "expected.json": texts,
    "preprocess.json": described,
    "preprocess.npz": sampled,
}


def differences(old: Any, new: Any, place: str) -> list[str]:
    """List where two contents differ: floats by more than the tolerance, everything else at all."""
    if isinstance(old, np.ndarray):
        close = old.shape == new.shape and np.allclose(old, new, TOLERANCE, TOLERANCE)
        return [] if close else [f"{place}: other values"]
    if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
        pairs = [(f"{place}, {key}", old[key], new[key]) for key in old if key not in VERSIONS]
        return [line for where, one, other in pairs for line in differences(one, other, where)]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = [(f"{place}, {index}", *values) for index, values in enumerate(zip(old, new, strict=True))]
        return [line for where, one, other in pairs for line in differences(one, other, where)]
    if isinstance(old, float) and isinstance(new, float):
        close = math.isclose(old, new, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        return [] if close else [f"{place}: {old} became {new}"]
    return [] if old == new else [f"{place}: {old!r:.80} became {new!r:.80}"]


def regenerate(name: str, directory: Path, *, write: bool) -> list[str]:
    """Compute one file again and list what differs; write it if something does and ``write`` is set."""
    old = oracles.load(directory / name)
    new = RECOMPUTED[name](old, directory)
    lines = differences(old, new, name)
    print(f"{name}: differences: {len(lines)}", *lines[:10], sep="\n  ")  # noqa: T201
    if lines and write:
        oracles.dump(new, directory / name)
        oracles.pack(directory / name, oracles.ORACLES / name)
    return lines


def main() -> int:
    """Compute all files again; the exit code is 1 if ``--check`` sees a difference."""
    parser = argparse.ArgumentParser(description="Compute the answers of transformers in the oracle files again.")
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    check = parser.parse_args().check
    with TemporaryDirectory() as directory:
        oracles.unpack(Path(directory))
        differences = [line for name in RECOMPUTED for line in regenerate(name, Path(directory), write=not check)]
    return int(bool(differences) and check)


if __name__ == "__main__":
    sys.exit(main())
