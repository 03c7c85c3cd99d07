"""The demo's scenes: reproducible, readable, and answerable under the ban on repeated trigrams."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from dense import dense_target
from make_tokenizer import florence_tokens, make_tokenizer
from placing import MAX_COVERED_IN_A_CROWD, MIN_ORDER_GAP, overlap
from questions import ask
from scenes import make_scene, write_scenes
from shapes import COLOURS, KINDS, NEW_KINDS, SIZES, WORDS, outline

from f2edge.evaluation.overlap import mask_iou
from f2edge.tasks.parsers import find_instances
from f2edge.tasks.table import resolve

if TYPE_CHECKING:
    from pathlib import Path

    from questions import Question
    from scenes import Scene

SEED = 2000
COUNT = 60
BOXED = ("OD", "CAPTION_TO_PHRASE_GROUNDING", "DENSE_REGION_CAPTION", "REGION_PROPOSAL", "OPEN_VOCABULARY_DETECTION")


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """Return scenes that neither training nor evaluation uses."""
    return [make_scene(SEED, index) for index in range(COUNT)]


@pytest.fixture(scope="module")
def questions(scenes: list[Scene]) -> list[tuple[Scene, Question]]:
    """Return all questions about the scenes, with their scenes."""
    return [(s, q) for k, s in enumerate(scenes) for q in ask(s, np.random.default_rng(k))]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """Return the demo's tokenizer."""
    return make_tokenizer()


def test_a_scene_is_a_pure_function_of_seed_and_index() -> None:
    """The same seed and index give the same pixels; another index or seed gives another picture."""
    first, again = make_scene(SEED, 3), make_scene(SEED, 3)
    assert first.image.tobytes() == again.image.tobytes()
    assert (first.shapes, first.word) == (again.shapes, again.word)
    assert make_scene(SEED, 4).image.tobytes() != first.image.tobytes()
    assert make_scene(SEED + 1, 3).image.tobytes() != first.image.tobytes()


def test_the_scenes_are_varied(scenes: list[Scene]) -> None:
    """Scenes have one to four shapes of every kind, colour and size, and some but not all have a word."""
    assert {len(scene.shapes) for scene in scenes} == {1, 2, 3, 4}
    assert {s.size for scene in scenes for s in scene.shapes} == set(SIZES)
    assert {s.kind for scene in scenes for s in scene.shapes} == set(KINDS)
    assert {s.colour for scene in scenes for s in scene.shapes} == set(COLOURS)
    assert 0.25 < np.mean([scene.word is not None for scene in scenes]) < 0.7


def test_shapes_can_be_told_apart(scenes: list[Scene]) -> None:
    """Each phrase fits one shape, none is mostly covered, and the order from left to right is unambiguous."""
    for scene in scenes:
        width, height = scene.image.size
        names = [shape.name for shape in scene.shapes]
        assert len(set(names)) == len(names)
        for k, shape in enumerate(scene.shapes):
            x1, y1, x2, y2 = shape.box
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
            assert x2 - x1 > 0.08 * max(width, height)
            for other in scene.shapes[k + 1 :]:
                assert overlap(shape.box, other.box) <= MAX_COVERED_IN_A_CROWD * (x2 - x1) * (y2 - y1)
                assert (sum(other.box[::2]) - x1 - x2) / 2 > MIN_ORDER_GAP * width


def test_a_shape_has_its_colour_in_its_middle(scenes: list[Scene]) -> None:
    """The middle of the shape that is drawn last shows the colour that the truth names."""
    for scene in scenes:
        shape = scene.shapes[-1]
        pixel = np.array(scene.image.getpixel(tuple(int(value) for value in shape.centre)))
        distances = {name: np.abs(pixel - rgb).max() for name, rgb in COLOURS.items()}
        assert min(distances, key=lambda name: distances[name]) == shape.colour


def test_spoilt_pictures_keep_their_truth() -> None:
    """Spoiling changes the pixels of every picture, and nothing that is asked."""
    for index in range(10):
        clean, spoilt = make_scene(SEED, index), make_scene(SEED, index, spoilt=1.0)
        assert (clean.shapes, clean.word) == (spoilt.shapes, spoilt.word)
        assert clean.image.size == spoilt.image.size
        assert clean.image.tobytes() != spoilt.image.tobytes()


def test_a_word_is_written_inside_its_box(scenes: list[Scene]) -> None:
    """The box contains ink, is at least 14 pixels high for the model, and its letters are in order."""
    words = [(scene, scene.word) for scene in scenes if scene.word]
    assert words
    for scene, word in words:
        width, height = scene.image.size
        x1, y1, x2, y2 = word.box
        assert 0 <= x1 < x2 <= width
        assert 0 <= y1 < y2 <= height
        assert (y2 - y1) * 160 / height >= 14
        assert np.asarray(scene.image.crop((int(x1), int(y1), int(x2), int(y2))).convert("L")).std() > 20
        assert len(word.letter_boxes) == len(word.text)
        assert np.all(np.diff([box[0] for box in word.letter_boxes]) > 0)


def test_new_kinds_are_in_scenes_that_ask_for_them() -> None:
    """Every such scene has one, and old ones are there too; without asking the scenes are the same as ever."""
    (new,) = NEW_KINDS
    scenes = [make_scene(SEED, index, new=new) for index in range(COUNT)]
    assert all(new in {shape.kind for shape in scene.shapes} for scene in scenes)
    assert {shape.kind for scene in scenes for shape in scene.shapes} == {*KINDS, new}
    absent = [_asked(scene, index) for index, scene in enumerate(scenes)]
    assert any(new in name for name in absent)


