"""A picture that a model has encoded, and what can be asked about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from f2edge.asking.followed import Followed
from f2edge.asking.many import DEFAULT_BATCH, about, answer_many
from f2edge.asking.many import Model as BatchModel
from f2edge.asking.objects import ObjectReader
from f2edge.asking.preparing import Model as PreparingModel
from f2edge.asking.preparing import prepare
from f2edge.asking.questions import Question
from f2edge.asking.stopped import stopped_error
from f2edge.asking.stopwatch import Stopwatch
from f2edge.decoding import decide, generate, stream
from f2edge.decoding.session import TimedSession
from f2edge.decoding.stopping import StopSignal
from f2edge.decoding.structure import whole_objects
from f2edge.errors import TaskError
from f2edge.result import Result, without_special_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from f2edge.asking.objects import Detection
    from f2edge.asking.questions import Ask, Asked
    from f2edge.decoding import Generation
    from f2edge.decoding.session import DecoderSession
    from f2edge.decoding.settings import GenerationSettings
    from f2edge.decoding.stopping import Cancel
    from f2edge.decoding.structure import Structure
    from f2edge.drawing.display import Thumbnail
    from f2edge.engine import Features
    from f2edge.tasks.confidence import Judge
    from f2edge.tasks.labels import Labels
    from f2edge.tasks.table import RegionSource, Task
    from f2edge.tokenizer import Tokenizer

T = TypeVar("T")
Search: TypeAlias = "Callable[[DecoderSession, GenerationSettings, StopSignal, Structure | None], Iterator[T]]"


class Model(BatchModel, PreparingModel, Protocol):
    """What an encoded image needs of its model, a :class:`f2edge.Florence2`."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the bundle."""
        ...

    @property
    def judge(self) -> Judge:
        """Tells how far to trust the objects of its answers."""
        ...


