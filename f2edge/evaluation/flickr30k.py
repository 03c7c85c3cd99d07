"""Read Flickr30k Entities: sentences whose phrases are grounded in boxes (Plummer et al., 2015)."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from f2edge.errors import DatasetError
from f2edge.evaluation.files import Pictures, reading
from f2edge.evaluation.samples import Question, Sample

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from f2edge.evaluation.samples import Shape

_PHRASE = re.compile(r"\[/EN#(?P<entity>\d+)/\S+ (?P<words>[^\]]+)\]")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def is_flickr30k(root: Path) -> bool:
    """Tell whether a folder has the sentences and the boxes of Flickr30k Entities."""
    return (root / "Sentences").is_dir() and (root / "Annotations").is_dir()


def load_flickr30k(root: Path) -> tuple[Sample, ...]:
    """Read the pictures that ``test.txt`` lists, or all if there is no such file.

    Every sentence is a question of phrase grounding.  A phrase may have several boxes; the model has to find any one of
    them.  A phrase without a box, such as a scene, is not asked for.

    Raises:
        DatasetError: the sentences or the boxes of a picture are missing or damaged.
    """
    listed = root / "test.txt"
    if listed.is_file():
        names = listed.read_text(encoding="utf-8").split()
    else:
        names = sorted(path.stem for path in (root / "Sentences").glob("*.txt"))
    pictures = Pictures(root)
    samples = (Sample(name, pictures.find(name), _questions(root, name)) for name in names)
    return tuple(sample for sample in samples if sample.questions)


def _questions(root: Path, name: str) -> tuple[Question, ...]:
    sentences, annotation = root / "Sentences" / f"{name}.txt", root / "Annotations" / f"{name}.xml"
    for path in (sentences, annotation):
        if not path.is_file():
            raise DatasetError(f"{path} is not there; copy all of Flickr30k Entities into {root}")
    boxes = _boxes(annotation)
    with reading(sentences):
        asked = [_grounding(line, boxes) for line in sentences.read_text(encoding="utf-8").splitlines()]
    return tuple(question for question in asked if question.boxes)


def _grounding(line: str, boxes: Mapping[str, list[Shape]]) -> Question:
    pairs = [(phrase["words"], box) for phrase in _PHRASE.finditer(line) for box in boxes.get(phrase["entity"], ())]
    return Question(
        "<CAPTION_TO_PHRASE_GROUNDING>",
        text=_PHRASE.sub(r"\g<words>", line).strip(),
        labels=tuple(words for words, _ in pairs),
        boxes=tuple(box for _, box in pairs),
    )


def _boxes(path: Path) -> Mapping[str, list[Shape]]:
    """Read the boxes by entity.  The expat of any supported Python stops entities that expand without end."""
    boxes: defaultdict[str, list[Shape]] = defaultdict(list)
    with reading(path):
        try:
            objects = ET.parse(path).getroot().findall("object")  # noqa: S314
        except ET.ParseError as error:
            raise ValueError(error) from error
        for thing in objects:
            if (box := thing.find("bndbox")) is not None:
                shape = tuple(float(box.findtext(corner, "")) for corner in _CORNERS)
                for name in thing.findall("name"):
                    boxes[name.text or ""].append(shape)
    return boxes
