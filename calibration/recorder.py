"""Record the inputs of each graph on the calibration pictures, in files, so that memory does not grow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from f2edge.bundle.writing import whole_file
from f2edge.calibration.questions import prompts
from f2edge.decoding import generate
from f2edge.evaluation.pictures import as_annotated
from f2edge.image import fit, load_image, normalise
from f2edge.result import without_special_tokens
from f2edge.tasks.table import TASKS, build_prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from f2edge.arrays import ByteArray, FloatArray, IntArray
    from f2edge.decoding.settings import GenerationSettings
    from f2edge.engine import Features
    from f2edge.evaluation import Sample
    from f2edge.geometry import Geometry
    from f2edge.runtimes.onnxruntime.runtime import OnnxRuntime
    from f2edge.tokenizer import Tokenizer

Inputs: TypeAlias = "dict[str, FloatArray | IntArray]"
"""The inputs of a graph, by name."""

CAPTION_TOKENS = 16
"""The most tokens of the caption by the float model."""
DECODER_PICTURES = 8
"""Pictures whose decoder steps are recorded.  Only the weights of the decoder are quantized, so a few steps are enough;
the keys and values of one are 22 MB at base size."""
DECODER_STEPS = 3
"""The most steps of an answer that are recorded: an early, a middle and a late one."""


@dataclass(frozen=True)
class Records:
    """Samples on disk, in ``directory``, named after the component whose inputs they hold.

    ``vision-*.npz`` hold pictures (H, W, 3) uint8 at the size of the model, ``encoder-*.npz`` image features and
    prompts, ``decoder-*.npz`` an early, a middle and a late step of an answer.  The vision file of a picture is
    written last: if it is there, the others are.
    """

    directory: Path
    geometry: Geometry

    def samples(self, component: str) -> list[Path]:
        """List the files of one component."""
        return sorted(self.directory.glob(f"{component}-*.npz"))

    def load(self, path: Path) -> Inputs:
        """Read one sample: the inputs of its graph, by name."""
        with np.load(path, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        return {"pixel_values": self.pixels(arrays["picture"])} if "picture" in arrays else arrays

    def pixels(self, picture: ByteArray) -> FloatArray:
        """Return the pixel values (1, 3, H, W) float32 of a picture (H, W, 3) uint8 of the size of the model."""
        geometry = self.geometry
        return normalise(picture, geometry.image_mean, geometry.image_std, geometry.image_processing)

    def file(self, component: str, picture: int, number: int = 0) -> Path:
        """Return the path of one sample."""
        return self.directory / f"{component}-{picture:05}-{number}.npz"

    def write(self, path: Path, arrays: Inputs | dict[str, ByteArray]) -> None:
        """Write one sample, whole or not at all."""
        with whole_file(path) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)


def record_pictures(
    records: Records, component: str, samples: Sequence[Sample], progress: Callable[[int], None] = lambda _number: None
) -> None:
    """Write all pictures at the size of the model; those of an earlier, interrupted run are kept.

    Args:
        records: where to write.
        component: the component that they are for.
        samples: the pictures.
        progress: called with the number of pictures that are done.
    """
    records.directory.mkdir(parents=True, exist_ok=True)
    for index, sample in enumerate(samples):
        path, geometry = records.file(component, index), records.geometry
        if not path.is_file():
            original = load_image(as_annotated(sample))
            records.write(path, {"picture": fit(original, geometry.image_size, geometry.image_processing)})
        progress(index + 1)


@dataclass(frozen=True)
class Recorder:
    """Runs the float graphs on pictures and writes the inputs of each graph.

    Args:
        runtime: the exported float graphs.
        tokenizer: the tokenizer of the checkpoint.
        settings: the settings of its searches.
        records: where to write.
    """

    runtime: OnnxRuntime
    tokenizer: Tokenizer
    settings: GenerationSettings
    records: Records

    def record(self, samples: Sequence[Sample], progress: Callable[[int], None] = lambda _number: None) -> None:
        """Write the records of all pictures; records of an earlier, interrupted run are kept.

        Args:
            samples: the pictures, with questions or without.
            progress: called with the number of pictures that are done.
        """
        self.records.directory.mkdir(parents=True, exist_ok=True)
        for index, sample in enumerate(samples):
            if not self.records.file("vision", index).is_file():
                self._picture(index, sample)
            progress(index + 1)

    def _picture(self, index: int, sample: Sample) -> None:
        records, runtime = self.records, self.runtime
        original = load_image(as_annotated(sample))
        picture = fit(original, records.geometry.image_size, records.geometry.image_processing)
        features = runtime.encode_image(records.pixels(picture))
        caption = self._caption(features, index)
        limit = records.geometry.max_prompt_tokens
        asked = (self.tokenizer.encode(prompt) for prompt in prompts(sample, original.size, caption, index))
        for number, ids in enumerate(ids for ids in asked if len(ids) <= limit):
            inputs = {"image_features": runtime.features_to_host(features), "input_ids": np.array([ids])}
            records.write(records.file("encoder", index, number), inputs)
        records.write(records.file("vision", index), {"picture": picture})

    def _caption(self, features: Features, index: int) -> str:
        """Return the caption by the float model; record decoder steps of the first pictures on the way."""
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
