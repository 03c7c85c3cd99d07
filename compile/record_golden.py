"""Record golden cases: the answers of the reference model about a picture drawn for the purpose."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from f2edge.bundle.golden import GoldenArrays, GoldenCase, golden_pixels, sample, teacher_forced
from f2edge.compile.reference.runtime import TorchRuntime
from f2edge.decoding import generate
from f2edge.errors import LimitError
from f2edge.tasks.table import build_prompt, resolve

if TYPE_CHECKING:
    from f2edge.arrays import ByteArray, FloatArray, IntArray
    from f2edge.compile.checkpoint.load import Checkpoint
    from f2edge.engine import PromptSession

QUESTIONS = (("caption", 1), ("od", 3))
MAX_NEW_TOKENS = 24
_SAMPLES = 4096
_COLUMNS = 64


def check_prompts(checkpoint: Checkpoint) -> None:
    """Refuse a model that has no room for the golden questions.

    Raises:
        LimitError: a question is too long; it is named.
    """
    limit = checkpoint.model.geometry.max_prompt_tokens
    for task, _ in QUESTIONS:
        tokens = len(_prompt_ids(checkpoint, task))
        if tokens > limit:
            name = resolve(task).name
            raise LimitError(f"this image size leaves {limit} tokens for a prompt, and {name} takes {tokens}")


def _prompt_ids(checkpoint: Checkpoint, task: str) -> IntArray:
    return np.array(checkpoint.tokenizer.encode(build_prompt(resolve(task))))


def make_golden(checkpoint: Checkpoint) -> tuple[tuple[GoldenCase, ...], GoldenArrays]:
    """Ask the reference model every golden question; record its answers and intermediate values."""
    model, runtime = checkpoint.model, TorchRuntime(checkpoint.model)
    rng = np.random.default_rng(0)
    picture = draw_picture(model.geometry.image_size)
    features = runtime.encode_image(golden_pixels(picture, model.geometry))
    columns = np.sort(rng.choice(model.geometry.vocab_size, min(_COLUMNS, model.geometry.vocab_size), replace=False))
    empty = GoldenArrays(picture, runtime.features_to_host(features), columns, (), (), ())
    cases, index, cross, logits = [], [], [], []
    for task, num_beams in QUESTIONS:
        prompt = _prompt_ids(checkpoint, task)
        case = _answer(checkpoint, runtime.start(features, prompt), prompt, resolve(task).name, num_beams)
        session = runtime.start(features, prompt)
        places, values = _sampled(session.cross_key_values(), rng)
        cases.append(case)
        index.append(places)
        cross.append(values)
        logits.append(teacher_forced(session, case.token_ids, columns))
    return tuple(cases), replace(empty, cross_index=tuple(index), cross=tuple(cross), logits=tuple(logits))


def _answer(checkpoint: Checkpoint, session: PromptSession, prompt: IntArray, task: str, num_beams: int) -> GoldenCase:
    tokens = min(MAX_NEW_TOKENS, checkpoint.settings.max_new_tokens)
    settings = replace(checkpoint.settings, num_beams=num_beams, max_new_tokens=tokens)
    answer = generate(session, settings)
    return GoldenCase(task, tuple(prompt.tolist()), num_beams, tokens, answer.token_ids)


def _sampled(tensors: list[FloatArray], rng: np.random.Generator) -> tuple[IntArray, FloatArray]:
    total = sum(tensor.size for tensor in tensors)
    places = np.sort(rng.choice(total, min(_SAMPLES, total), replace=False))
    return places, sample(tensors, places)


def draw_picture(size: tuple[int, int]) -> ByteArray:
    """Draw a picture (H, W, 3) uint8 with smooth parts, edges and fine texture, the same on every machine."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width] / max(size)
    waves = [np.sin(11 * x + 5 * y), np.cos(7 * y - 3 * x), np.sin(40 * x * y)]
    picture = 128 + 90 * np.stack(waves, -1)
    picture[(x - 0.4) ** 2 + (y - 0.45) ** 2 < 0.05] = (200, 40, 60)  # noqa: PLR2004
    picture[(abs(x - 0.75) < 0.1) & (abs(y - 0.3) < 0.15)] = (30, 90, 210)  # noqa: PLR2004
    noise = np.random.default_rng(0).integers(-12, 13, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)
