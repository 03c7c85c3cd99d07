"""Limits of graphs of fixed shapes; tests of the contract and of parity compare their answers with other engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import f2edge
from f2edge.bundle.limits import Limits
from f2edge.errors import LimitError

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.model import Florence2

PICTURE = np.full((40, 60, 3), 90, np.uint8)


@pytest.fixture(scope="module")
def model(tiny_npu_bundle: Path) -> Florence2:
    """The tiny checkpoint compiled for the NPU, running on the CPU."""
    return f2edge.load(tiny_npu_bundle, "CPU")


def test_shapes_of_a_bundle(model: Florence2) -> None:
    """A bundle has room for the beams asked for, the model's prompt tokens and the checkpoint's new tokens."""
    assert model.bundle.recipe.static_shapes == Limits(num_beams=8, prompt_tokens=86, new_tokens=80)
    assert model.bundle.limits == model.bundle.recipe.static_shapes
    assert (model.runtime.device, model.bundle.recipe.device) == ("CPU", "NPU")


def test_same_answers_as_with_dynamic_shapes(model: Florence2, tiny_bundle: Path) -> None:
    """Streamed, greedy and beam answers equal those of dynamic shapes up to the last token, several for one image."""
    other = f2edge.load(tiny_bundle).encode(PICTURE)
    image = model.encode(PICTURE)
    assert list(image.stream("caption")) == list(other.stream("caption"))
    for beams in (1, 3, 8):
        answer, expected = (one.run("od", num_beams=beams, max_new_tokens=80) for one in (image, other))
        assert answer.token_ids == expected.token_ids
        assert answer.score == pytest.approx(expected.score, abs=1e-5)


def test_questions_beyond_the_limits_are_refused(model: Florence2) -> None:
    """Too many beams, new tokens or prompt tokens are refused with the limit that they exceed."""
    with pytest.raises(LimitError, match="num_beams is 9; this model takes 1 to 8"):
        model.run(PICTURE, "od", num_beams=9)
    with pytest.raises(LimitError, match="max_new_tokens is 81; this model takes 1 to 80"):
        model.run(PICTURE, "od", max_new_tokens=81)
    with pytest.raises(LimitError, match=r"the prompt has \d+ tokens, this bundle takes 86"):
        model.run(PICTURE, "", "long " * 200)


def test_runtime_and_session_check_the_limits_themselves(model: Florence2) -> None:
    """Without the model in front, the runtime and its session refuse what the graphs have no room for."""
    features = model.encode(PICTURE).features
    with pytest.raises(LimitError, match="the prompt has 87 tokens, this bundle takes 86"):
        model.runtime.start(features, np.zeros(87, np.int64))
    session = model.runtime.start(features, np.array([0, 5, 2]))
    with pytest.raises(LimitError, match="num_beams is 9; this bundle was compiled for at most 8"):
        session.step(np.zeros(9, np.int64), np.zeros(9, np.int64))
    for _ in range(80):
        session.step(np.array([5]), np.array([0]))
    with pytest.raises(LimitError, match="answers of at most 80 tokens"):
        session.step(np.array([5]), np.array([0]))


def test_the_pad_token_is_not_padding(model: Florence2, tiny_bundle: Path) -> None:
    """The text "<pad>" in a question is a token like others: the encoder attends to it."""
    other = f2edge.load(tiny_bundle)
    ids = np.array([0, 1, 1, 40, 1, 2])
    padded, expected = (
        one.runtime.start(one.encode(PICTURE).features, ids).cross_key_values() for one in (model, other)
    )
    for ours, theirs in zip(padded, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())
