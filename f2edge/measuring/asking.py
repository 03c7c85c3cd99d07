"""The one question that a measurement asks, and when it has asked often enough."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from f2edge.asking.questions import Ask
from f2edge.bundle.golden import GoldenArrays
from f2edge.bundle.manifest import GOLDEN
from f2edge.errors import TaskError
from f2edge.tasks.table import resolve

if TYPE_CHECKING:
    from f2edge.asking.encoded import EncodedImage
    from f2edge.decoding.settings import GenerationSettings
    from f2edge.image import ImageSource
    from f2edge.model import Florence2
    from f2edge.result import Result


@dataclass(frozen=True)
class Asking:
    """One question to one model.

    Args:
        model: the model.
        picture: what it is asked about.
        task: a task that needs no text and no region.
        settings: the settings of the search.
    """

    model: Florence2
    picture: ImageSource
    task: str
    settings: GenerationSettings

    @classmethod
    def of(
        cls, model: Florence2, image: ImageSource | None, task: str, num_beams: int | None, new_tokens: int | None
    ) -> Asking:
        """Prepare a question; without an image it is about the golden picture of the bundle."""
        picture = golden_picture(model) if image is None else image
        return cls(model, picture, task, search_settings(model, num_beams, new_tokens))

    def once(self) -> tuple[EncodedImage, Result]:
        """Ask about the picture, from its file on; return also the encoded image."""
        encoded = self.model.encode(self.picture)
        return encoded, encoded.run(self.task, settings=self.settings)

    def again(self, encoded: EncodedImage) -> float:
        """Return the milliseconds of one more question about an encoded image."""
        started = time.perf_counter()
        encoded.run(self.task, settings=self.settings)
        return since(started)

    def fresh(self) -> Ask:
        """Return the question about a copy of the picture: of several about one picture, a batch encodes it once."""
        return Ask(_copy(self.picture), self.task, settings=self.settings)


@dataclass
class Plan:
    """How long to measure: until there are so many runs, and so many seconds have passed.

    Args:
        runs: the least number of runs.
        duration: the least seconds.
    """

    runs: int
    duration: float = 0.0
    _started: float = field(default_factory=time.perf_counter)

    def start(self) -> None:
        """Count the seconds from now on."""
        self._started = time.perf_counter()

    def enough(self, runs: int) -> bool:
        """Tell whether that many runs are enough at this moment."""
        return runs >= self.runs and time.perf_counter() - self._started >= self.duration


def check_task(task: str) -> None:
    """Refuse a task that cannot be asked without more.

    Raises:
        TaskError: the task is unknown, or needs a text or a region.
    """
    if resolve(task).input != "none":
        name = resolve(task).name or "a free prompt"
        raise TaskError(f"bench asks without a text or a region, {name} needs one; choose caption or od, say")


def search_settings(model: Florence2, num_beams: int | None, new_tokens: int | None) -> GenerationSettings:
    """Return the settings; for a fixed number of tokens, the end token is one that the model does not have."""
    settings = model.settings(num_beams, new_tokens)
    if new_tokens is None:
        return settings
    return replace(settings, eos_token_id=model.bundle.geometry.vocab_size)


def golden_picture(model: Florence2) -> ImageSource:
    """Return the picture of the golden cases, which has the size of the model's input."""
    bundle = model.bundle
    return GoldenArrays.load(bundle.path / GOLDEN, len(bundle.golden)).picture


def _copy(picture: Any) -> Any:
    """Return the picture as another object, of the same content."""
    if isinstance(picture, (str, PathLike)):
        return Path(picture).read_bytes()
    if hasattr(picture, "read"):
        picture.seek(0)
        picture = picture.read()
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return bytes(bytearray(picture))  # bytes of bytes would be the same object
    return picture.copy()  # an array, or a picture of PIL


def since(started: float) -> float:
    """Return the milliseconds since a moment of ``time.perf_counter``."""
    return (time.perf_counter() - started) * 1e3
