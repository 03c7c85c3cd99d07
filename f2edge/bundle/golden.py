"""Golden cases: answers of the float reference model from the compilation, against which a device is checked."""

from __future__ import annotations

import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile

from f2edge.decoding.settings import MAX_NUM_BEAMS
from f2edge.errors import BundleError
from f2edge.image import load_image, model_pixels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from f2edge.arrays import ByteArray, FloatArray, IntArray
    from f2edge.decoding.session import DecoderSession
    from f2edge.geometry import Geometry

_LEAST_ERROR = 1e-12


@dataclass(frozen=True)
class GoldenCase:
    """One question about the golden picture and the reference's answer (ids from the decoder start token on)."""

    task: str
    prompt_ids: tuple[int, ...]
    num_beams: int
    max_new_tokens: int
    token_ids: tuple[int, ...]

    def faults(self, geometry: Geometry) -> list[str]:
        """List the values that a model of these sizes cannot replay, each as a short sentence."""
        limits = {
            "num_beams": (self.num_beams, 1, MAX_NUM_BEAMS),
            "max_new_tokens": (self.max_new_tokens, 1, geometry.decoder_positions),
            "the number of prompt_ids": (len(self.prompt_ids), 1, geometry.max_prompt_tokens),
            "the number of token_ids": (len(self.token_ids), 2, geometry.decoder_positions + 1),
        }
        faults = [f"{name} is {value}, not {a} to {b}" for name, (value, a, b) in limits.items() if not a <= value <= b]
        foreign = [n for n in (*self.prompt_ids, *self.token_ids) if not 0 <= n < geometry.vocab_size]
        return [*faults, f"token {foreign[0]} is not in the vocabulary"] if foreign else faults


@contextmanager
def recorded_arrays(path: Path) -> Iterator[NpzFile]:
    """Open a file of recorded arrays, which are read when they are looked up.

    Raises:
        BundleError: the file is damaged, or lacks an array that is looked up.
    """
    try:
        with path.open("rb") as file, NpzFile(file, allow_pickle=False) as data:
            yield data
    except (OSError, EOFError, KeyError, ValueError, BadZipFile, zlib.error) as error:
        raise BundleError(f"{path} is damaged ({error}); compile the bundle again") from error


@dataclass(frozen=True)
class GoldenArrays:
    """The reference's numbers; the large tensors only at sampled places.

    Args:
        picture: the golden picture at the model's size, (H, W, 3).
        image_features: (1, tokens, d_model).
        cross_index: sampled places in the flattened, concatenated cross-attention keys and values; one array a case.
        cross: the values there.
        columns: sampled columns of the vocabulary.
        logits: for each case (tokens, columns): logits after each golden token, fed one by one.
    """

    picture: ByteArray
    image_features: FloatArray
    columns: IntArray
    cross_index: tuple[IntArray, ...]
    cross: tuple[FloatArray, ...]
    logits: tuple[FloatArray, ...]

    def save(self, path: Path) -> None:
        """Write one ``.npz``."""
        per_case = {
            f"{name}_{i}": array
            for name in ("cross_index", "cross", "logits")
            for i, array in enumerate(getattr(self, name))
        }
        np.savez_compressed(
            path, picture=self.picture, image_features=self.image_features, columns=self.columns, **per_case
        )

    @classmethod
    def load(cls, path: Path, num_cases: int) -> GoldenArrays:
        """Read what :meth:`save` wrote.

        Raises:
            BundleError: the file is damaged.
        """
        with recorded_arrays(path) as data:
            cases = range(num_cases)
            return cls(
                picture=data["picture"],
                image_features=data["image_features"],
                columns=data["columns"],
                cross_index=tuple(data[f"cross_index_{i}"] for i in cases),
                cross=tuple(data[f"cross_{i}"] for i in cases),
                logits=tuple(data[f"logits_{i}"] for i in cases),
            )


def golden_pixels(picture: ByteArray, geometry: Geometry) -> FloatArray:
    """Return the golden picture (H, W, 3), which already has the model's size, as pixel values (1, 3, H, W)."""
    return model_pixels(load_image(picture), geometry)


def sample(tensors: list[FloatArray], index: IntArray) -> FloatArray:
    """Return the values at ``index`` of all tensors, flattened and concatenated."""
    values: FloatArray = np.concatenate([tensor.ravel() for tensor in tensors])[index]
    return values


def teacher_forced(session: DecoderSession, token_ids: Sequence[int], columns: IntArray | None = None) -> FloatArray:
    """Feed the tokens of a known answer one by one and collect the logits.

    Args:
        session: a decoder at position 0.
        token_ids: the answer, from the decoder start token on; the last token is not fed.
        columns: which columns of the vocabulary to keep; by default all.

    Returns:
        The logits (tokens, columns) after each token but the last.
    """
    beam, kept = np.zeros(1, np.int64), slice(None) if columns is None else columns
    rows = [session.step(np.array([token]), beam).fetch_logits()[0, kept].copy() for token in token_ids[:-1]]
    return np.stack(rows)


def relative_error(values: FloatArray, reference: FloatArray) -> float:
    """Return the Euclidean norm of the difference over that of the reference."""
    difference = float(np.linalg.norm((values.astype(np.float64) - reference).ravel()))
    norm = float(np.linalg.norm(reference.ravel()))
    return difference / norm if norm else difference and float("inf")


def sqnr_db(error: float) -> float:
    """Return the ratio of signal to quantization noise of a relative error, in decibels; at most 240."""
    return float(-20 * np.log10(max(error, _LEAST_ERROR)))
