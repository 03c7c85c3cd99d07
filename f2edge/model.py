"""Florence-2 on an edge device: pictures and questions in, answers out."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from threading import Event
from typing import TYPE_CHECKING

import numpy as np

from f2edge.asking.encoded import EncodedImage
from f2edge.asking.many import DEFAULT_BATCH
from f2edge.asking.questions import Question
from f2edge.asking.stopped import stopped_error
from f2edge.asking.stopwatch import Stopwatch
from f2edge.asking.tiles import answer_many_tiled, answer_tiles
from f2edge.asking.tiling import DEFAULT_NMS, DEFAULT_OVERLAP, tiling_of
from f2edge.asking.workers import Workers, threads_of_each
from f2edge.bundle.manifest import TOKENIZER, Bundle, open_graph
from f2edge.decoding.settings import GenerationSettings
from f2edge.decoding.stopping import StopRequestedError, StopSignal
from f2edge.drawing.display import Thumbnail, in_notebook
from f2edge.errors import DeviceError, InputError, LimitError
from f2edge.image import load_image, model_pixels
from f2edge.lines import shown
from f2edge.placement import parse_placement
from f2edge.selfcheck import SelfCheck
from f2edge.tasks.confidence import Judge
from f2edge.tasks.vocabulary import Vocabulary
from f2edge.tokenizer import Tokenizer
from f2edge.video.asking import answer_frames

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from os import PathLike

    from f2edge.arrays import IntArray
    from f2edge.asking.questions import Ask, Encoded
    from f2edge.asking.tiling import Tiling
    from f2edge.decoding.stopping import Cancel
    from f2edge.engine import Runtime
    from f2edge.image import ImageSource
    from f2edge.placement import Placement
    from f2edge.result import Result
    from f2edge.selfcheck import OnMismatch
    from f2edge.tasks.labels import Labels
    from f2edge.tasks.table import RegionSource
    from f2edge.video.asking import Answered, FrameSource


def load(
    path: str | PathLike[str],
    device: str | None = None,
    *,
    on_mismatch: OnMismatch | None = None,
    threads: int | None = None,
    workers: int = 1,
) -> Florence2:
    """Open a bundle on a device.

    Args:
        path: the directory of the bundle.
        device: the name that the engine gives a device ("CPU", "GPU", "NPU", "AUTO"), or one for some components
            ("vision=GPU,decoder=CPU"); by default the device that the bundle was compiled for.
        on_mismatch: replay the golden cases at the first use of the bundle on this device and driver.  If they are
            wrong, raise an error ("error"), run the wrong components on the CPU ("fallback"), or go on ("warn").  By
            default they are not replayed.
        threads: CPU threads that each worker computes with; by default the engine chooses, or several workers share
            the cores.
        workers: how many answers are computed at the same time; the weights are in memory once.  Several workers of
            one thread answer more questions a second than one worker of several threads, and each takes longer.

    Raises:
        BundleError: the bundle is damaged or of another version, or it is a backbone.
        DeviceError: the device is not there, cannot load the graphs, or computes them wrong; or the workers have more
            threads together than this process has cores.
    """
    from f2edge.runtimes import identities, open_runtime  # noqa: PLC0415 - the one place where core meets engines

    bundle = open_graph(path, "answers")
    tokenizer = Tokenizer.from_file(bundle.path / TOKENIZER)
    placed = parse_placement(device, bundle.recipe.device, threads)
    placement = replace(placed, threads=threads_of_each(workers, threads), workers=workers)

    def open_on(place: Placement) -> Florence2:
        return Florence2(bundle, open_runtime(bundle, place), tokenizer, place.workers)

    if on_mismatch is None:
        return open_on(placement)
    return SelfCheck(bundle, placement, identities(bundle.recipe.runtime, bundle.recipe.target), open_on).model(
        on_mismatch
    )


class Florence2:
    """A bundle opened on a device.

    Any thread may ask.  As many answers as the model has workers are computed at the same time, and other questions
    wait for their turn.  As a context manager it closes itself::

        with f2edge.load("florence2.cpu") as model:
            print(model.run("street.jpg", "od").labels)

    Attributes:
        thumbnails: whether results keep a small copy of their picture, which a notebook shows.  By default they do
            so in the kernel of a notebook only: a copy takes about 50 kB of memory and 2 to 25 ms for each picture
            (25 ms for 12 megapixels).
    """

    def __init__(self, bundle: Bundle, runtime: Runtime, tokenizer: Tokenizer, workers: int = 1) -> None:
        self.bundle = bundle
        self.tokenizer = tokenizer
        self.thumbnails = in_notebook()
        self._runtime: Runtime | None = runtime
        self._workers = Workers(workers)

    @property
    def runtime(self) -> Runtime:
        """The engine.

        Raises:
            DeviceError: the model is closed.
        """
        if self._runtime is None:
            raise DeviceError("this model is closed; open its bundle again with f2edge.load")
        return self._runtime

    @property
    def workers(self) -> int:
        """How many answers, or batches of them, are computed at the same time."""
        return self._workers.count

    def close(self) -> None:
        """Release the engine and its memory; answers that are being decoded end as usual.

        Later questions raise DeviceError.  Closing a model again does nothing.
        """
        self._runtime = None
        self._workers.close()

    def __enter__(self) -> Florence2:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(
        self,
        image: ImageSource,
        task: str,
        text: str | None = None,
        *,
        labels: Labels | None = None,
        region: RegionSource | None = None,
        num_beams: int | None = None,
        max_new_tokens: int | None = None,
        structured: bool = False,
        settings: GenerationSettings | None = None,
        tile: int | None = None,
        overlap: float = DEFAULT_OVERLAP,
        nms: float = DEFAULT_NMS,
        timeout: float | None = None,
        cancel: Cancel | None = None,
    ) -> Result:
        """Ask one question about one image.

        Example:
            >>> result = model.run("street.jpg", "od")
            >>> print(result.labels, result.boxes, result.confidences)
            >>> model.run("street.jpg", "region_to_category", region=result.boxes[0]).plain_text

        Args:
            image: a path, the bytes of a picture file, an open binary file, a PIL image, or an array (H, W, 3) of
                uint8 in the order RGB (:func:`f2edge.from_bgr` converts a frame of OpenCV).
            task: "od" or "<OD>"; "" for a free prompt.
            text: the text input of the task: a caption, a phrase or a free prompt.  If there are ``labels``, it may be
                left out: the model then gets the labels, joined by Florence-2's token ``<and>``.
            labels: the labels that may come, and no others; the answer is structured.  For tasks whose answers have
                labels.
            region: x1, y1, x2, y2 in pixels of the original image, for tasks about a region; any sequence of four
                numbers, such as a box of a result.
            num_beams: beams of the search; by default those of the bundle.
            max_new_tokens: length of the longest answer in tokens; by default the limit of the bundle.
            structured: hold the answer to the structure of its task: whole objects only, each with a label if the task
                gives labels, boxes with x1 <= x2 and y1 <= y2, and no box twice with its label.  For tasks that
                locate objects.
            settings: all settings of the search, in place of those of the bundle.
            tile: also ask about every tile of this side, in pixels of the original image, and join what is found, so
                that small objects of a large picture are seen.  For "od", "dense_region_caption", "region_proposal"
                and "ocr_with_region".  The text and the tokens of the result are those about the whole picture.
            overlap: the least share of a tile that it has in common with the next one, 0 to less than 1.
            nms: of two objects of different tiles with an IoU of at least this, the more certain one stays; in "od"
                only if they have the same label.
            timeout: seconds from the call after which the answer is stopped, the wait for a worker included.
            cancel: stops the answer once it is set, from any thread; a :class:`threading.Event`.

        Raises:
            InputError: the image, the task, its text, labels or region, or a limit is wrong; or structure is asked of
                a task that is answered in plain text, or of settings without an end token.
            DeviceError: the engine failed.
            StoppedError: ``timeout`` is over or ``cancel`` was set; its ``result`` is what was decided until then.
        """
        question = Question(task, text, region, num_beams, max_new_tokens, settings, labels, structured)
        signal = StopSignal.of(timeout, cancel)
        return self._answer(image, question, tiling_of(tile, overlap, nms), signal)

    async def arun(
        self,
        image: ImageSource,
        task: str,
        text: str | None = None,
        *,
        labels: Labels | None = None,
        region: RegionSource | None = None,
        num_beams: int | None = None,
        max_new_tokens: int | None = None,
        structured: bool = False,
        settings: GenerationSettings | None = None,
        tile: int | None = None,
        overlap: float = DEFAULT_OVERLAP,
        nms: float = DEFAULT_NMS,
        timeout: float | None = None,
        cancel: Cancel | None = None,
    ) -> Result:
        """Ask one question from a coroutine, in one of the model's own threads; see :meth:`run`.

        A task that is cancelled frees its worker within one decoder step.

        Example:
            >>> captions = await asyncio.gather(*(model.arun(frame, "caption") for frame in frames))
        """
        abandoned = Event()
        question = Question(task, text, region, num_beams, max_new_tokens, settings, labels, structured)
        tiling, signal = tiling_of(tile, overlap, nms), StopSignal.of(timeout, cancel, abandoned)
        ask = partial(self._answer, image, question, tiling, signal)
        _ = self.runtime  # a closed model has no threads any more
        try:
            return await asyncio.get_running_loop().run_in_executor(self._workers.pool, ask)
        finally:
            abandoned.set()

    def run_many(
        self,
        asks: Iterable[Ask],
        *,
        batch: int = DEFAULT_BATCH,
        timeout: float | None = None,
        cancel: Cancel | None = None,
    ) -> Iterator[Result]:
        """Ask many questions about any pictures, and let the decoder take its steps for a batch of them together.

        A worker encodes pictures and prompts one after the other, a picture of neighbouring questions once, and several
        workers answer a batch each.  A batch gains where the decoder takes most of the time, and takes more memory: at
        base size 22 MB for each question.

        Example:
            >>> asks = [f2edge.Ask(path, "od") for path in sorted(Path("photos").glob("*.jpg"))]
            >>> for ask, result in zip(asks, model.run_many(asks)):
            ...     print(ask.image, result.labels)

        Args:
            asks: the questions; they are read as they are needed, some batches ahead.  Tiles of a question are answered
                in batches like other pictures.
            batch: how many questions are decoded together.  Bundles of fixed shapes and TensorRT's answer one after
                the other, whatever it is.
            timeout: seconds from the call after which the answers stop.
            cancel: stops the answers once it is set, from any thread; a :class:`threading.Event`.

        Yields:
            The results, in the order of the questions.  Their times of encoder and decoder are the batch's, divided by
            its questions.

        Raises:
            InputError: a question is wrong, or ``batch`` is; after the answers to the questions before it.
            DeviceError: the engine failed.
            StoppedError: ``timeout`` is over or ``cancel`` was set; after the answers that are whole, in their order.
        """
        return answer_many_tiled(self, asks, batch, StopSignal.of(timeout, cancel))

    def run_frames(
        self,
        source: FrameSource,
        task: str,
        text: str | None = None,
        *,
        labels: Labels | None = None,
        region: RegionSource | None = None,
        num_beams: int | None = None,
        max_new_tokens: int | None = None,
        structured: bool = False,
        settings: GenerationSettings | None = None,
        unchanged: float | None = None,
    ) -> Iterator[Answered]:
        """Ask one question about every frame, one after the other.

        Example:
            >>> for seen in model.run_frames("rtsp://192.168.0.20/stream", "od", unchanged=8):
            ...     print(seen.frame.seconds, seen.result.labels, seen.reused)

        Args:
            source: a source of :func:`f2edge.frames`, which is opened as by default, what that returns, or any other
                pictures one after the other.
            task: the arguments up to ``settings`` are those of :meth:`run`.
            text: see above.
            labels: see above.
            region: see above.
            num_beams: see above.
            max_new_tokens: see above.
            structured: see above.
            settings: see above.
            unchanged: a frame that differs by at most as many levels of 255 from the last frame that was asked about
                has its answer, without a question.  What counts is the block of 4 x 4 pixels, in the size that the
                model takes, that differs most.  8 is more than the noise of most cameras.  By default the model is
                asked about every frame.

        Raises:
            InputError: there is no such source, the question is wrong, or ``unchanged`` is.
            VideoError: the source breaks off; after the answers about the frames before that.
            DeviceError: the engine failed.
        """
        question = Question(task, text, region, num_beams, max_new_tokens, settings, labels, structured)
        return answer_frames(self, source, question, unchanged)

    def _answer(self, image: ImageSource, question: Question, tiling: Tiling | None, signal: StopSignal) -> Result:
        return answer_tiles(self, image, question, tiling, signal) if tiling else self.answer(image, question, signal)

    def answer(self, image: ImageSource | Encoded, question: Question, signal: StopSignal) -> Result:
        """Answer one question about one picture, which may be encoded already."""
        with self.worker(signal):
            encoded = image if isinstance(image, EncodedImage) else self._encode(image, signal)  # type: ignore[arg-type]
            return encoded.answer(encoded.asked(question), signal)

    @contextmanager
    def worker(self, signal: StopSignal, *, next_step: bool = False) -> Iterator[None]:
        """Wait for a free worker, and keep it until the end of the block.

        Args:
            signal: ends the wait.
            next_step: the block is the next step of an answer that has begun, which need not stand in line again.

        Raises:
            StoppedError: the signal asked to stop while a worker was waited for, or while an engine ran.
        """
        try:
            with self._workers.turn(signal, next_step=next_step):
                yield
        except StopRequestedError:
            raise stopped_error(signal) from None

    def encode(self, image: ImageSource, *, timeout: float | None = None, cancel: Cancel | None = None) -> EncodedImage:
        """Encode an image once, to ask many questions about it.

        Args:
            image: as for :meth:`run`.
            timeout: as for :meth:`run`.
            cancel: as for :meth:`run`.

        Raises:
            ImageError: it is not a picture, or is too large to open safely.
            DeviceError: the engine failed.
            StoppedError: ``timeout`` is over or ``cancel`` was set.
        """
        signal = StopSignal.of(timeout, cancel)
        with self.worker(signal):
            return self._encode(image, signal)

    def encoded(self, image: ImageSource | Encoded, signal: StopSignal) -> EncodedImage:
        """Return the encoded image, which a question of many may hold already.

        Raises:
            InputError: another model has encoded it.
            StoppedError: the signal asked to stop.
        """
        if not isinstance(image, EncodedImage):
            with self.worker(signal):
                return self._encode(image, signal)  # type: ignore[arg-type]
        if image.model is not self:
            raise InputError("an encoded image belongs to another model; encode the picture with this one")
        return image

    def _encode(self, image: ImageSource, signal: StopSignal) -> EncodedImage:
        clock = Stopwatch()
        geometry = self.bundle.geometry
        picture = load_image(image)
        pixels = model_pixels(picture, geometry)
        clock.lap("preprocess")
        features = self.runtime.encode_image(pixels, signal)
        clock.lap("vision")
        thumbnail = Thumbnail.of(picture) if self.thumbnails else None
        return EncodedImage(self, features, picture.size, clock.laps, thumbnail)

    def settings(
        self,
        num_beams: int | None = None,
        max_new_tokens: int | None = None,
        settings: GenerationSettings | None = None,
    ) -> GenerationSettings:
        """Return the settings of a search: those of the bundle, except the given ones.

        Raises:
            InputError: fewer than one beam or token, or more than the limit of the bundle; or ``settings`` is of
                another type.
        """
        chosen = self.bundle.generation if settings is None else settings
        if not isinstance(chosen, GenerationSettings):
            raise InputError(f"`settings` is {shown(chosen)}; give an f2edge.GenerationSettings")
        wanted = {"num_beams": num_beams, "max_new_tokens": max_new_tokens}
        chosen = replace(chosen, **{name: value for name, value in wanted.items() if value is not None})  # type: ignore[arg-type]
        limits = self.bundle.limits
        for name, limit in (("max_new_tokens", limits.new_tokens), ("num_beams", limits.num_beams)):
            if (value := getattr(chosen, name)) > limit:
                raise LimitError(f"{name} is {value}; this model takes 1 to {limit}")
        return chosen

    @cached_property
    def judge(self) -> Judge:
        """Tells how far to trust the objects of answers."""
        return Judge(self.tokenizer.bins(self._token_count), self.bundle.confidence)

    @property
    def _token_count(self) -> int:
        """How many tokens the model scores or the tokenizer knows."""
        return max(self.bundle.geometry.vocab_size, self.tokenizer.vocab_size)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The tokens by what they may be in a structured answer; sorting them takes some 0.1 s at the first use."""
        return Vocabulary.of(self.tokenizer, self._token_count)

    def prompt_ids(self, prompt: str) -> IntArray:
        """Return the token ids (n,) int64 of a prompt, its begin and end tokens included.

        Raises:
            LimitError: it has more tokens than the bundle has room for.
        """
        ids = self.tokenizer.encode(prompt)
        limit = self.bundle.limits.prompt_tokens
        if len(ids) > limit:
            raise LimitError(f"the prompt has {len(ids)} tokens, this bundle takes {limit}; shorten the text")
        return np.array(ids)
