"""One checkpoint, read by f2edge and by transformers: the files decide what both do with a picture."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil, Florence2ForConditionalGeneration

from tests.support.checkpoints import GENERATION, write_json
from tests.support.processors import random_processor
from tests.support.searches import generation_config, random_search

if TYPE_CHECKING:
    from pathlib import Path

PROMPT = (0, 40, 41, 42, 2)
LONGEST = 12


def write_random_files(checkpoint: Path, rng: np.random.Generator, vocab_size: int) -> None:
    """Write random settings of the image processor and of the search; in one of five cases the latter are missing."""
    write_json(checkpoint / "preprocessor_config.json", random_processor(rng))
    file = checkpoint / "generation_config.json"
    settings = generation_config(random_search(rng, vocab_size, LONGEST))
    if rng.random() < 0.8:
        write_json(file, settings)
    else:
        file.unlink(missing_ok=True)
        kept = {name: settings[name] for name in ("num_beams", "repetition_penalty", "min_length") if name in settings}
        _edit(checkpoint / "config.json", kept if rng.random() < 0.5 else {})


def _edit(file: Path, changes: dict[str, Any]) -> None:
    """Replace the settings of a search in a text config."""
    config = json.loads(file.read_text("utf-8"))
    text = {name: value for name, value in config["text_config"].items() if name not in ("num_beams", "min_length")}
    text.pop("repetition_penalty", None)
    config["text_config"] = {**text, **changes}
    write_json(file, config)


def random_picture(rng: np.random.Generator) -> Image.Image:
    """Draw noise of a random size."""
    height, width = rng.integers(20, 200, 2)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3)).astype(np.uint8))


def transformers_answer(checkpoint: Path, picture: Image.Image, image_tokens: int) -> list[int]:
    """Return the token ids that transformers answers with; where nothing says how many, ``LONGEST`` new ones.

    Args:
        checkpoint: the directory.
        picture: an RGB image.
        image_tokens: tokens in front of the prompt.
    """
    model = Florence2ForConditionalGeneration.from_pretrained(checkpoint, attn_implementation="eager").eval()
    return answer_of(model, checkpoint, picture, image_tokens)


def answer_of(model: Any, checkpoint: Path, picture: Image.Image, image_tokens: int) -> list[int]:
    """Return the token ids that a model of transformers answers with; see :func:`transformers_answer`.

    Args:
        model: the model, adapted or not.
        checkpoint: the directory with the files of the image processor.
        picture: an RGB image.
        image_tokens: tokens in front of the prompt.
    """
    processor = CLIPImageProcessorPil.from_pretrained(checkpoint)
    pixels = processor(picture, return_tensors="pt")["pixel_values"].float()
    ids = torch.tensor([[model.config.image_token_id] * image_tokens + list(PROMPT)])
    silent = model.generation_config.max_new_tokens is None and model.generation_config.max_length is None
    limit = {"max_new_tokens": LONGEST} if silent else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # transformers warns of a minimum above the maximum
        output = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels, **limit)
    answer: list[int] = output[0].tolist()
    return answer


def usual_files(checkpoint: Path, **generation: Any) -> None:
    """Write Florence-2's settings of the search, and others."""
    write_json(checkpoint / "generation_config.json", {**GENERATION, "max_new_tokens": LONGEST, **generation})
