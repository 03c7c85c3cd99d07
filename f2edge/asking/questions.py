"""What is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from f2edge.asking.tiling import DEFAULT_NMS, DEFAULT_OVERLAP

if TYPE_CHECKING:
    from f2edge.arrays import IntArray
    from f2edge.asking.stopwatch import Stopwatch
    from f2edge.decoding import Generation
    from f2edge.decoding.settings import GenerationSettings
    from f2edge.decoding.stopping import StopSignal
    from f2edge.decoding.structure import Structure
    from f2edge.engine import Features
    from f2edge.image import ImageSource
    from f2edge.result import Result
    from f2edge.tasks.labels import Labels
    from f2edge.tasks.table import RegionSource, Task


class Question(NamedTuple):
    """What is asked about one image; see :meth:`f2edge.Florence2.run`."""

    task: str
    text: str | None
    region: RegionSource | None
    num_beams: int | None
    max_new_tokens: int | None
    settings: GenerationSettings | None
    labels: Labels | None = None
    structured: bool = False


class Asked(NamedTuple):
    """A question as the engine and the search take it."""

    task: Task
    prompt_ids: IntArray
    settings: GenerationSettings
    structure: Structure | None


class Encoded(Protocol):
    """A picture that a model has encoded; :class:`f2edge.EncodedImage` is one."""

    @property
    def features(self) -> Features:
        """The image features, as the engine keeps them."""
        ...

    @property
    def timings_ms(self) -> dict[str, float]:
        """The times of pre-processing and of the vision tower in milliseconds."""
        ...

    def asked(self, question: Question) -> Asked:
        """Prepare a question about it."""
        ...

    def answer(self, asked: Asked, signal: StopSignal) -> Result:
        """Answer a prepared question on the worker that the caller has."""
        ...

    def result(self, task: Task, generation: Generation, clock: Stopwatch) -> Result:
        """Return the result of what was generated about it."""
        ...


@dataclass(frozen=True)
class Ask:
    """One of many questions; see :meth:`f2edge.Florence2.run_many`.

    Args:
        image: the picture, as for :meth:`f2edge.Florence2.run`, or one that the model has encoded; None for a question
            to an encoded image.
        task: the other arguments are those of :meth:`f2edge.Florence2.run`.
    """

    image: ImageSource | Encoded | None
    task: str
    text: str | None = None
    region: RegionSource | None = field(default=None, kw_only=True)
    num_beams: int | None = field(default=None, kw_only=True)
    max_new_tokens: int | None = field(default=None, kw_only=True)
    settings: GenerationSettings | None = field(default=None, kw_only=True)
    labels: Labels | None = field(default=None, kw_only=True)
    structured: bool = field(default=False, kw_only=True)
    tile: int | None = field(default=None, kw_only=True)
    overlap: float = field(default=DEFAULT_OVERLAP, kw_only=True)
    nms: float = field(default=DEFAULT_NMS, kw_only=True)

    @property
    def question(self) -> Question:
        """What is asked, without the image and its tiles."""
        limits = (self.num_beams, self.max_new_tokens, self.settings)
        return Question(self.task, self.text, self.region, *limits, self.labels, self.structured)
