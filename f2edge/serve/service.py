"""The parts of one server that its handlers share, and what they do before and beside an answer."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import ClientDisconnect

from f2edge.engine import takes_batches
from f2edge.serve.answering import Answering
from f2edge.serve.beside import LARGE, beside
from f2edge.serve.logs import Journal
from f2edge.serve.metrics import Metrics
from f2edge.serve.patience import Patience, in_time
from f2edge.serve.pictures import Pictures, bytes_of_features
from f2edge.serve.questions import accept
from f2edge.serve.refusals import Refusal, draining
from f2edge.serve.waiting import WaitingRoom

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from f2edge.model import Florence2
    from f2edge.serve.questions import Accepted, Wanted
    from f2edge.serve.settings import Settings

T = TypeVar("T")

_LAST_STEP = 1.0  # second that a worker has to stop by itself


def _itself(value: Any) -> Any:
    return value


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
        self.answering = Answering(self.model, self.pictures, self.metrics)
        batches = self.answering.answer_together if takes_batches(self.model.runtime) else None
        self.room = WaitingRoom(self.workers, self.settings.queue, batches)
        self.metrics.watch(self.room, self.pictures)
        self.journal = Journal(self.metrics, json_logs=self.settings.json_logs)

    async def arrive(
        self, read: Callable[[], Awaitable[T]], wanted: Callable[[T], Wanted] = _itself
    ) -> tuple[T, Accepted]:
        """Read a question, check it and prepare it, if there is a place for one more.

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
            asked = await in_time(read(), self.settings.body_seconds)
            question = wanted(asked)
            # the grammar of a structured answer takes long for a loop that others wait for
            size = LARGE if question.structured or question.labels else len(question.image or b"")
            return asked, await beside(size, lambda: accept(question, self.model, self.settings, self.pictures))

    def patience(self, wanted: Wanted) -> Patience:
        """Return the patience with a question: the time that its client gives it, within the server's own.

        Raises:
            Refusal: the time is no positive number of seconds.
        """
        most, asked = self.settings.answer_seconds, wanted.timeout
        if asked is not None and (isinstance(asked, bool) or not isinstance(asked, (int, float)) or not asked > 0):
            raise Refusal(400, "bad_question", "timeout must be a positive number of seconds")
        return Patience(most if asked is None else min(asked, most))

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


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
