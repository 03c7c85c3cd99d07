"""Answer questions about encoded pictures in batches, if they waited beside each other."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from f2edge.asking.many import Prepared, answer_prepared
from f2edge.asking.stopped import StoppedError
from f2edge.decoding.stopping import StopRequestedError, StopSignal
from f2edge.serve.patience import AllGone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from f2edge.model import Florence2
    from f2edge.result import Result
    from f2edge.serve.patience import Patience
    from f2edge.serve.questions import Accepted

A = TypeVar("A")


@dataclass(frozen=True)
class Together(Generic[A]):
    """Answers several questions, each with its own patience.

    Args:
        model: the model, whose runtime takes batches.
        answered: makes the answer of a result and its question.
    """

    model: Florence2
    answered: Callable[[Result, Accepted], A]

    def answer(self, questions: Sequence[tuple[Accepted, Patience]]) -> list[A | Exception]:
        """Return the answer to each question, whose picture was sent before, or that its time is over.

        A batch goes on until nobody waits for any of its answers.

        Raises:
            DeviceError: the engine failed.
        """
        outcomes: list[A | Exception] = [patience.over() for _, patience in questions]
        waiting = [place for place, (_, patience) in enumerate(questions) if not patience.is_set()]
        prepared = [_prepared(place, questions[place][0]) for place in waiting]
        signal = StopSignal(None, AllGone([questions[place][1] for place in waiting]))
        with suppress(StopRequestedError, StoppedError):
            for place, result in answer_prepared(self.model, prepared, signal):
                outcomes[place] = self.answered(result, questions[place][0])
        return outcomes


def _prepared(place: int, accepted: Accepted) -> Prepared:
    assert accepted.image is not None
    return Prepared(place, accepted.image, accepted.about(accepted.image))
