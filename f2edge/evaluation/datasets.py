"""Recognise the data set in a folder by its files, and read it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from f2edge.errors import DatasetError, NoDatasetError
from f2edge.evaluation.coco import is_captions, is_instances, load_coco
from f2edge.evaluation.files import is_hidden, read_json, read_jsonl
from f2edge.evaluation.fine_tuning import is_metadata, is_pairs, load_metadata, load_pairs, read_csv
from f2edge.evaluation.flickr30k import is_flickr30k, load_flickr30k
from f2edge.evaluation.jsonl import is_questions, load_jsonl
from f2edge.evaluation.refcoco import CONVERT, is_expression, is_refs, load_expressions, load_refs
from f2edge.evaluation.samples import Dataset, Note, summary
from f2edge.evaluation.textvqa import is_textvqa, load_textvqa
from f2edge.paths import exists

if TYPE_CHECKING:
    from collections.abc import Callable

    from f2edge.evaluation.samples import Loaded

Annotations: TypeAlias = "dict[str, list[tuple[Path, Any]]]"
"""The annotation files by their kind, each with its content."""

_LOOKED_FOR = (
    "looked for: *.jsonl with image and questions in each line; COCO captions or instances as *.json, in it or in "
    "annotations/; Sentences/ and Annotations/ of Flickr30k Entities; refs as *.json with instances.json, or *.jsonl "
    "with image, sent and bbox, of RefCOCO; *.json of TextVQA; *.jsonl with image, prefix and suffix; metadata.jsonl "
    "or metadata.csv with file_name and text"
)
KINDS = {
    "questions": "JSONL of questions",
    "captions": "COCO captions",
    "instances": "COCO instances",
    "flickr30k": "Flickr30k Entities",
    "refs": "RefCOCO",
    "expressions": "RefCOCO as JSONL",
    "textvqa": "TextVQA",
    "pairs": "JSONL of prefix and suffix",
    "metadata": "folder with captions",
}
_LINES: dict[str, tuple[Callable[[Any], bool], Callable[[Path, Path], Loaded]]] = {
    "questions": (is_questions, load_jsonl),
    "expressions": (is_expression, load_expressions),
    "pairs": (is_pairs, load_pairs),
    "metadata": (is_metadata, load_metadata),
}
"""How a file of lines is recognised by its first line, and how it is read."""
_TABLE = "metadata.csv"
_TOGETHER = ({"captions", "instances"}, {"refs", "instances"})
_TRAINING = re.compile("train", re.IGNORECASE)
_PICKLES = (".p", ".pkl", ".pickle")


def open_dataset(path: str | Path) -> Dataset:
    """Read the data set in a folder, or the one of an annotation file.

    In a folder, files of another kind, damaged ones and those with "train" in their names are left out, which the notes
    of the data set say; to measure on one of them, name the file itself.

    Raises:
        DatasetError: the folder holds no known data set, or several; or an entry of its files cannot be used.
    """
    place = Path(path)
    if not exists(place):
        raise DatasetError(f"{place} is not there; give the folder of a data set")
    root = _root(place)
    annotations, strangers = _survey(place) if place.is_dir() else (_annotation(place), [])
    if place.is_dir() and is_flickr30k(place):
        annotations["flickr30k"] = [(place, None)]
    _check(place, annotations, strangers)
    samples, notes = _load(annotations, root)
    if not samples:
        told = "; ".join(summary((*strangers, *notes))) or "nothing to measure"
        raise DatasetError(f"{place} has no picture with a question; {told}")
    return Dataset(str(place), " and ".join(KINDS[kind] for kind in annotations), samples, (*strangers, *notes))


def _root(place: Path) -> Path:
    """Return the folder that the pictures are in or below."""
    if place.is_dir():
        return place
    return place.parent.parent if place.parent.name.lower() == "annotations" else place.parent


def _survey(place: Path) -> tuple[Annotations, list[Note]]:
    """Return the annotation files of a folder by their kind, each with its content, and the files that are none."""
    folders = (place, place / "annotations")
    below = [path for folder in folders for glob in ("*.json*", _TABLE) for path in sorted(folder.glob(glob))]
    annotations: Annotations = {}
    strangers = []
    for path in (path for path in below if path.is_file()):
        kind, value = _survey_file(path)
        if kind:
            annotations.setdefault(kind, []).append((path, value))
        else:
            strangers.append(Note("left out", "file", path.relative_to(place).as_posix(), value))
    return annotations, strangers


def _survey_file(path: Path) -> tuple[str, Any]:
    """Return the kind of a file and its content; or "" and why it is left out."""
    if is_hidden(path):
        return "", "hidden"
    if _TRAINING.search(path.name):
        return "", "for training"
    try:
        kind, value = _identify(path)
    except (DatasetError, OSError) as error:
        return "", getattr(error, "strerror", None) or str(error).removeprefix(str(path)).lstrip(", ")
    return kind, value if kind else "of no known kind"


def _annotation(path: Path) -> Annotations:
    kind, value = _identify(path)
    return {kind: [(path, value)]} if kind else {}


def _identify(path: Path) -> tuple[str, Any]:
    if path.suffix in _PICKLES:
        raise DatasetError(f"{path} is a pickle; {CONVERT}")
    if path.suffix == ".jsonl" or path.name == _TABLE:
        return _identify_lines(path), None
    if path.suffix != ".json":
        return "", None
    value = read_json(path)
    if is_refs(value):
        return "refs", value
    if is_textvqa(value):
        return "textvqa", value
    return _identify_coco(path, value), value


def _identify_lines(path: Path) -> str:
    """Recognise a JSONL file by its first line."""
    _, line = next(read_csv(path) if path.name == _TABLE else read_jsonl(path), ("", None))
    return next((kind for kind, (is_kind, _) in _LINES.items() if is_kind(line)), "")


def _identify_coco(path: Path, value: Any) -> str:
    if not isinstance(value, dict) or not all(isinstance(value.get(key), list) for key in ("images", "annotations")):
        return ""
    if not value["annotations"] or not isinstance(value["annotations"][0], dict):
        raise DatasetError(f"{path} is a COCO file without annotations; take one of captions or of instances")
    if is_captions(value):
        return "captions"
    return "instances" if is_instances(value) else ""


def _check(place: Path, annotations: Annotations, strangers: list[Note]) -> None:
    if not annotations:
        if place.is_dir() and (pickles := [path for path in place.iterdir() if path.suffix in _PICKLES]):
            raise DatasetError(f"{pickles[0]} is a pickle; {CONVERT}")
        left_out = summary(strangers)
        raise NoDatasetError(f"{place} holds no known data set; {'; '.join([*left_out, _LOOKED_FOR])}", left_out)
    if set(annotations) == {"refs"}:
        raise DatasetError(f"{annotations['refs'][0][0]} needs RefCOCO's instances.json in the same folder")
    files = [path for entries in annotations.values() for path, _ in entries]
    if len(files) > len(annotations) or (len(annotations) > 1 and set(annotations) not in _TOGETHER):
        names = ", ".join(str(path) for path in files)
        raise DatasetError(f"{place} holds several data sets ({names}); give one of these files instead")


def _load(annotations: Annotations, root: Path) -> Loaded:
    one = {kind: entries[0] for kind, entries in annotations.items()}
    if "refs" in one:
        return load_refs(one["refs"], one["instances"], root)
    if "flickr30k" in one:
        return load_flickr30k(root)
    if "textvqa" in one:
        return load_textvqa(*one["textvqa"], root)
    for kind, (path, _) in one.items():
        if kind in _LINES:
            return _LINES[kind][1](path, root)
    return load_coco(list(one.values()), root)
