"""The parts of one server that its handlers share, and how they answer a question."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import ClientDisconnect

from f2edge.asking.objects import Detection
from f2edge.engine import takes_batches
from f2edge.result import Result
from f2edge.serve.beside import beside
from f2edge.serve.metrics import Metrics
from f2edge.serve.patience import Patience, within
from f2edge.serve.pictures import Pictures, bytes_of_features
from f2edge.serve.questions import check
from f2edge.serve.refusals import Refusal, draining
from f2edge.serve.together import Together
from f2edge.serve.waiting import WaitingRoom

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from starlette.requests import Request

    from f2edge.asking.encoded import EncodedImage
    from f2edge.model import Florence2
    from f2edge.serve.questions import Wanted
    from f2edge.serve.settings import Settings

T = TypeVar("T")

_LAST_STEP = 1.0  # second that a worker has to stop by itself


def _itself(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Answer:
    """The answer to a question.

    Args:
        result: what the model answered.
        image_id: what further questions name the picture by.
        image_size: (width, height) of the picture in pixels.
    """

    result: Result
    image_id: str
    image_size: tuple[int, int]

    def record(self) -> dict[str, object]:
        """Return the record of ``f2edge run --json``, with the picture's id and size in place of its name."""
        return {"image_id": self.image_id, "image_size": list(self.image_size), **self.result.to_json()}


@dataclass(frozen=True)
class Encoded:
    """A picture that has been encoded; the first part of an answer that is followed."""

    image_id: str
    image_size: tuple[int, int]


@dataclass
class Service:
    """One model and what stands in front of it.

    Args:
        model: the model; its number of workers is that of the questions answered at the same time.
        settings: the settings.
        draining: set once the server is about to end.
        started: seconds since 1970.
    """

    model: Florence2
    settings: Settings
    workers: int = 1
    draining: bool = False
    started: int = field(default_factory=lambda: int(time.time()))
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        """Open the queue and the store of pictures."""
        sizes = self.model.bundle.geometry
        each = bytes_of_features(sizes.num_image_tokens, sizes.d_model)
        self.pictures = Pictures(self.settings.pictures, self.settings.picture_bytes, each)
        together = Together(self.model, self._encoded, self._answered)
        batches = together.answer if takes_batches(self.model.runtime) else None
        self.room = WaitingRoom(self.workers, self.settings.queue, batches)
        self.metrics.watch(self.room, self.pictures)

    async def arrive(self, read: Callable[[], Awaitable[T]], wanted: Callable[[T], Wanted] = _itself) -> T:
        """Read a question and check it, if there is a place for one more.

        Args:
            read: reads the request.
            wanted: returns the question in what was read.

        Raises:
            Refusal: there is none, the server is about to end, or the question is wrong.
            InputError: the question is wrong.
        """
        if self.draining:
            raise draining()
        with self.room.arrival():
            asked = await read()
            question = wanted(asked)
            await beside(len(question.image or b""), lambda: check(question, self.model, self.settings))
            return asked

    def patience(self, wanted: Wanted) -> Patience:
        """Return the patience with a question: the time that its client gives it, within the server's own.

        Raises:
            Refusal: the time is no positive number of seconds.
        """
        most, asked = self.settings.answer_seconds, wanted.timeout
        if asked is not None and (isinstance(asked, bool) or not isinstance(asked, (int, float)) or not asked > 0):
            raise Refusal(400, "bad_question", "timeout must be a positive number of seconds")
        return Patience(most if asked is None else min(asked, most))

    def answer(self, wanted: Wanted, patience: Patience) -> Answer:
        """Answer a question; in the thread of a worker.

        Raises:
            InputError: the question or the picture is wrong.
            Refusal: the picture is not kept any more, or the time is over.
            DeviceError: the engine failed.
        """
        with within(patience):
            image_id, image = self._encoded(wanted, patience)
            if wanted.tile is None:
                result = image.run(**wanted.question, cancel=patience)
            else:
                result = self.model.run(wanted.image or b"", **wanted.question, tile=wanted.tile, cancel=patience)
        return self._answered(result, image_id, image.size)

    def follow(self, wanted: Wanted, patience: Patience, tell: Callable[[Encoded | Detection | str], None]) -> Answer:
        """Answer a question, and tell the parts of the answer as soon as they are decided; in a worker's thread.

        Raises:
            InputError: as for :meth:`answer`.
            Refusal: as for :meth:`answer`.
            DeviceError: as for :meth:`answer`.
        """
        if wanted.tile is not None:  # the objects are known once those of all tiles are joined
            answer = self.answer(wanted, patience)
            tell(Encoded(answer.image_id, answer.image_size))
            for found in _detections(answer.result):
                tell(found)
            return answer
        with within(patience):
            image_id, image = self._encoded(wanted, patience)
            parts = image.follow(**wanted.question, cancel=patience)  # a wrong question is refused here
            tell(Encoded(image_id, image.size))
            for part in parts:
                if isinstance(part, Result):
                    return self._answered(part, image_id, image.size)
                tell(part)
        raise AssertionError("an answer ends with its result")

    async def attend(self, request: Request, work: asyncio.Future[T], patience: Patience) -> T:
        """Wait for work that a client waits for; if the client goes, the work is stopped within a step.

        Raises:
            ClientDisconnect: the client has gone.
            Refusal: the time is over while the question waited for a worker, or the server ends.
        """
        gone = asyncio.ensure_future(_disconnect(request))
        both: set[asyncio.Future[Any]] = {work, gone}
        try:
            await asyncio.wait(both, timeout=patience.left() + _LAST_STEP, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            raise ClientDisconnect if gone.done() else patience.over()
        except asyncio.CancelledError:
            if self.draining:  # the answers that went on have had their time
                raise draining() from None
            raise
        finally:
            patience.gone.set()
            gone.cancel()
            work.cancel()

    def _encoded(self, wanted: Wanted, patience: Patience) -> tuple[str, EncodedImage]:
        if wanted.image is None:
            assert wanted.image_id is not None
            return wanted.image_id, self.pictures.get(wanted.image_id)
        content = wanted.image
        return self.pictures.encoded(content, lambda: self.model.encode(content, cancel=patience))

    def _answered(self, result: Result, image_id: str, size: tuple[int, int]) -> Answer:
        self.metrics.answered(result)
        return Answer(result, image_id, size)


def _detections(result: Result) -> Iterator[Detection]:
    """Yield the objects of an answer about tiles, which are boxes or quads."""
    form = "quad" if result.quads else "box"
    scores = zip(result.confidences, result.scores, strict=True)
    for label, shape, (confidence, score) in zip(result.labels, result.quads or result.boxes, scores, strict=True):
        place: dict[str, Any] = {form: shape}
        yield Detection(label, confidence, **place, score=score, calibrated=result.calibrated)


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
