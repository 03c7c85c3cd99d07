"""The tasks of Florence-2, and the prompt of each (docs/florence2.md#task-prompts)."""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from f2edge.errors import TaskError
from f2edge.lines import shown
from f2edge.tasks.location import location_text, to_bins

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Parser: TypeAlias = Literal["pure_text", "boxes", "grounding", "polygons", "boxes_or_polygons", "ocr"]
TaskInput: TypeAlias = Literal["none", "text", "region"]
Region: TypeAlias = tuple[float, float, float, float]
RegionSource: TypeAlias = "Sequence[float] | NDArray[Any]"
"""x1, y1, x2, y2 as users hand them in: a tuple, a list, a row of an array."""

_REGION_TEXT = re.compile(r"\s*(?:<loc_(?:0|[1-9][0-9]{0,2})>){4}\s*")


@dataclass(frozen=True)
class Task:
    """One task.

    Args:
        name: the name as users write it, such as ``<OD>``.
        prompt: the sentence that the model gets; ``{input}`` stands for the text or the region of the user.
        parser: the parser of the answer.
        input: the input that the user has to give.
        labelled: whether the answer has a label for each object.
    """

    name: str
    prompt: str
    parser: Parser = "pure_text"
    input: TaskInput = "none"
    labelled: bool = True

    @property
    def locates(self) -> bool:
        """Whether its answers have objects, not a text alone."""
        return self.parser != "pure_text"


FREE_TEXT = Task("", "{input}", input="text")
"""A free prompt, for fine-tuned models; the answer is plain text."""

TASKS = {
    task.name: task
    for task in (
        Task("<OCR>", "What is the text in the image?"),
        Task("<OCR_WITH_REGION>", "What is the text in the image, with regions?", "ocr"),
        Task("<CAPTION>", "What does the image describe?"),
        Task("<DETAILED_CAPTION>", "Describe in detail what is shown in the image."),
        Task("<MORE_DETAILED_CAPTION>", "Describe with a paragraph what is shown in the image."),
        Task("<OD>", "Locate the objects with category name in the image.", "boxes"),
        Task("<DENSE_REGION_CAPTION>", "Locate the objects in the image, with their descriptions.", "boxes"),
        Task("<REGION_PROPOSAL>", "Locate the region proposals in the image.", "boxes", labelled=False),
        Task("<CAPTION_TO_PHRASE_GROUNDING>", "Locate the phrases in the caption: {input}", "grounding", "text"),
        Task(
            "<REFERRING_EXPRESSION_SEGMENTATION>",
            "Locate {input} in the image with mask",
            "polygons",
            "text",
            labelled=False,
        ),
        Task(
            "<REGION_TO_SEGMENTATION>",
            "What is the polygon mask of region {input}",
            "polygons",
            "region",
            labelled=False,
        ),
        Task("<OPEN_VOCABULARY_DETECTION>", "Locate {input} in the image.", "boxes_or_polygons", "text"),
        Task("<REGION_TO_CATEGORY>", "What is the region {input}?", input="region"),
        Task("<REGION_TO_DESCRIPTION>", "What does the region {input} describe?", input="region"),
        Task("<REGION_TO_OCR>", "What text is in the region {input}?", input="region"),
    )
}
"""All tasks by name, in the order of the processor of Microsoft."""


def resolve(name: str) -> Task:
    """Return a task by its name, with or without brackets, in any case; an empty name is ``FREE_TEXT``.

    Raises:
        TaskError: there is no such task.
    """
    if not isinstance(name, str):
        raise TaskError(f"a task is a name such as od, not {shown(name)}; an empty name passes the text on as it is")
    bare = name.strip().removeprefix("<").removesuffix(">").upper()
    if not bare:
        return FREE_TEXT
    if f"<{bare}>" in TASKS:
        return TASKS[f"<{bare}>"]
    known = list(map(short_name, TASKS))
    close = difflib.get_close_matches(bare.lower(), known, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise TaskError(
        f"unknown task {name!r}: {hint}known tasks are {', '.join(known)}; an empty task passes the text on as it is"
    )


def short_name(name: str) -> str:
    """Return the name of a task as the command line takes it: ``od`` for ``<OD>``."""
    return name.strip("<>").lower()


def build_prompt(
    task: Task,
    text: str | None = None,
    region: RegionSource | None = None,
    image_size: tuple[int, int] | None = None,
) -> str:
    """Return the sentence that the model gets (docs/florence2.md#task-prompts).

    Args:
        task: the task to ask.
        text: the text input; for a task about a region it may be four location tokens.
        region: (x1, y1, x2, y2) in pixels of the original image.
        image_size: (width, height) of the original image; needed for a region.

    Raises:
        TaskError: the input is missing, superfluous, or not a region of the image.
    """
    if text is not None and not isinstance(text, str):
        raise TaskError(f"the text is {shown(text)}; give it as a string")
    if task.input == "none":
        _refuse_input(task, text, region)
        return task.prompt
    if task.input == "text":
        return task.prompt.replace("{input}", _wanted_text(task, text, region))
    return task.prompt.replace("{input}", _wanted_region(task, text, region, image_size))


def _refuse_input(task: Task, text: str | None, region: RegionSource | None) -> None:
    if text or region is not None:
        raise TaskError(f"{task.name} takes no {'text' if text else 'region'}: leave it out")


def _wanted_text(task: Task, text: str | None, region: RegionSource | None) -> str:
    name = task.name or "a free prompt"
    if region is not None:
        raise TaskError(f"{name} takes a text, not a region: leave the region out")
    if not text or not text.strip():
        raise TaskError(f"{name} needs a text: say what to look for")
    # small letters within a longer text are tokens of the vocabulary, which answers hold
    if inner := next((known for known in TASKS if known in text or known == text.strip().upper()), None):
        raise TaskError(f"the text holds {inner}, the name of a task; give it as `task`: {inner.strip('<>').lower()}")
    return text


def _wanted_region(
    task: Task, text: str | None, region: RegionSource | None, image_size: tuple[int, int] | None
) -> str:
    if (text is None) == (region is None):
        raise TaskError(f"{task.name} needs one region: give x1, y1, x2, y2 in pixels")
    if region is not None:
        return _region_text(region, image_size)
    if not _REGION_TEXT.fullmatch(text or ""):
        raise TaskError(f"{text!r} is not a region: give x1, y1, x2, y2 in pixels, or four tokens <loc_0> to <loc_999>")
    return text or ""


def _region_text(region: RegionSource, image_size: tuple[int, int] | None) -> str:
    if image_size is None:
        raise TaskError("a region in pixels needs the size of its image")
    width, height = image_size
    x1, y1, x2, y2 = _four_numbers(region)
    if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
        raise TaskError(
            f"the region {x1:g},{y1:g},{x2:g},{y2:g} is not an area inside the image of {width}x{height} pixels: "
            f"x1 < x2 <= {width} and y1 < y2 <= {height} must hold"
        )
    return location_text(to_bins((x1, y1, x2, y2), image_size))


def _four_numbers(region: RegionSource) -> Region:
    """Convert whatever a caller gives; a string of numbers is refused."""
    try:
        x1, y1, x2, y2 = (float(value + 0) for value in region)
    except (TypeError, ValueError, OverflowError):
        x1 = y1 = x2 = y2 = math.nan
    if not all(map(math.isfinite, (x1, y1, x2, y2))):
        raise TaskError(f"{shown(region)} is not a region: give x1, y1, x2, y2 in pixels")
    return x1, y1, x2, y2
