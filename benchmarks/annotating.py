"""Measure precision and recall of what ``f2edge annotate`` has made of drawn scenes, before and after its filters.

    python demo/scenes.py scenes --count 400 --seed 9000 --spoilt 0.5
    f2edge annotate demo.cpu scenes -o annotations
    python benchmarks/annotating.py scenes annotations --output benchmarks/results/annotating.json

An object is right if it overlaps a true one by an IoU of at least 0.5 and has its label, each true one counting once;
a phrase is right if the true name of that object stands in it; a text is right if it is the true one, word for word.
Recall is of all true objects, of the objects that a kept or dropped text could name for phrases, and of all pictures
for texts.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "demo"))

from f2edge.annotate.directory import open_finished
from f2edge.evaluation.overlap import box_iou, iou_table, mask_iou, paired, quad_iou
from f2edge.tasks.table import resolve, short_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from f2edge.annotate.records import Record

TEXTS = ("caption", "detailed_caption", "more_detailed_caption")
MASKS = "referring_expression_segmentation"


class Truth(NamedTuple):
    """A true object: its name, and its shape."""

    label: str
    shape: Any


class Counts(NamedTuple):
    """How many annotations there are, how many are right, and how many there should be."""

    made: int
    right: int
    true: int

    def to_json(self) -> dict[str, float | int | None]:
        """Return the counts with precision and recall."""
        precision = self.right / self.made if self.made else None
        return {**self._asdict(), "precision": precision, "recall": self.right / self.true if self.true else None}


def truth(line: dict[str, Any]) -> dict[str, Any]:
    """Return the true answers of a scene by the short name of the task: a text, or objects."""
    from scenes import make_scene

    answers: dict[str, Any] = {}
    for question in line["questions"]:
        task = short_name(resolve(question["task"]).name)
        if task in TEXTS:
            answers[task] = question["answer"]
        elif question["boxes"] or question["quads"] or not question["text"]:
            shapes = question["quads"] or question["boxes"]
            labels = question["labels"] or [""] * len(shapes)
            answers[task] = [Truth(label, tuple(shape)) for label, shape in zip(labels, shapes, strict=True)]
    shapes = make_scene(line["seed"], line["index"]).shapes  # the picture may be spoilt, the shapes are the same
    outlines = [[value for point in shape.polygon(circle_points=48) for value in point] for shape in shapes]
    answers["caption_to_phrase_grounding"] = [Truth(shape.name, shape.box) for shape in shapes]
    answers[MASKS] = [Truth(shape.name, [outline]) for shape, outline in zip(shapes, outlines, strict=True)]
    return answers


def count(records: Sequence[Record], answers: dict[str, Any], task: str, size: tuple[int, int]) -> Counts:
    """Count the annotations of a task about one picture."""
    if task in TEXTS:
        return Counts(len(records), sum(one.text == answers[task] for one in records), 1)
    true: Sequence[Truth] = answers.get(task, ())
    right = sum(_right(list(of), true, task, size) for of in _by_source(records))
    sources = len({one.source for one in records}) or 1
    return Counts(len(records), right, len(true) * (1 if task == MASKS else sources))


def _by_source(records: Iterable[Record]) -> Iterable[list[Record]]:
    groups: defaultdict[str, list[Record]] = defaultdict(list)
    for one in records:
        groups["" if one.task == MASKS else one.source].append(one)
    return groups.values()


def _right(records: Sequence[Record], true: Sequence[Truth], task: str, size: tuple[int, int]) -> int:
    shapes: list[Any] = [one.polygons or one.quad or one.box or () for one in records]
    iou: Callable[[Any, Any], float] = {MASKS: lambda a, b: mask_iou(a, b, size), "ocr_with_region": quad_iou}.get(
        task, box_iou
    )
    table = (
        iou_table(shapes, [one.shape for one in true], iou) if shapes and true else np.zeros((len(shapes), len(true)))
    )
    for row, one in enumerate(records):
        for column, other in enumerate(true):
            label = one.label or ""
            if not (other.label in label if one.kind == "phrase" else label == other.label):
                table[row, column] = 0.0
    return int(np.count_nonzero(paired(table)))


def measure(scenes: Path, annotations: Path) -> dict[str, Any]:
    """Return the counts of each task: of all that was made first, of what is kept, and of what is kept and seen."""
    lines = map(json.loads, (scenes / "scenes.jsonl").read_text("utf-8").splitlines())
    by_image = {line["image"]: line for line in lines}
    run = open_finished(annotations)
    totals: dict[str, dict[str, Counts]] = {}
    records: defaultdict[str, list[Record]] = defaultdict(list)
    for shard in range(run.description.shards):
        for one in run.read(shard):
            records[one.image].append(one)
    for image, of_picture in records.items():
        answers = truth(by_image[image])
        for task in run.description.tasks:
            made = [one for one in of_picture if one.task == task]
            size = (of_picture[0].width, of_picture[0].height)
            first = {"before": made} if run.description.passed == 1 else {}
            stages = {
                **first,
                "kept": [one for one in made if one.kept],
                "kept and seen": [one for one in made if one.kept and one.seen is not False],
            }
            for name, chosen in stages.items():
                one = count(chosen, answers, task, size)
                before = totals.setdefault(task, {}).get(name, Counts(0, 0, 0))
                totals[task][name] = Counts(*(a + b for a, b in zip(before, one, strict=True)))
    return {task: {name: counts.to_json() for name, counts in stages.items()} for task, stages in totals.items()}


def table(measured: dict[str, Any]) -> str:
    """Return the counts as a table of Markdown."""
    lines = ["| task | annotations | precision | recall |", "|---|---|---|---|"]
    for task, stages in measured.items():
        for name, one in stages.items():
            shares = [("–" if one[key] is None else f"{100 * one[key]:.1f} %") for key in ("precision", "recall")]
            lines.append(f"| `{task}`, {name} | {one['made']} | {shares[0]} | {shares[1]} |")
    return "\n".join(lines)


def main() -> int:
    """Run the command line: SCENES ANNOTATIONS [--output FILE]."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenes", type=Path)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    measured = measure(arguments.scenes, arguments.annotations)
    print(table(measured))
    if arguments.output:
        arguments.output.write_text(json.dumps(measured, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
