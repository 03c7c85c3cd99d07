"""What may be asked of a structured answer, and what is refused in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import f2edge
from f2edge.asking.questions import Asked, Question
from f2edge.decoding.settings import GenerationSettings
from f2edge.errors import InputError, TaskError
from tests.support.structure import check_answer, check_result

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.arrays import ByteArray
    from f2edge.asking.encoded import EncodedImage
    from f2edge.model import Florence2


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Florence2:
    """Open the tiny bundle."""
    return f2edge.load(tiny_bundle)


def picture() -> ByteArray:
    """Return a picture of noise, 110x70 pixels."""
    return np.random.default_rng(0).integers(0, 256, (70, 110, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def image(model: Florence2) -> EncodedImage:
    """Encode a picture."""
    return model.encode(picture())


QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    ("od", {}),
    ("od", {"labels": ["cat", "red dog"]}),
    ("ocr_with_region", {}),
    ("region_proposal", {}),
    ("open_vocabulary_detection", {"labels": ["cat", "red dog"]}),
    ("region_to_segmentation", {"region": (1, 2, 30, 40)}),
]


@pytest.mark.parametrize(("task", "rest"), QUESTIONS)
@pytest.mark.parametrize("num_beams", [1, 3])
def test_answers_of_random_weights(image: EncodedImage, task: str, rest: dict[str, Any], num_beams: int) -> None:
    """The parsers read the objects of the automaton, and the objects of a stream are the same."""
    result = image.run(task, structured=True, num_beams=num_beams, **rest)
    asked = f2edge.tasks.table.resolve(task)
    found = check_answer(asked, result.token_ids, image.model.tokenizer, rest.get("labels", ()))
    check_result(result, asked, found, image.size)
    streamed = list(image.stream_objects(task, structured=True, num_beams=num_beams, **rest))
    assert tuple(one.label for one in streamed) == result.labels


def test_a_text_stream(image: EncodedImage) -> None:
    """The pieces of a structured stream are the greedy answer."""
    whole = image.run("od", structured=True, num_beams=1)
    assert "".join(image.stream("od", structured=True)).strip() == whole.plain_text


def asked(image: EncodedImage, task: str, text: str | None = None, **rest: Any) -> Asked:
    """Return a question as the search takes it."""
    return image.asked(Question(task, text, None, None, None, None, **rest))


def test_labels_stand_for_a_text(image: EncodedImage) -> None:
    """Tasks that need a text get the labels, joined by <and>; a given text stays."""
    model = image.model
    joined = model.prompt_ids("Locate cat<and>red dog in the image.")
    given = model.prompt_ids("Locate pets in the image.")
    labels = [" cat", "red dog ", "cat"]
    assert asked(image, "open_vocabulary_detection", labels=labels).prompt_ids.tolist() == joined.tolist()
    assert asked(image, "open_vocabulary_detection", "pets", labels=labels).prompt_ids.tolist() == given.tolist()
    assert asked(image, "od").structure is None


@pytest.mark.parametrize(
    ("task", "rest", "line"),
    [
        ("caption", {"structured": True}, "<CAPTION> is answered in plain text: leave `structured` out"),
        ("caption", {"labels": ["a"]}, "<CAPTION> gives no labels: leave `labels` out"),
        ("region_proposal", {"labels": ["a"]}, "gives no labels"),
        ("od", {"structured": "yes"}, "`structured` is 'yes'; it must be True or False"),
        ("od", {"labels": "cat"}, "give a list of labels"),
        ("od", {"labels": []}, "`labels` is empty"),
        ("od", {"labels": [" "]}, "not blank"),
        ("od", {"labels": ["a<b"]}, "which no answer of <OD> can have"),
        ("od", {"labels": ["a\nb"]}, "which no answer of <OD> can have"),
        ("od", {"labels": ["<loc_5>"]}, "which no answer of <OD> can have"),
        ("caption_to_phrase_grounding", {"labels": ["it"]}, "'it', which no answer of"),
    ],
)
def test_what_is_refused(image: EncodedImage, task: str, rest: dict[str, Any], line: str) -> None:
    """Structure where an answer has none, and labels that no answer can have, are refused."""
    with pytest.raises(TaskError, match=line.replace("<", r"\<").replace("(", r"\(")):
        image.run(task, **rest)


@pytest.mark.parametrize("change", [{"eos_token_id": None}, {"eos_token_id": (2, 430)}, {"forced_bos_token_id": 300}])
def test_settings_that_leave_no_structure(image: EncodedImage, change: dict[str, Any]) -> None:
    """Without a token that only ends an answer, or with another first token than <s>, structure is refused."""
    with pytest.raises(InputError, match="structured answer"):
        image.run("od", structured=True, settings=GenerationSettings(max_new_tokens=9, **change))
