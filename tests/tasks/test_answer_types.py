"""The types of answers match the answers: each task is in one group, and its answer has that group's keys."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from f2edge.tasks import answer_types as types
from f2edge.tasks.answers import parse
from f2edge.tasks.table import FREE_TEXT, TASKS

GROUPS: dict[Any, Any] = {
    types.ScoredBoxesTask: types.BoxesAnswer,  # without token probabilities there are no scores
    types.BoxesTask: types.BoxesAnswer,
    types.QuadsTask: types.QuadsAnswer,
    types.PolygonsTask: types.PolygonsAnswer,
    types.BoxesAndPolygonsTask: types.BoxesAndPolygonsAnswer,
}


def test_every_task_has_one_type() -> None:
    """The groups together contain every task of the table, and the free prompt."""
    grouped = [task for group in (types.TextTask, *GROUPS) for task in get_args(group)]
    assert sorted(grouped) == sorted([*TASKS, FREE_TEXT.name])


@pytest.mark.parametrize("text", ["</s><s></s>", "</s><s>car<loc_1><loc_2><loc_3><loc_4></s>"])
def test_text_answers_are_strings(text: str) -> None:
    """The answer of a text task is a string, whatever the model wrote."""
    for task in get_args(types.TextTask):
        assert isinstance(parse(task, text, (100, 100))[task], str)


@pytest.mark.parametrize(
    "text",
    [
        "</s><s></s>",
        "</s><s>car<loc_1><loc_2><loc_3><loc_4></s>",
        "</s><s>car<poly><loc_1><loc_2><loc_3><loc_4><loc_5><loc_6></poly></s>",
        "</s><s>car<loc_1><loc_2><loc_3><loc_4><loc_5><loc_6><loc_7><loc_8></s>",
    ],
)
def test_other_answers_have_the_keys_of_their_type(text: str) -> None:
    """Other answers have the keys of their type and lists of its depth, even if nothing is located."""
    for group, answer_type in GROUPS.items():
        for task in get_args(group):
            answer: Any = parse(task, text, (100, 100))[task]
            assert answer.keys() == answer_type.__annotations__.keys()
            assert {depth(value) for key, value in answer.items() if key in ("bboxes", "quad_boxes")} <= {0, 2}
            assert {depth(value) for key, value in answer.items() if key == "polygons"} <= {0, 3}


def depth(value: Any) -> int:
    """Return the number of lists around a number; 0 for an empty list."""
    return 1 + depth(value[0]) if isinstance(value, list) and value else 0
