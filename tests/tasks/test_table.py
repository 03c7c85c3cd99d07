"""Tasks, their prompts, and the inputs that are refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

from f2edge.errors import TaskError
from f2edge.tasks.table import FREE_TEXT, TASKS, build_prompt, resolve
from tests.support.prompts import expand_prompt

SIZE = (640, 480)


def test_there_are_fifteen_tasks() -> None:
    """Eight tasks take no input, three a text, four a region."""
    inputs = [task.input for task in TASKS.values()]
    assert [inputs.count(kind) for kind in ("none", "text", "region")] == [8, 3, 4]


@pytest.mark.parametrize("name", ["<OD>", "OD", "od", " <od> ", "<Od>"])
def test_names_may_be_written_in_many_ways(name: str) -> None:
    """Brackets and case do not matter."""
    assert resolve(name) is TASKS["<OD>"]


def test_unknown_task_names_the_closest() -> None:
    """The message suggests the likely task and lists all."""
    with pytest.raises(TaskError, match="did you mean detailed_caption") as caught:
        resolve("detailed_captoin")
    assert "region_to_ocr" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_free_text_passes_unchanged() -> None:
    """An empty task passes the user's prompt on unchanged, and so does a string without a task's name."""
    assert resolve("") is FREE_TEXT
    assert build_prompt(resolve(""), " How many {cars}? ") == " How many {cars}? "
    assert expand_prompt("<VQA>How many?") == (FREE_TEXT, "<VQA>How many?")
    with pytest.raises(TaskError, match="free prompt needs a text"):
        build_prompt(FREE_TEXT)


def test_building_and_expanding_agree() -> None:
    """For every task, both ways to give the input lead to the same sentence."""
    given = {"none": None, "text": "a {car}", "region": "<loc_1><loc_2><loc_3><loc_4>"}
    for task in TASKS.values():
        text = given[task.input]
        assert expand_prompt(task.name + (text or "")) == (task, build_prompt(task, text))


def test_region_in_pixels_becomes_location_tokens() -> None:
    """A bin is floor(coordinate / (size / 1000)), at most 999."""
    prompt = build_prompt(resolve("region_to_ocr"), region=(0, 120, 320.5, 480), image_size=SIZE)
    assert prompt == "What text is in the region <loc_0><loc_250><loc_500><loc_999>?"


@pytest.mark.parametrize(
    "region",
    [
        (5, 5, 5, 10),
        (5, 5, 10, 5),
        (0, 0, 0, 0),
        (0, 0, 641, 480),
        (-1, 0, 5, 5),
        (9, 0, 8, 5),
        (0, 9, 5, 8),
        (0, 0, math.nan, 5),
        (0, 0, math.inf, 5),
        (1, 2, 3),
    ],
)
def test_regions_outside_of_the_image(region: tuple[float, float, float, float]) -> None:
    """A region beyond an edge, upside down, without area, or without four finite numbers is refused."""
    with pytest.raises(TaskError, match="region"):
        build_prompt(TASKS["<REGION_TO_CATEGORY>"], region=region, image_size=SIZE)


@pytest.mark.parametrize("region", ["1234", "0,0,5,5", 5, [1, 2, 3, "4"], [None] * 4, [0, 0, 1, 10**400], {}])
def test_regions_of_other_types(region: Any) -> None:
    """A string or any other value that is not four numbers is refused."""
    with pytest.raises(TaskError, match="is not a region"):
        build_prompt(TASKS["<REGION_TO_CATEGORY>"], region=region, image_size=SIZE)


@pytest.mark.parametrize("value", [None, 5, b"od", ["od"]])
def test_tasks_and_texts_of_other_types(value: Any) -> None:
    """A value that is not a string gives a TaskError instead of a Python error."""
    with pytest.raises(TaskError, match="a task is a name"):
        resolve(value)
    for task in TASKS.values():
        if value is not None:
            with pytest.raises(TaskError, match="give it as a string"):
                build_prompt(task, value)


def test_region_needs_the_size_of_its_image() -> None:
    """A region in pixels is refused without the size of its image."""
    with pytest.raises(TaskError, match="size of its image"):
        build_prompt(TASKS["<REGION_TO_CATEGORY>"], region=(0, 0, 1, 1))


@pytest.mark.parametrize("text", [None, "", "a car", "<loc_1><loc_2><loc_3>", "<loc_1><loc_2><loc_3><loc_1000>"])
def test_tasks_with_a_region_refuse_other_texts(text: str | None) -> None:
    """No text, words, three tokens and a token that does not exist are refused."""
    with pytest.raises(TaskError, match="region"):
        build_prompt(TASKS["<REGION_TO_CATEGORY>"], text)


def test_text_and_region_at_once_are_refused() -> None:
    """A text together with a region is refused, because one of them would be dropped without notice."""
    with pytest.raises(TaskError, match="one region"):
        build_prompt(TASKS["<REGION_TO_OCR>"], "<loc_1><loc_2><loc_3><loc_4>", (0, 0, 1, 1), SIZE)


def test_superfluous_and_missing_inputs_are_refused() -> None:
    """A task without input takes neither; a task with text takes just that."""
    for text, region in [("a car", None), (None, (0.0, 0.0, 1.0, 1.0))]:
        with pytest.raises(TaskError, match="<OD> takes no"):
            build_prompt(TASKS["<OD>"], text, region, SIZE)
    with pytest.raises(TaskError, match="needs a text"):
        build_prompt(TASKS["<OPEN_VOCABULARY_DETECTION>"], "  ")
    with pytest.raises(TaskError, match="not a region"):
        build_prompt(TASKS["<OPEN_VOCABULARY_DETECTION>"], "car", (0, 0, 1, 1), SIZE)


@pytest.mark.parametrize(
    ("task", "text"),
    [("", "<OD>"), ("", "<od>"), ("", "a <OCR> b"), ("open_vocabulary_detection", "<CAPTION>cat")],
)
def test_a_text_that_names_a_task(task: str, text: str) -> None:
    """The name of a task in the text would reach the model as letters, so it is refused with the task to ask for."""
    with pytest.raises(TaskError, match=r"the text holds <\w+>, the name of a task; give it as `task`: \w+$"):
        build_prompt(resolve(task), text)


def test_an_answer_as_a_text() -> None:
    """A caption is asked about as it is, also one with tokens of the vocabulary that look like tasks."""
    assert build_prompt(TASKS["<CAPTION_TO_PHRASE_GROUNDING>"], "<ocr> a cat <od>").endswith(": <ocr> a cat <od>")
