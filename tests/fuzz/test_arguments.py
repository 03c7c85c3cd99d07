"""Whatever a program hands in as an argument: a value, or one line that says what is wrong."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f2edge import Florence2, GenerationSettings, from_bgr, load, open_bundle
from f2edge.errors import F2EdgeError
from f2edge.image import load_image
from f2edge.placement import Placement, parse_placement
from f2edge.tasks.table import TASKS, build_prompt, resolve
from tests.support.fuzzing import ODD, check_line, contained, examples

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Mute:
    """An object that cannot even be printed."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def nested(depth: int) -> list[Any]:
    """Return a list in a list in a list ..."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


NUMBERS = [10**4400, -(10**4400), Decimal("NaN"), Decimal(1), Fraction(1, 3), 1j, np.int8(3), np.float32(0.5)]
OBJECTS = [object(), Mute(), [Mute()], b"x", b"\xff" * 70, set(), range(3), int, iter([1, 2, 3, 4]), nested(2000)]
ARRAYS = [np.zeros(0), np.zeros(4), np.ones((2, 2)), np.array("x"), np.array([None] * 4), np.arange(4) + 1j]
ONE = ODD | st.sampled_from([*NUMBERS, *OBJECTS, *ARRAYS])
ANYTHING: st.SearchStrategy[Any] = (
    ONE
    | st.lists(st.lists(ONE | st.integers(0, 99), max_size=2) | st.tuples(ONE, ONE), max_size=2)
    | st.lists(st.sampled_from(NUMBERS) | st.floats() | st.integers(0, 99), min_size=4, max_size=4)
)
"""JSON values, and what programs hand in by mistake."""
SETTINGS = st.dictionaries(st.sampled_from(sorted(vars(GenerationSettings()))), ANYTHING, min_size=1, max_size=2)


def answers_or_says_why(call: Callable[[], Any], kind: type | tuple[type, ...]) -> None:
    """Call a function of the API."""
    with contained():
        try:
            value = call()
        except F2EdgeError as error:
            check_line(error)
        else:
            assert isinstance(value, kind)


@examples(200)
@given(SETTINGS)
def test_settings_of_a_search(values: dict[str, Any]) -> None:
    """One or two of the settings are anything; of more, the first wrong one would hide the others."""
    answers_or_says_why(lambda: GenerationSettings(**values), GenerationSettings)


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Florence2:
    """Return a model that is not asked anything."""
    return load(tiny_bundle, threads=1)


@examples(100)
@given(ANYTHING, ANYTHING, ANYTHING | st.just(GenerationSettings()))
def test_settings_of_a_model(model: Florence2, beams: Any, tokens: Any, settings: Any) -> None:
    """Numbers of beams and tokens, and settings as a whole."""
    answers_or_says_why(lambda: model.settings(beams, tokens, settings), GenerationSettings)


DEVICES = st.lists(st.sampled_from(["vision", "decoder", "=", ",", "GPU", " ", ".0", "\n", "\ud800", "x" * 300]))


@examples(100)
@given(ANYTHING | DEVICES.map("".join), ANYTHING)
def test_devices(device: Any, threads: Any) -> None:
    """Devices of components and the number of threads."""
    answers_or_says_why(lambda: parse_placement(device, "CPU", threads), Placement)


PIXELS = st.floats(-1, 99) | st.sampled_from([0, np.inf, np.nan, 10**400, 10**4400, None, "1", True, Decimal(5)])
REGIONS = st.lists(PIXELS, min_size=3, max_size=5) | st.lists(PIXELS, min_size=4, max_size=4).map(np.array)
TEXTS = ANYTHING | st.lists(st.sampled_from(["<loc_1>", "<loc_999>", "<OD>", "{input}", "a", "\ud800"])).map("".join)


@examples(200)
@given(st.sampled_from([*TASKS, ""]) | ANYTHING, st.none() | TEXTS, st.none() | REGIONS | ANYTHING)
def test_prompts(model: Florence2, task: Any, text: Any, region: Any) -> None:
    """The task, its text and its region, as far as the tokens of the prompt."""
    answers_or_says_why(lambda: model.prompt_ids(build_prompt(resolve(task), text, region, (64, 48))), np.ndarray)


@examples(100)
@given(ANYTHING)
def test_things_that_are_no_pictures(thing: Any) -> None:
    """A picture, a frame and the path of a bundle."""
    answers_or_says_why(lambda: load_image(thing).mode, str)
    answers_or_says_why(lambda: from_bgr(thing), np.ndarray)
    answers_or_says_why(lambda: open_bundle(thing), Florence2)
