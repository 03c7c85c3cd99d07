"""Measure ``onnx`` bundles on an NVIDIA GPU against transformers on the same GPU: latency, and whether answers agree.

    python benchmarks/cuda_latency.py base --output benchmarks/results/cuda.json
    python benchmarks/cuda_latency.py tiny --device CPU --rounds 1

Weights are random, the same for all contenders, and so are the pixels.  All contenders are open in one process and take
turns.  A bundle in fp16 has its weights in fp16 and computes in fp32; transformers computes in the type named.  TF32 is
off everywhere.  Milliseconds of the measures:

- ``vision``: tower and projector, with the copy of the pixels to the GPU.
- ``encoder``: of a bundle also the cross-attention's keys and values of every layer, which transformers computes in its
  first step.
- ``greedy``, ``beams_3``: a whole answer of a fixed number of tokens, from pixels to token ids.
- ``step_greedy``, ``step_beams_3``: one token of these answers, with the work of the search; their first steps are left
  out.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from measuring import timed
from transformers import Florence2ForConditionalGeneration
from workload import BEAMS, WORKLOADS

import f2edge
from f2edge.compile.build import build
from f2edge.compile.options import Options
from f2edge.decoding import generate
from f2edge.decoding.session import TimedSession
from f2edge.targets import get_target
from tests.support.checkpoints import GENERATION, initialise, write_json
from tests.support.native import native_inputs, write_native

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from measuring import Samples
    from workload import Workload

    from f2edge.arrays import FloatArray

PACKAGES = ("f2edge", "onnxruntime-gpu", "onnxruntime", "torch", "transformers")
PROMPT = [0, 41, 7, 133, 2]
FIRST_STEPS = 4
"""Steps of an answer whose times are left out: transformers does work of the encoder in the first one."""
WARM_UP = 3
"""Rounds before those that count."""


class Contender(ABC):
    """One way to answer, opened on the device.

    Attributes:
        done: times in seconds at which the steps of the last answer ended.
    """

    done: list[float]

    @abstractmethod
    def vision(self) -> None:
        """Encode the pixels; return when that is done."""

    @abstractmethod
    def encoder(self) -> None:
        """Encode the features of :meth:`vision` with the prompt; return when that is done."""

    @abstractmethod
    def answer(self, beams: int) -> list[int]:
        """Return the token ids of a whole answer."""

    def measure(self) -> tuple[Samples, dict[int, list[int]]]:
        """Measure one round; return milliseconds by measure, and the answer by number of beams."""
        samples, answers = {"vision": [timed(self.vision)], "encoder": [timed(self.encoder)]}, {}
        for beams in BEAMS:
            name = "greedy" if beams == 1 else f"beams_{beams}"
            started = time.perf_counter()
            answers[beams] = self.answer(beams)
            samples[name] = [(time.perf_counter() - started) * 1e3]
            samples[f"step_{name}"] = [float(np.median(np.diff(self.done)[FIRST_STEPS:])) * 1e3]
        return samples, answers


class BundleOnDevice(Contender):
    """A bundle in ONNX Runtime.

    Args:
        path: the bundle.
        device: "CUDA" or "CPU".
        pixels: (1, 3, H, W).
        tokens: new tokens of an answer.
    """

    def __init__(self, path: Path, device: str, pixels: FloatArray, tokens: int) -> None:
        model = f2edge.load(path, device)
        self._runtime = model.runtime
        self._settings = replace(model.bundle.generation, min_new_tokens=tokens, max_new_tokens=tokens)
        self._pixels = pixels
        self._features: Any = None

    def vision(self) -> None:
        """Run the tower."""
        self._features = self._runtime.encode_image(self._pixels)

    def encoder(self) -> None:
        """Run the encoder."""
        self._session = TimedSession(self._runtime.start(self._features, np.array(PROMPT)))
        self.done = self._session.done

    def answer(self, beams: int) -> list[int]:
        """Run everything, then the search of f2edge."""
        self.vision()
        self.encoder()
        return list(generate(self._session, replace(self._settings, num_beams=beams)).token_ids)


class Transformers(Contender):
    """Florence-2 of transformers with SDPA attention.

    Args:
        path: the checkpoint.
        device: "CUDA" or "CPU".
        dtype: what it computes in.
        pixels: (1, 3, H, W).
        workload: the size of the model.
        tokens: new tokens of an answer.
    """

    def __init__(
        self, path: Path, device: str, dtype: torch.dtype, pixels: FloatArray, workload: Workload, tokens: int
    ) -> None:
        self._model = Florence2ForConditionalGeneration.from_pretrained(path, dtype=dtype, attn_implementation="sdpa")
        self._model = self._model.eval().to(device.lower())
        self._move = partial(_moved, device=device.lower(), dtype=dtype)
        self._inputs = native_inputs(workload.geometry, torch.from_numpy(pixels), PROMPT)
        self._tokens = tokens

    @torch.inference_mode()
    def vision(self) -> None:
        """Run ``get_image_features``."""
        self._features = self._model.get_image_features(self._move(self._inputs["pixel_values"])).pooler_output
        _synchronize()

    @torch.inference_mode()
    def encoder(self) -> None:
        """Run the language model's encoder over image features and prompt."""
        language = self._model.model.language_model
        embeds = torch.cat([self._features, language.shared(self._move(torch.tensor([PROMPT])))], 1)
        language.encoder(inputs_embeds=embeds)
        _synchronize()

    def answer(self, beams: int) -> list[int]:
        """Run ``generate``."""
        self.done = []
        settings = {**GENERATION, "num_beams": beams, "early_stopping": beams > 1, "do_sample": False}
        output = self._model.generate(
            **{name: self._move(value) for name, value in self._inputs.items()},
            **settings,
            min_new_tokens=self._tokens,
            max_new_tokens=self._tokens,
            logits_processor=[self._note],
        )
        return list(output[0].tolist())

    def _note(self, _input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Note the time of a step; all of them wait for the GPU, so that the times are those of the work."""
        self.done.append(time.perf_counter())
        return scores


def _moved(value: torch.Tensor, device: str, dtype: torch.dtype) -> torch.Tensor:
    return value.to(device, dtype if value.is_floating_point() else value.dtype)


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def contenders(workload: Workload, directory: Path, device: str, tokens: int) -> dict[str, Contender]:
    """Make the checkpoint and compile the bundles; then open the contenders, by name."""
    checkpoint, stages = directory / "checkpoint", directory / "stages"
    if not checkpoint.exists():
        write_checkpoint(checkpoint, workload)
    pixels = np.random.default_rng(0).standard_normal((1, 3, *workload.geometry.image_size), dtype=np.float32)
    opened: dict[str, Contender] = {}
    for precision in ("fp32", "fp16"):
        bundle = directory / f"{precision}.onnx"
        if not bundle.exists():
            _say(f"compiling {bundle.name}")
            build(checkpoint, bundle, Options(get_target("onnx"), precision, stages=stages))
        opened[f"f2edge-{precision}"] = BundleOnDevice(bundle, device, pixels, tokens)
    for name, dtype in (("fp32", torch.float32), ("fp16", torch.float16)):
        opened[f"transformers-{name}"] = Transformers(checkpoint, device, dtype, pixels, workload, tokens)
    return opened


def write_checkpoint(path: Path, workload: Workload) -> None:
    """Write the weights that training begins with, in fp16: noise dies out in them as in trained ones."""
    model = write_native(path, workload.geometry, seed=0)
    with torch.no_grad():
        initialise(model.state_dict(), seed=0)
    model.half().save_pretrained(path)
    write_json(path / "generation_config.json", GENERATION)


def run(workload: Workload, directory: Path, device: str, tokens: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Measure all contenders in turns; yield the report after each round that counts."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    opened = contenders(workload, directory, device, tokens)
    samples: dict[str, list[Samples]] = {name: [] for name in opened}
    answers: dict[str, dict[int, list[int]]] = {}
    for number in range(WARM_UP + rounds):
        _say(f"round {number + 1} of {WARM_UP + rounds}")
        for name, contender in opened.items():
            taken, answers[name] = contender.measure()
            samples[name] += [taken] * (number >= WARM_UP)
        if number >= WARM_UP:
            yield {
                "gpu": torch.cuda.get_device_name() if device == "CUDA" else None,
                "cuda": torch.version.cuda,
                "size": workload.name,
                "new_tokens": tokens,
                "rounds": number + 1 - WARM_UP,
                "versions": {package: found for package in PACKAGES if (found := _version(package))},
                "milliseconds": {name: _summary(taken) for name, taken in samples.items()},
                "tokens_as_transformers_fp32": {name: _agreement(answers, name) for name in opened},
            }


def _summary(rounds: Sequence[Samples]) -> dict[str, dict[str, float]]:
    """Return median, least and largest value of each measure."""
    columns = {name: [taken[name][0] for taken in rounds] for name in rounds[0]}
    kinds: dict[str, Callable[[list[float]], float]] = {"median": median, "min": min, "max": max}
    return {name: {kind: round(of(column), 3) for kind, of in kinds.items()} for name, column in columns.items()}


def _agreement(answers: dict[str, dict[int, list[int]]], name: str) -> dict[str, str]:
    """Return, by number of beams, how many tokens of an answer are the same from its beginning."""
    compared = {}
    for beams, expected in answers["transformers-fp32"].items():
        differing = (n for n, (a, b) in enumerate(zip(answers[name][beams], expected, strict=False)) if a != b)
        compared[str(beams)] = f"{next(differing, len(expected))} of {len(expected)}"
    return compared


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", choices=list(WORKLOADS), help="size of the model")
    parser.add_argument("--device", choices=["CUDA", "CPU"], default="CUDA", help="CPU tries the program (CUDA)")
    parser.add_argument("--tokens", type=int, default=24, help="new tokens of an answer (24)")
    parser.add_argument("--rounds", type=int, default=20, help="rounds that count (20)")
    parser.add_argument("--directory", type=Path, help="where checkpoint and bundles are kept; else nowhere")
    parser.add_argument("--output", type=Path, help="also write the JSON to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        directory, size = arguments.directory or Path(scratch), WORKLOADS[arguments.size]
        for report in run(size, directory, arguments.device, arguments.tokens, arguments.rounds):
            text = json.dumps(report, indent=2)
            if arguments.output:
                arguments.output.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
