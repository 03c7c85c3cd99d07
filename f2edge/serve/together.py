"""Answer questions about encoded pictures in batches, if they waited beside each other."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from f2edge.asking.many import Prepared, answer_prepared
from f2edge.asking.questions import Ask
from f2edge.asking.stopped import StoppedError
from f2edge.decoding.stopping import StopRequestedError, StopSignal
from f2edge.serve.patience import AllGone, Patience, within

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from f2edge.asking.encoded import EncodedImage
    from f2edge.model import Florence2
    from f2edge.result import Result
    from f2edge.serve.questions import Wanted

A = TypeVar("A")


class _Ready(NamedTuple):
    image_id: str
    image: EncodedImage
    prepared: Prepared


@dataclass(frozen=True)
class Together(Generic[A]):
    """Answers several questions, each with its own patience.

    Args:
        model: the model, whose runtime takes batches.
        encoded: returns the id and the encoded picture of a question, which was sent before.
        answered: makes the answer of a result, the picture's id and its (width, height) in pixels.
    """

    model: Florence2
    encoded: Callable[[Wanted, Patience], tuple[str, EncodedImage]]
    answered: Callable[[Result, str, tuple[int, int]], A]

    def answer(self, questions: Sequence[tuple[Wanted, Patience]]) -> list[A | Exception]:
        """Return the answer to each question, or the error that answering it alone would have raised.

        A batch goes on until nobody waits for any of its answers.
        """
        outcomes: dict[int, A | Exception] = {}
        ready: dict[int, _Ready] = {}
        for place, (wanted, patience) in enumerate(questions):
            try:
                ready[place] = self._ready(place, wanted, patience)
            except Exception as error:  # noqa: BLE001 - it is this question's own
                outcomes[place] = error
        outcomes |= self._answers(ready, {place: questions[place][1] for place in ready})
        return [outcomes[place] for place in range(len(questions))]

    def _ready(self, place: int, wanted: Wanted, patience: Patience) -> _Ready:
        with within(patience):
            if patience.is_set():
                raise patience.over()
            image_id, image = self.encoded(wanted, patience)
        asked = image.asked(Ask(None, **wanted.question).question)
        return _Ready(image_id, image, Prepared(place, image, asked))

    def _answers(self, ready: dict[int, _Ready], patiences: dict[int, Patience]) -> dict[int, A | Exception]:
        outcomes: dict[int, A | Exception] = {place: patience.over() for place, patience in patiences.items()}
        prepared = [one.prepared for one in ready.values()]
        signal = StopSignal(None, AllGone(list(patiences.values())))
        with suppress(StopRequestedError, StoppedError):
            for place, result in answer_prepared(self.model, prepared, len(prepared), signal):
                outcomes[place] = self.answered(result, ready[place].image_id, ready[place].image.size)
        return outcomes
