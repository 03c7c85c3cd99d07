"""Ask a model all questions of a data set."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from f2edge.errors import DatasetError, ImageError, InputError
from f2edge.evaluation.measures import Asked
from f2edge.evaluation.pictures import as_annotated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from f2edge.evaluation.samples import Question, Sample
    from f2edge.image import ImageSource
    from f2edge.result import Result
    from f2edge.tasks.table import Region


class Encoded(Protocol):
    """A picture that can be asked about: ``f2edge.EncodedImage``, or anything that answers like it."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the picture in pixels."""

    def run(
        self, task: str, text: str | None = None, *, region: Region | None = None, num_beams: int | None = None
    ) -> Result:
        """Answer one question about the picture."""


class Model(Protocol):
    """The model to measure: ``f2edge.Florence2``, or anything that answers like it."""

    def encode(self, image: ImageSource) -> Encoded:
        """Encode a picture."""


@dataclass
class Run:
    """The answers of one model.

    Args:
        answers: the answers, by (number of the picture, number of the question about it).
        pictures: the number of pictures that were asked about.
        skipped: the pictures that cannot be read, with the reason.
        refused: the questions that the model cannot be asked, with the reason.
        bundle_sha256: the hash of the manifest of the model's bundle; empty for a model without one.
    """

    answers: dict[tuple[int, int], Asked] = field(default_factory=dict)
    pictures: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    bundle_sha256: str = ""


def ask(
    model: Model,
    samples: Iterable[Sample],
    num_beams: int | None = None,
    progress: Callable[[str], None] = lambda _name: None,
    run: Run | None = None,
) -> Run:
    """Ask all questions; each picture is encoded once.

    Args:
        model: the model to measure.
        samples: pictures with their questions.
        num_beams: beams of the search; by default those of the model.
        progress: called with the name of each picture when its turn comes.
        run: an empty run to fill, which holds what is answered so far if an interrupt ends the questions.

    Raises:
        DatasetError: no picture could be read, or no question could be asked.
        DeviceError: the engine failed.
    """
    run = Run() if run is None else run
    for number, sample in enumerate(samples):
        progress(sample.name)
        try:
            encoded = model.encode(as_annotated(sample))
        except ImageError as error:
            run.skipped[sample.name] = str(error)
        else:
            run.pictures += 1
            _ask_all(run, encoded, number, sample, num_beams)
    _check(run)
    return run


def _ask_all(run: Run, encoded: Encoded, number: int, sample: Sample, num_beams: int | None) -> None:
    for index, question in enumerate(sample.questions):
        try:
            result = _answer(encoded, question, num_beams)
        except InputError as error:
            run.refused[f"{sample.name}, question {index + 1}"] = str(error)
        else:
            run.answers[number, index] = Asked(number, encoded.size, question, result)


def _answer(encoded: Encoded, question: Question, num_beams: int | None) -> Result:
    """Answer one question; drop the fields that no metric reads."""
    region = inside(question.region, encoded.size) if question.region else None
    result = encoded.run(question.task, question.text, region=region, num_beams=num_beams)
    return replace(result, token_logprobs=(), timings_ms={}, thumbnail=None)


def inside(region: Region, size: tuple[int, int]) -> Region:
    """Clip a region to its picture: rounded annotations may reach out of it."""
    x1, y1, x2, y2 = region
    width, height = size
    return max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))


def _check(run: Run) -> None:
    if run.skipped and not run.pictures:
        first = next(iter(run.skipped.values()))
        raise DatasetError(f"none of the {len(run.skipped)} pictures can be read; the first: {first}")
    if not run.answers:
        why = next(iter(run.refused.values()), "no picture has a question")
        raise DatasetError(f"no question that can be asked: {why}")
