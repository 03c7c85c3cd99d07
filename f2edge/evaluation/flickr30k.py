"""Read Flickr30k Entities: sentences whose phrases are grounded in boxes (Plummer et al., 2015)."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from f2edge.errors import DatasetError
from f2edge.evaluation.fields import corners, size
from f2edge.evaluation.files import Pictures, is_hidden, read_text, reading
from f2edge.evaluation.samples import Note, Question, Sample
from f2edge.paths import is_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from f2edge.evaluation.samples import Loaded, Shape

_PHRASE = re.compile(r"\[/EN#(?P<entity>\d+)/\S+ (?P<words>[^\]]+)\]")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def is_flickr30k(root: Path) -> bool:
    """Tell whether a folder has the sentences and the boxes of Flickr30k Entities."""
    return (root / "Sentences").is_dir() and (root / "Annotations").is_dir()


def load_flickr30k(root: Path) -> Loaded:
    """Read the pictures that ``test.txt`` lists, or all with sentences and boxes if there is no such file.

    Every sentence is a question of phrase grounding.  A phrase may have several boxes; the model has to find any one of
    them.  A phrase without a box, such as a scene, is not asked for.

    Raises:
        DatasetError: the sentences or the boxes of a picture are damaged, or those of a listed picture are missing.
    """
    names, notes = _names(root)
    pictures = Pictures(root)
    samples = (Sample(name, pictures.find(name), *_questions(root, name)) for name in names)
    return tuple(sample for sample in samples if sample.questions), notes


def _names(root: Path) -> tuple[list[str], tuple[Note, ...]]:
    listed = root / "test.txt"
    if listed.is_file():
        with reading(listed):
            return [name.removesuffix(".jpg") for name in read_text(listed).split()], ()
    sentences = sorted(path for path in (root / "Sentences").glob("*.txt") if path.is_file())
    strange = {path: why for path in sentences if (why := _strange(path))}
    notes = tuple(Note("left out", "file", f"Sentences/{path.name}", why) for path, why in strange.items())
    return [path.stem for path in sentences if path not in strange], notes


def _strange(sentences: Path) -> str:
    """Return why a file is not the sentences of a picture; "" if it is."""
    if is_hidden(sentences):
        return "hidden"
    boxes = sentences.parent.parent / "Annotations" / f"{sentences.stem}.xml"
    return "" if boxes.is_file() else f"there is no {boxes.parent.name}/{boxes.name}"


def _questions(root: Path, name: str) -> tuple[tuple[Question, ...], tuple[int, int] | None]:
    """Return the questions about a picture, and the size of the picture that the boxes are in."""
    sentences, annotation = root / "Sentences" / f"{name}.txt", root / "Annotations" / f"{name}.xml"
    for path in (sentences, annotation):
        if not is_file(path):
            raise DatasetError(f"{path} is not there; copy all of Flickr30k Entities into {root}")
    boxes, annotated = _boxes(annotation)
    with reading(sentences):
        asked = [_grounding(line, boxes) for line in read_text(sentences).splitlines()]
    return tuple(question for question in asked if question.boxes), annotated


def _grounding(line: str, boxes: Mapping[str, list[Shape]]) -> Question:
    pairs = [(phrase["words"], box) for phrase in _PHRASE.finditer(line) for box in boxes.get(phrase["entity"], ())]
    return Question(
        "<CAPTION_TO_PHRASE_GROUNDING>",
        text=_PHRASE.sub(r"\g<words>", line).strip(),
        labels=tuple(words for words, _ in pairs),
        boxes=tuple(box for _, box in pairs),
    )


def _boxes(path: Path) -> tuple[Mapping[str, list[Shape]], tuple[int, int] | None]:
    """Read the boxes by entity, and the size of the picture that they are in."""
    boxes: defaultdict[str, list[Shape]] = defaultdict(list)
    with reading(path):
        root = _parse(path)
        for thing in root.findall("object"):
            if (box := thing.find("bndbox")) is not None:
                shape = corners([float(box.findtext(corner, "")) for corner in _CORNERS])
                for name in thing.findall("name"):
                    boxes[name.text or ""].append(shape)
        return boxes, size({side: int(root.findtext(f"size/{side}") or 0) for side in ("width", "height")})


def _parse(path: Path) -> ET.Element:
    """Parse XML; the expat of any supported Python stops entities that expand without end."""
    try:
        return ET.parse(path).getroot()  # noqa: S314
    except ET.ParseError as error:
        raise ValueError(error) from error