def _asked(scene: Scene, index: int) -> str:
    """Return what is asked for in a scene where it is not."""
    question = next(q for q in ask(scene, np.random.default_rng(index), 1.0) if q.task.startswith("REFERRING"))
    assert question.answer == ""
    return question.text


@pytest.mark.parametrize("kind", [*KINDS, *NEW_KINDS])
def test_outlines_start_at_the_top_and_run_clockwise(kind: str) -> None:
    """Every outline fills the unit square; its shoelace area is positive, with y pointing down."""
    points = np.array(outline(kind))
    x, y = points.T
    np.testing.assert_allclose([x.min(), y.min(), x.max(), y.max()], [0, 0, 1, 1], atol=1e-9)
    assert y[0] == pytest.approx(0)
    assert (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() > 0


def test_no_answer_repeats_a_trigram(questions: list[tuple[Scene, Question]], tokenizer: Any) -> None:
    """True answers hardly ever repeat a trigram, which no_repeat_ngram_size 3 forbids."""
    repeating = 0
    for _, question in questions:
        ids = [2, *tokenizer.encode(question.answer).ids]
        trigrams = list(zip(ids, ids[1:], ids[2:], strict=False))
        repeating += len(set(trigrams)) < len(trigrams)
    assert repeating / len(questions) < 0.005


def test_answers_parse_to_the_truth(questions: list[tuple[Scene, Question]]) -> None:
    """The product's own parsers read boxes, quads and polygons from the answers to within a pixel."""
    seen = set()
    for scene, question in questions:
        instances = find_instances(resolve(question.task), f"</s><s>{question.answer}</s>", scene.image.size)
        truth = question.boxes if question.task in BOXED else question.quads
        assert truth == [] or len(instances) == len(truth)
        for instance, coordinates in zip(instances, truth, strict=False):
            np.testing.assert_allclose(instance.shapes[0], coordinates, atol=1.0)
            seen.add(question.task)
        if question.polygons:
            assert mask_iou([instances[0].shapes[0]], [question.polygons[0]], scene.image.size) > 0.85
            seen.add(question.task)
    assert seen == {*BOXED, "OCR_WITH_REGION", "REFERRING_EXPRESSION_SEGMENTATION", "REGION_TO_SEGMENTATION"}


def test_phrases_and_regions_name_what_is_there(questions: list[tuple[Scene, Question]]) -> None:
    """Phrases name shapes of their scene, and a region has four location tokens."""
    for scene, question in questions:
        names = [shape.name for shape in scene.shapes]
        if question.task == "CAPTION_TO_PHRASE_GROUNDING":
            assert question.labels
            assert all(label in names and label in question.text for label in question.labels)
        if question.task == "REGION_TO_CATEGORY":
            assert question.answer in names
            assert question.text.count("<loc_") == 4


def test_the_tokenizer_is_florence_shaped(tokenizer: Any) -> None:
    """BART's four special tokens come first, the 1024 added tokens last, and a text is between ids 0 and 2."""
    added = florence_tokens()
    size = tokenizer.get_vocab_size()
    assert [tokenizer.id_to_token(k) for k in range(4)] == ["<s>", "<pad>", "</s>", "<unk>"]
    assert len(added) == 1024
    assert [tokenizer.id_to_token(k) for k in range(size - 1024, size)] == added
    ids = tokenizer.encode("What is the region <loc_1><loc_999>?").ids
    assert (ids[0], ids[-1]) == (0, 2)
    assert tokenizer.token_to_id("<loc_999>") == tokenizer.token_to_id("<loc_0>") + 999
    assert tokenizer.decode(ids, skip_special_tokens=False) == "<s>What is the region <loc_1><loc_999>?</s>"


def test_words_are_spelled_and_phrases_are_not(tokenizer: Any) -> None:
    """A word has one token per letter, so that reading is spelling; a colour or a kind is one token."""
    assert all(tokenizer.encode(word).tokens[1:-1] == list(word) for word in WORDS)
    assert all(len(tokenizer.encode(f"{c} {k}").ids) == 4 for c in COLOURS for k in KINDS)


def test_the_teacher_points_at_the_shapes(scenes: list[Scene]) -> None:
    """The target at a place inside a shape has the shape's kind, and its box offsets give the shape's box."""
    for scene in scenes:
        classes, boxes = dense_target(scene)
        size = np.array(scene.image.size * 2)
        for shape in scene.shapes[-1:]:
            column, row = (int(sum(shape.box[k::2]) / 2 / scene.image.size[k] * 10) for k in range(2))
            assert classes[0, row, column] == KINDS.index(shape.kind) + 1
            centre = np.array([column + 0.5, row + 0.5] * 2) / 10
            np.testing.assert_allclose((boxes[row, column] + centre) * size, shape.box, atol=1e-3)


def test_writing_scenes(tmp_path: Path) -> None:
    """Each scene gives one picture and one line with its questions."""
    write_scenes(tmp_path, 3, SEED)
    lines = [json.loads(line) for line in (tmp_path / "scenes.jsonl").read_text("utf-8").splitlines()]
    assert [line["image"] for line in lines] == ["000000.png", "000001.png", "000002.png"]
    assert all((tmp_path / line["image"]).is_file() for line in lines)
    captions = [q["answer"] for line in lines for q in line["questions"] if q["task"] == "CAPTION"]
    assert len(captions) == 3
    assert captions[0].startswith("a ")