@dataclass(frozen=True)
class EncodedImage:
    """An encoded image: a question about it skips the vision tower.

    Args:
        model: the model that encoded it.
        features: the image features, as the engine keeps them.
        size: (width, height) of the original image in pixels.
        timings_ms: the times of pre-processing and of the vision tower in milliseconds.
        thumbnail: a small copy of the image for its results, if the model's ``thumbnails`` is set.
    """

    model: Model
    features: Features
    size: tuple[int, int]
    timings_ms: dict[str, float]
    thumbnail: Thumbnail | None = None

    def run(
        self,
        task: str,
        text: str | None = None,
        *,
        labels: Labels | None = None,
        region: RegionSource | None = None,
        num_beams: int | None = None,
        max_new_tokens: int | None = None,
        structured: bool = False,
        settings: GenerationSettings | None = None,
        timeout: float | None = None,
        cancel: Cancel | None = None,
    ) -> Result:
        """Ask one question; see :meth:`Florence2.run`."""
        signal = StopSignal.of(timeout, cancel)
        with self.model.worker(signal):
            question = Question(task, text, region, num_beams, max_new_tokens, settings, labels, structured)
            return self.answer(self.asked(question), signal)

    def answer(self, asked: Asked, signal: StopSignal) -> Result:
        """Answer a question that :meth:`asked` prepared, on the worker that the caller has.

        Raises:
            StopRequestedError: the signal asked to stop the encoder.
            StoppedError: the signal asked to stop the search.
        """
        clock, session = self._started(asked, signal)
        generation = generate(session, asked.settings, signal, asked.structure)
        return self._ended(asked, generation, clock, session, signal)

    def _started(self, asked: Asked, signal: StopSignal) -> tuple[Stopwatch, TimedSession]:
        """Encode the prompt, and begin to time the search."""
        clock = Stopwatch(self.timings_ms)
        session = self.model.runtime.start(self.features, asked.prompt_ids, signal)
        clock.lap("encoder")
        return clock, TimedSession(session)

    def _ended(
        self, asked: Asked, generation: Generation, clock: Stopwatch, session: TimedSession, signal: StopSignal
    ) -> Result:
        """Return the result of a search that has ended.

        Raises:
            StoppedError: the signal asked to stop it.
        """
        clock.lap("decode")
        result = self.result(asked.task, generation, clock, session.timings_ms())
        result = replace(result, steps=session.steps)
        if signal.reason:
            raise stopped_error(signal, result)
        return result

    def result(
        self,
        task: Task,
        generation: Generation,
        clock: Stopwatch,
        timings_ms: Mapping[str, float] | None = None,
    ) -> Result:
        """Return the result of what was generated about this image.

        Args:
            task: what was asked.
            generation: the sequence that a search chose.
            clock: what has been timed until now.
            timings_ms: further times in milliseconds, which are parts of the clock's.
        """
        tokenizer, sequence = self.model.tokenizer, generation.token_ids
        pieces, lone_pieces = tokenizer.decode_tokens(sequence), tokenizer.decode_each(sequence)
        result = Result.from_generation(task, pieces, lone_pieces, generation, self.size, self.model.judge)
        clock.lap("postprocess")
        timings = {**clock.laps, **(timings_ms or {}), "total": sum(clock.laps.values())}
        return replace(result, timings_ms=timings, thumbnail=self.thumbnail)

    def run_many(
        self,
        asks: Iterable[Ask | str],
        *,
        batch: int = DEFAULT_BATCH,
        timeout: float | None = None,
        cancel: Cancel | None = None,
    ) -> Iterator[Result]:
        """Ask several questions, and let the decoder take its steps for all of them together.

        Example:
            >>> image = model.encode("street.jpg")
            >>> caption, objects = image.run_many(["caption", "od"])

        Args:
            asks: names of tasks, or questions whose ``image`` is None.
            batch: as for :meth:`Florence2.run_many`.
            timeout: as for :meth:`Florence2.run_many`.
            cancel: as for :meth:`Florence2.run_many`.

        Raises:
            InputError: a question is wrong or names another image, or ``batch`` is; after the answers before it.
            DeviceError: the engine failed.
            StoppedError: ``timeout`` is over or ``cancel`` was set; after the answers that are whole, in their order.
        """
        return answer_many(self.model, about(self, asks), batch, StopSignal.of(timeout, cancel))

    def stream(
        self,
        task: str,
        text: str | None = None,
        *,
        labels: Labels | None = None,
        region: RegionSource | None = None,
        max_new_tokens: int | None = None,
        structured: bool = False,
        timeout: float | None = None,
        cancel: Cancel | None = None,
    ) -> Iterator[str]:
        """Ask one question and yield the text of the answer piece by piece, as greedy search chooses tokens.

        Location tokens are kept; ``<s>``, ``</s>`` and ``<pad>`` are not.  A character of several tokens comes with the
        last of them.  A worker is taken for each token alone, so that a slow reader keeps none from other questions.
        The pieces of a structured answer come object by object; see :meth:`Florence2.run`.

        Raises:
            InputError: the task, its text, labels or region, or a limit is wrong; at the call.
            DeviceError: the engine failed; while the answer is read.
            StoppedError: ``timeout``, in seconds from the call, is over or ``cancel`` was set; while the answer is
                read, after the pieces that were decided until then.
        """
        question = Question(task, text, region, 1, max_new_tokens, None, labels, structured)
        tokens = self._token_ids(self.asked(question), StopSignal.of(timeout, cancel))
        return filter(None, map(without_special_tokens, self.model.tokenizer.pieces(tokens)))

    def stream_objects(
        self,
        task: str,
        text: str | None = None,
        *,
        labels: Labels | None = None,
        region: RegionSource | None = None,
        num_beams: int | None = None,
        max_new_tokens: int | None = None,
        structured: bool = False,
        timeout: float | None = None,
        cancel: Cancel | None = None,
    ) -> Iterator[Detection]:
        """Ask one question and yield each object as soon as its last location token is decided.

        In beam search a token is decided once all sequences that may still win have it.  A mask comes once the next one
        begins, since more points may follow.  The objects are those that :meth:`run` returns, in the same order; only
        if an open-vocabulary answer has masks after boxes, the boxes come as boxes.

        Example:
            >>> for found in model.encode("street.jpg").stream_objects("od"):
            ...     print(found.label, found.box)

        Raises:
            InputError: the task, its text, labels or region, or a limit is wrong, or the task locates nothing; at the
                call.
            DeviceError: the engine failed; while the objects are read.
            StoppedError: as for :meth:`stream`.
        """
        question = Question(task, text, region, num_beams, max_new_tokens, None, labels, structured)
        asked = self.asked(question)
        if not asked.task.locates:
            raise TaskError(
                f"task {asked.task.name or 'with a free prompt'} locates no objects; stream yields its text"
            )
        return self._objects(asked, StopSignal.of(timeout, cancel))

    def _objects(self, asked: Asked, signal: StopSignal) -> Iterator[Detection]:
        return self._objects_of(self._steps(decide, asked, signal), asked)

    def _token_ids(self, asked: Asked, signal: StopSignal) -> Iterator[int]:
        """Yield the tokens of the answer; nothing is computed before the first one is read."""
        tokens = (token.token_id for token in self._steps(stream, asked, signal))
        return tokens if asked.structure is None else whole_objects(tokens, asked.structure)

    def follow(
        self,
        task: str,
        text: str | None = None,
        *,
        labels: Labels | None = None,
        region: RegionSource | None = None,
        num_beams: int | None = None,
        max_new_tokens: int | None = None,
        structured: bool = False,
        timeout: float | None = None,
        cancel: Cancel | None = None,
    ) -> Iterator[Detection | str | Result]:
        """Ask one question and yield the parts of the answer as soon as they are decided, and at the end the whole.

        The parts are objects, as :meth:`stream_objects` yields them, or the pieces of a text, if the task is answered
        in text.  With several beams a piece comes once all sequences that may still win have it.  The last item is the
        result, the same as that of :meth:`run`.  The answer keeps its worker while the parts are read, so read them
        without a pause.

        Example:
            >>> *parts, result = model.encode("street.jpg").follow("caption")

        Raises:
            InputError: the task, its text, labels or region, or a limit is wrong; at the call.
            DeviceError: the engine failed; while the parts are read.
            StoppedError: ``timeout``, in seconds from the call, is over or ``cancel`` was set; after the parts that
                were decided until then, with the result that they make.
        """
        question = Question(task, text, region, num_beams, max_new_tokens, None, labels, structured)
        return self.parts(self.asked(question), StopSignal.of(timeout, cancel))

    def parts(self, asked: Asked, signal: StopSignal) -> Iterator[Detection | str | Result]:
        """Yield the parts of the answer to a question that :meth:`asked` prepared; see :meth:`follow`."""
        with self.model.worker(signal):
            clock, session = self._started(asked, signal)
            followed = Followed(decide(session, asked.settings, signal, asked.structure))
            yield from self._objects_of(followed, asked) if asked.task.locates else self._pieces_of(followed)
            result = self._ended(asked, followed.last, clock, session, signal)
        yield result

    def _objects_of(self, steps: Iterable[Generation], asked: Asked) -> Iterator[Detection]:
        reader, decided = ObjectReader(asked.task, self.model.tokenizer, self.size, self.model.judge), None
        for decided in steps:
            yield from reader.read(decided, whole=False)
        if decided:
            yield from reader.read(decided, whole=True)

    def _pieces_of(self, followed: Followed) -> Iterator[str]:
        return filter(None, map(without_special_tokens, self.model.tokenizer.pieces(followed.tokens())))

    def _steps(self, search: Search[T], asked: Asked, signal: StopSignal) -> Iterator[T]:
        """Yield what a search yields, and take a worker for each step alone.

        Raises:
            StoppedError: the signal asked to stop, after what was decided until then.
        """
        with self.model.worker(signal):
            session = self.model.runtime.start(self.features, asked.prompt_ids, signal)
            steps = search(session, asked.settings, signal, asked.structure)
        while (step := self._next(steps, signal)) is not None:
            yield step
        if signal.reason:
            raise stopped_error(signal)

    def _next(self, steps: Iterator[T], signal: StopSignal) -> T | None:
        with self.model.worker(signal, next_step=True):
            return next(steps, None)

    def asked(self, question: Question) -> Asked:
        """Prepare a question about this image.

        Raises:
            InputError: the task, its text, labels or region, or a limit is wrong.
        """
        return prepare(self.model, question, self.size)
