"""Answers to accepted questions, in the thread of a worker: at once, followed part by part, or in batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from f2edge.asking.objects import Detection
from f2edge.asking.tiles import answer_tiles
from f2edge.decoding.stopping import StopSignal
from f2edge.image import load_image
from f2edge.result import Result
from f2edge.serve.patience import within
from f2edge.serve.together import Together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from f2edge.asking.encoded import EncodedImage
    from f2edge.asking.questions import Asked
    from f2edge.asking.tiling import Tiling
    from f2edge.image import ImageSource
    from f2edge.model import Florence2
    from f2edge.serve.metrics import Metrics
    from f2edge.serve.patience import Patience
    from f2edge.serve.pictures import Pictures
    from f2edge.serve.questions import Accepted


@dataclass(frozen=True)
class Answer:
    """The answer to a question.

    Args:
        result: what the model answered.
        image_id: what further questions name the picture by.
        image_size: (width, height) of the picture in pixels.
        prompt_tokens: the tokens of the prompt.
    """

    result: Result
    image_id: str
    image_size: tuple[int, int]
    prompt_tokens: int

    def record(self) -> dict[str, object]:
        """Return the record of ``f2edge run --json``, with the picture's id and size in place of its name."""
        return {"image_id": self.image_id, "image_size": list(self.image_size), **self.result.to_json()}


@dataclass(frozen=True)
class Encoded:
    """A picture that has been encoded; the first part of an answer that is followed."""

    image_id: str
    image_size: tuple[int, int]


class _Ready(NamedTuple):
    """A question whose picture is encoded."""

    image_id: str
    image: EncodedImage
    asked: Asked


@dataclass(frozen=True)
class Answering:
    """Answers questions with one model.

    Args:
        model: the model.
        pictures: the encoded pictures that are kept.
        metrics: what counts the answers.
    """

    model: Florence2
    pictures: Pictures
    metrics: Metrics

    def answer(self, accepted: Accepted, patience: Patience) -> Answer:
        """Answer a question.

        Raises:
            InputError: the question or the picture is wrong.
            Refusal: the time is over.
            DeviceError: the engine failed.
        """
        signal, tiling = StopSignal.of(None, patience), accepted.wanted.tiling
        with within(patience):
            if tiling:
                return self._tiled(accepted, tiling, signal)
            ready = self._ready(accepted, signal)
            with self.model.worker(signal):
                result = ready.image.answer(ready.asked, signal)
        return self._answered(result, ready)

    def follow(
        self, accepted: Accepted, patience: Patience, tell: Callable[[Encoded | Detection | str], None]
    ) -> Answer:
        """Answer a question, and tell the parts of the answer as soon as they are decided.

        Raises:
            InputError: as for :meth:`answer`.
            Refusal: as for :meth:`answer`.
            DeviceError: as for :meth:`answer`.
        """
        if accepted.wanted.tiling:  # the objects are known once those of all tiles are joined
            answer = self.answer(accepted, patience)
            tell(Encoded(answer.image_id, answer.image_size))
            for found in _detections(answer.result):
                tell(found)
            return answer
        signal = StopSignal.of(None, patience)
        with within(patience):
            ready = self._ready(accepted, signal)
            tell(Encoded(ready.image_id, ready.image.size))
            for part in ready.image.parts(ready.asked, signal):
                if isinstance(part, Result):
                    return self._answered(part, ready)
                tell(part)
        raise AssertionError("an answer ends with its result")

    def answer_together(self, questions: Sequence[tuple[Accepted, Patience]]) -> list[Answer | Exception]:
        """Answer questions about pictures that were sent before, in one batch; see :class:`Together`."""
        return Together(self.model, lambda result, accepted: self._answered(result, _known(accepted))).answer(questions)

    def _tiled(self, accepted: Accepted, tiling: Tiling, signal: StopSignal) -> Answer:
        """Answer a question tile by tile; the picture is decoded once, and as a whole encoded once."""
        picture = load_image(accepted.wanted.image or b"")
        ready = self._ready(accepted, signal, picture)
        result = answer_tiles(self.model, picture, accepted.wanted.question, tiling, signal, ready.image)
        return self._answered(result, ready)

    def _ready(self, accepted: Accepted, signal: StopSignal, picture: ImageSource | None = None) -> _Ready:
        """Encode the picture of a question, unless it is kept.

        Args:
            accepted: the question.
            signal: ends the wait for the model.
            picture: the picture, if it is decoded already.

        Raises:
            InputError: the picture is damaged, or the region is none of it.
            StoppedError: the signal asked to stop.
        """
        content = accepted.wanted.image
        if content is None:
            return _known(accepted)
        source = content if picture is None else picture
        image_id, image = self.pictures.encoded(content, lambda: self.model.encoded(source, signal))
        return _Ready(image_id, image, accepted.about(image))

    def _answered(self, result: Result, ready: _Ready) -> Answer:
        self.metrics.answered(result)
        return Answer(result, ready.image_id, ready.image.size, len(ready.asked.prompt_ids))


def _known(accepted: Accepted) -> _Ready:
    """Return a question about a picture that was sent before."""
    assert accepted.image is not None
    assert accepted.wanted.image_id is not None
    return _Ready(accepted.wanted.image_id, accepted.image, accepted.about(accepted.image))


def _detections(result: Result) -> Iterator[Detection]:
    """Yield the objects of an answer about tiles, which are boxes or quads."""
    form = "quad" if result.quads else "box"
    scores = zip(result.confidences, result.scores, strict=True)
    for label, shape, (confidence, score) in zip(result.labels, result.quads or result.boxes, scores, strict=True):
        place: dict[str, Any] = {form: shape}
        yield Detection(label, confidence, **place, score=score, calibrated=result.calibrated)
