"""Contenders of ``make bench-curves``: f2edge's time over tokens, beams, prompts, images, image sizes and threads."""

from __future__ import annotations

from itertools import accumulate, cycle, islice
from typing import TYPE_CHECKING

from f2edge_bundle import Bundle
from measuring import Contender, timed
from workload import CASES

if TYPE_CHECKING:
    from artefacts import Cache
    from measuring import Samples
    from workload import Workload

AXES = {
    "base": {
        "tokens": (1, 2, 4, 8, 16, 32, 64, 128, 256, 384, 512),
        "beams": tuple(range(1, 9)),
        "prompts": tuple(range(1, 17)),
        "images": (1, 2, 4, 8, 16, 32, 64),
    },
    "tiny": {"tokens": (1, 8, 32), "beams": (1, 3), "prompts": (1, 4), "images": (1, 3)},
}
SIDES = {"base": (384, 512, 640, 768, 896, 992), "tiny": (64, 128)}
"""Image sizes in pixels per side.  At base size 992 is the largest that leaves positions for a prompt; 1024 leaves
none."""


def axis_name(axis: str, amount: int) -> str:
    """Return the name of the measure at one point of an axis."""
    return f"{axis}_{amount}"


class Growing(Bundle):
    """One bundle with growing amounts of work."""

    def measure(self) -> Samples:
        """Measure every point of every axis once."""
        axes = AXES[self.workload.name]
        tokens = {n: self._question(3, n) for n in axes["tokens"]}
        beams = {n: self._question(n, self.workload.caption_tokens) for n in axes["beams"]}
        prompts = dict(enumerate(self._prompts(max(axes["prompts"])), 1))
        images = dict(enumerate(self._images(max(axes["images"])), 1))
        measured = {"tokens": tokens, "beams": beams, "prompts": prompts, "images": images}
        return {axis_name(axis, n): [measured[axis][n]] for axis, amounts in axes.items() for n in amounts}

    def _question(self, num_beams: int, tokens: int) -> float:
        """Time an answer about an image that is already encoded, in ms."""
        settings = self.settings(num_beams, tokens)
        return timed(lambda: self.image.run("caption", settings=settings))

    def _prompts(self, count: int) -> list[float]:
        """Time ``count`` questions about one image: ms from the image to the end of the first, second, ... answer."""
        encoding = timed(lambda: self.model.encode(self.picture))
        settings = self.settings(3, self.workload.caption_tokens)
        tasks = islice(cycle(CASES), count)
        answers = [timed(lambda task=task: self.image.run(task, settings=settings)) for task in tasks]
        return [encoding + sum_ for sum_ in accumulate(answers)]

    def _images(self, count: int) -> list[float]:
        """Time ``count`` images one after the other: ms to the end of the first, second, ... caption."""
        answers = [timed(lambda: self.answer("caption", self.workload.caption_tokens)) for _ in range(count)]
        return list(accumulate(answers))


class Scaled(Contender):
    """A caption and its stages, for one image size and number of threads."""

    def __init__(self, workload: Workload, cache: Cache, bundle: str) -> None:
        self._bundle = Bundle(workload, cache, bundle)

    def warm_up(self) -> None:
        """Generate captions."""
        self._bundle.warm_up()

    def measure(self) -> Samples:
        """Time one caption, then each stage."""
        tokens = self._bundle.workload.caption_tokens
        caption = timed(lambda: self._bundle.answer("caption", tokens))
        return {"caption": [caption]} | {stage: [taken] for stage, taken in self._bundle.stages().items()}
