"""The types of answers in Microsoft's schema, so that a type checker knows what each task's answer holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict, overload


class BoxesAnswer(TypedDict):
    """Boxes and a label for each."""

    bboxes: list[list[float]]
    labels: list[str]


class ScoredBoxesAnswer(BoxesAnswer, total=False):
    """Boxes that may have scores: Microsoft's code gives them in two tasks, and only if there is a box."""

    scores: list[float]


class QuadsAnswer(TypedDict):
    """Lines of text: four corners and the text of each."""

    quad_boxes: list[list[float]]
    labels: list[str]


class PolygonsAnswer(TypedDict):
    """Masks: for each thing its polygons, and a label."""

    polygons: list[list[list[float]]]
    labels: list[str]


class BoxesAndPolygonsAnswer(TypedDict):
    """Boxes and masks, each with labels of their own."""

    bboxes: list[list[float]]
    bboxes_labels: list[str]
    polygons: list[list[list[float]]]
    polygons_labels: list[str]


Answer: TypeAlias = "str | BoxesAnswer | ScoredBoxesAnswer | QuadsAnswer | PolygonsAnswer | BoxesAndPolygonsAnswer"

TextTask: TypeAlias = Literal[
    "",
    "<OCR>",
    "<CAPTION>",
    "<DETAILED_CAPTION>",
    "<MORE_DETAILED_CAPTION>",
    "<REGION_TO_CATEGORY>",
    "<REGION_TO_DESCRIPTION>",
    "<REGION_TO_OCR>",
]
ScoredBoxesTask: TypeAlias = Literal["<OD>", "<DENSE_REGION_CAPTION>"]
BoxesTask: TypeAlias = Literal["<REGION_PROPOSAL>", "<CAPTION_TO_PHRASE_GROUNDING>"]
QuadsTask: TypeAlias = Literal["<OCR_WITH_REGION>"]
PolygonsTask: TypeAlias = Literal["<REFERRING_EXPRESSION_SEGMENTATION>", "<REGION_TO_SEGMENTATION>"]
BoxesAndPolygonsTask: TypeAlias = Literal["<OPEN_VOCABULARY_DETECTION>"]


class Answers(dict[str, Answer]):
    """``{task: answer}`` in Microsoft's schema; a plain dictionary at run time.

    The overloads let a type checker read ``answers["<CAPTION>"].upper()`` and ``answers["<OD>"]["bboxes"]`` without a
    cast.  A ``TypedDict`` of the fixed table of tasks would do that too, but it refuses a task that is a variable and
    gives ``object`` for ``values()``; here both give the union :data:`Answer`, which ``isinstance(answer, str)``
    narrows.  As with any dictionary, a task that was not asked is a ``KeyError``, not a type error.
    """

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, task: TextTask, /) -> str: ...
        @overload
        def __getitem__(self, task: ScoredBoxesTask, /) -> ScoredBoxesAnswer: ...
        @overload
        def __getitem__(self, task: BoxesTask, /) -> BoxesAnswer: ...
        @overload
        def __getitem__(self, task: QuadsTask, /) -> QuadsAnswer: ...
        @overload
        def __getitem__(self, task: PolygonsTask, /) -> PolygonsAnswer: ...
        @overload
        def __getitem__(self, task: BoxesAndPolygonsTask, /) -> BoxesAndPolygonsAnswer: ...
        @overload
        def __getitem__(self, task: str, /) -> Answer: ...
        def __getitem__(self, task: str, /) -> Answer: ...
