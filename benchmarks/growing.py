"""How f2edge's cost grows with the work: what is measured in each process of ``make bench-curves``."""

from __future__ import annotations

from itertools import accumulate, cycle, islice
from typing import TYPE_CHECKING

from f2edge_bundle import Bundle
from measuring import Contender, timed
from workload import TASKS

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
"""At base size a prompt of usual length fits beside the tokens of 992 pixels, and none beside those of 1024."""


def axis_name(axis: str, amount: int) -> str:
    """The name of a measure."""
    return f"{axis}_{amount}"


class Growing(Bundle):
    """One bundle asked for more and more."""

    def measure(self) -> Samples:
        """Each axis once."""
        axes = AXES[self.workload.name]
        tokens = {n: self._question(3, n) for n in axes["tokens"]}
        beams = {n: self._question(n, self.workload.caption_tokens) for n in axes["beams"]}
        prompts = dict(enumerate(self._prompts(max(axes["prompts"])), 1))
        images = dict(enumerate(self._images(max(axes["images"])), 1))
        measured = {"tokens": tokens, "beams": beams, "prompts": prompts, "images": images}
        return {axis_name(axis, n): [measured[axis][n]] for axis, amounts in axes.items() for n in amounts}

    def _question(self, num_beams: int, tokens: int) -> float:
        """About a picture that was encoded before."""
        settings = self.settings(num_beams, tokens)
        return timed(lambda: self.image.run("caption", settings=settings))

    def _prompts(self, count: int) -> list[float]:
        """From the picture to the first answer, to the second, ...: all about one picture."""
        encoding = timed(lambda: self.model.encode(self.picture))
        settings = self.settings(3, self.workload.caption_tokens)
        tasks = islice(cycle(TASKS.values()), count)
        answers = [timed(lambda task=task: self.image.run(task, settings=settings)) for task in tasks]
        return [encoding + sum_ for sum_ in accumulate(answers)]

    def _images(self, count: int) -> list[float]:
        """To the first picture's answer, to the second's, ..."""
        answers = [timed(lambda: self.answer("caption", self.workload.caption_tokens)) for _ in range(count)]
        return list(accumulate(answers))


class Scaled(Contender):
    """A caption and its stages: for image sizes and numbers of threads."""

    def __init__(self, workload: Workload, cache: Cache, bundle: str) -> None:
        self._bundle = Bundle(workload, cache, bundle)

    def warm_up(self) -> None:
        """A caption."""
        self._bundle.warm_up()

    def measure(self) -> Samples:
        """One caption, then each stage."""
        tokens = self._bundle.workload.caption_tokens
        caption = timed(lambda: self._bundle.answer("caption", tokens))
        return {"caption": [caption]} | {stage: [taken] for stage, taken in self._bundle.stages().items()}
