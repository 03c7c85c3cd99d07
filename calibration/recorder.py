"""Recording what really flows into the graphs: small files, so that memory does not grow with their number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image

from f2edge.bundle.writing import whole_file
from f2edge.calibration.questions import prompts
from f2edge.decoding import generate
from f2edge.image import load_image, pixel_values
from f2edge.result import without_special_tokens
from f2edge.tasks.table import TASKS, build_prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from f2edge.arrays import FloatArray, IntArray
    from f2edge.decoding.settings import GenerationSettings
    from f2edge.engine import Features
    from f2edge.evaluation import Sample
    from f2edge.geometry import Geometry
    from f2edge.runtimes.onnxruntime import OnnxRuntime
    from f2edge.tokenizer import Tokenizer

Inputs: TypeAlias = "dict[str, FloatArray | IntArray]"
"""What a graph is given, by the names of its inputs."""

CAPTION_TOKENS = 16
DECODER_PICTURES = 8
"""A decoder step's keys and values are 22 MB at base size; its weights alone are quantized, so few steps will do."""


@dataclass(frozen=True)
class Records:
    """Samples on disk, in ``directory``, named after the component whose inputs they hold.

    ``vision-*.npz`` hold pictures (H, W, 3) at the model's size, as bytes, ``encoder-*.npz`` image features and
    prompts, ``decoder-*.npz`` an early, a middle and a late step of an answer.  A picture's vision file is written
    last: where it is, the others are.
    """

    directory: Path
    geometry: Geometry

    def samples(self, component: str) -> list[Path]:
        """The files of one component."""
        return sorted(self.directory.glob(f"{component}-*.npz"))

    def load(self, path: Path) -> Inputs:
        """The inputs of a graph, by name, of one sample."""
        with np.load(path, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        return {"pixel_values": self.pixels(arrays["picture"])} if "picture" in arrays else arrays

    def pixels(self, picture: FloatArray) -> FloatArray:
        """Pixel values (1, 3, H, W) of a picture of the model's size."""
        geometry = self.geometry
        return pixel_values(Image.fromarray(picture), geometry.image_size, geometry.image_mean, geometry.image_std)

    def file(self, component: str, picture: int, number: int = 0) -> Path:
        """The place of one sample."""
        return self.directory / f"{component}-{picture:05}-{number}.npz"

    def write(self, path: Path, arrays: Inputs) -> None:
        """Write one sample, whole or not at all."""
        with whole_file(path) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Recorder:
    """Runs the float graphs over pictures and writes what each graph was given.

    Args:
        runtime: over the exported float graphs.
        tokenizer: the checkpoint's.
        settings: of the checkpoint's searches.
        records: where to write.
    """

    runtime: OnnxRuntime
    tokenizer: Tokenizer
    settings: GenerationSettings
    records: Records

    def record(self, samples: Sequence[Sample], progress: Callable[[int], None] = lambda _number: None) -> None:
        """Write the records of all pictures; those that an earlier, interrupted run has finished are kept.

        Args:
            samples: the pictures, with questions or without.
            progress: called with how many pictures are done.
        """
        self.records.directory.mkdir(parents=True, exist_ok=True)
        for index, sample in enumerate(samples):
            if not self.records.file("vision", index).is_file():
                self._picture(index, sample)
            progress(index + 1)

    def _picture(self, index: int, sample: Sample) -> None:
        records, runtime = self.records, self.runtime
        original = load_image(sample.image)
        height, width = records.geometry.image_size
        picture = np.asarray(original.resize((width, height), Image.Resampling.BICUBIC))
        features = runtime.encode_image(records.pixels(picture))
        caption = self._caption(features, index)
        limit = records.geometry.max_prompt_tokens
        asked = (self.tokenizer.encode(prompt) for prompt in prompts(sample, original.size, caption, index))
        for number, ids in enumerate(ids for ids in asked if len(ids) <= limit):
            inputs = {"image_features": runtime.features_to_host(features), "input_ids": np.array([ids])}
            records.write(records.file("encoder", index, number), inputs)
        records.write(records.file("vision", index), {"picture": picture})

    def _caption(self, features: Features, index: int) -> str:
        """The float model's words about the picture; of the first pictures, its steps are recorded on the way."""
        ids = np.array(self.tokenizer.encode(build_prompt(TASKS["<CAPTION>"])))
        tokens = min(CAPTION_TOKENS, self.settings.max_new_tokens)
        settings = replace(self.settings, num_beams=1, max_new_tokens=tokens)
        answer = generate(self.runtime.start(features, ids), settings).token_ids
        if index < DECODER_PICTURES:
            self._steps(features, ids, answer, index)
        return without_special_tokens(self.tokenizer.decode(answer))

    def _steps(self, features: Features, prompt_ids: IntArray, answer: Sequence[int], index: int) -> None:
        session, beam = self.runtime.start(features, prompt_ids), np.zeros(1, np.int64)
        recorded = {1, len(answer) // 2, len(answer) - 2}
        for position, token in enumerate(answer[:-1]):
            tokens = np.array([token])
            if position in recorded:
                self.records.write(self.records.file("decoder", index, position), session.inputs(tokens, beam))
            session.step(tokens, beam)
