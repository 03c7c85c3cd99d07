"""Recording what really flows into the graphs: one small file a sample, so memory does not grow with their number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from f2edge.image import load_image, pixel_values
from f2edge.location import BINS, location_text
from f2edge.tasks import TASKS, build_prompt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from f2edge.arrays import FloatArray, IntArray
    from f2edge.geometry import Geometry
    from f2edge.runtime import Runtime
    from f2edge.tokenizer import Tokenizer


@dataclass(frozen=True)
class Records:
    """Samples on disk, in ``directory``, named after the component whose inputs they hold.

    ``vision-*.npz`` hold pictures (H, W, 3) at the model's size, as bytes, ``encoder-*.npz`` image features and
    prompts.
    """

    directory: Path
    geometry: Geometry

    def samples(self, component: str) -> list[Path]:
        """The files of one component."""
        return sorted(self.directory.glob(f"{component}-*.npz"))

    def load(self, path: Path) -> dict[str, FloatArray | IntArray]:
        """The inputs of a graph, by name, of one sample."""
        with np.load(path, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        return {"pixel_values": self._pixels(arrays["picture"])} if "picture" in arrays else arrays

    def _pixels(self, picture: FloatArray) -> FloatArray:
        geometry = self.geometry
        return pixel_values(Image.fromarray(picture), geometry.image_size, geometry.image_mean, geometry.image_std)


def record(
    runtime: Runtime,
    tokenizer: Tokenizer,
    records: Records,
    pictures: Sequence[Path],
    seed: int = 0,
) -> None:
    """Run the float graphs over the pictures and write what the vision and encoder graphs were given.

    The decoder is not recorded: only its weights are quantized, which needs no samples.
    """
    height, width = records.geometry.image_size
    for index, (path, prompts) in enumerate(zip(pictures, _prompts(seed), strict=False)):
        picture = load_image(path).resize((width, height), Image.Resampling.BICUBIC)
        sample = records.directory / f"vision-{index:05}.npz"
        np.savez(sample, picture=np.asarray(picture))
        features = runtime.features_to_host(runtime.encode_image(records.load(sample)["pixel_values"]))  # type: ignore[arg-type]
        for number, prompt in enumerate(prompts):
            ids = np.array([tokenizer.encode(prompt)])
            target = records.directory / f"encoder-{index:05}-{number}.npz"
            np.savez(target, image_features=features, input_ids=ids)


def _prompts(seed: int) -> Iterator[tuple[str, str]]:
    """For each picture one task that asks about all of it, in turn, and one about a random region of it."""
    rng = np.random.default_rng(seed)
    whole = [task for task in TASKS.values() if task.input == "none"]
    regional = [task for task in TASKS.values() if task.input == "region"]
    index = 0
    while True:
        corners = np.sort(rng.integers(0, BINS, (2, 2)), axis=0).ravel().tolist()
        region = build_prompt(regional[index % len(regional)], location_text(corners))
        yield build_prompt(whole[index % len(whole)]), region
        index += 1
