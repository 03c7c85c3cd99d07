"""The words for a scene: names, places and captions of three lengths.

No caption repeats a sequence of three tokens, which the search forbids (no_repeat_ngram_size 3): no two shapes of
a scene have the same name, and each shape of a list follows another conjunction and another preposition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scenes import Box, Scene, Shape

COLUMNS = ("left", "centre", "right")
ROWS = ("top", "middle", "bottom")
NUMBERS = ("no", "one", "two", "three", "four", "five")
PREPOSITIONS = ("at the", "near", "by", "in")
BREAKS = {1: (), 2: (" and ",), 3: (", ", " and "), 4: (", ", "; ", " and ")}
"""What stands between the parts of a list, for each number of parts."""


def listing(parts: Sequence[str]) -> str:
    """Return `a`, `a and b`, `a, b and c`, or `a, b; c and d`."""
    breaks = ("", *BREAKS[len(parts)])
    return "".join(before + part for before, part in zip(breaks, parts, strict=True))


def cell(box: Box, size: tuple[int, int]) -> tuple[str, str]:
    """Return the row and the column in which the centre of a box lies; a picture has three of each."""
    column = COLUMNS[min(int(3 * (box[0] + box[2]) / 2 / size[0]), 2)]
    row = ROWS[min(int(3 * (box[1] + box[3]) / 2 / size[1]), 2)]
    return row, column


def described(shape: Shape) -> str:
    """Return size, colour and kind: `large red circle`."""
    return f"{shape.size} {shape.name}"


def placed(shape: Shape, size: tuple[int, int], preposition: str = "at the") -> str:
    """Return a shape with its place: `large red circle at the top left`."""
    return f"{described(shape)} {preposition} {' '.join(cell(shape.box, size))}"


def brief(scene: Scene) -> str:
    """Return one phrase: what there is."""
    caption = "a " + listing([described(shape) for shape in scene.shapes])
    return caption + f" with the word {scene.word.text}" if scene.word else caption


def detailed(scene: Scene) -> str:
    """Return the count of the shapes, and each with its place; then the word."""
    caption = f"The image shows {_counted(scene)}: {_places(scene)}."
    return caption + f" The word {scene.word.text} is in the {_row(scene)} part." if scene.word else caption


def more_detailed(scene: Scene) -> str:
    """Return what `detailed` does, and the background, and the length of the word or that there is none."""
    caption = f"On a {scene.background} background there {_is(scene)} {_counted(scene)}: {_places(scene)}."
    if scene.word is None:
        return caption + " There is no word."
    letters = NUMBERS[len(scene.word.text)]
    return caption + f" The word {scene.word.text}, of {letters} letters, is in the {_row(scene)} part."


def _counted(scene: Scene) -> str:
    count = len(scene.shapes)
    return f"{NUMBERS[count]} shape{'s' if count > 1 else ''}"


def _is(scene: Scene) -> str:
    return "is" if len(scene.shapes) == 1 else "are"


def _places(scene: Scene) -> str:
    pairs = zip(scene.shapes, PREPOSITIONS, strict=False)
    return listing([placed(shape, scene.image.size, preposition) for shape, preposition in pairs])


def _row(scene: Scene) -> str:
    assert scene.word is not None
    return cell(scene.word.box, scene.image.size)[0]
