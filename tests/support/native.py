"""Random Florence-2 checkpoints made with transformers' own classes, to compare with."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from transformers import Florence2Config, Florence2ForConditionalGeneration

from tests.support.checkpoints import (
    GENERATION,
    TINY,
    preprocessor_config,
    randomise,
    text_config,
    tiny_tokenizer,
    write_json,
)

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.geometry import Geometry


def write_native(path: Path, geometry: Geometry, seed: int) -> Any:
    """Write a random checkpoint in transformers' layout and return transformers' model of it, in fp32."""
    model = Florence2ForConditionalGeneration._from_config(native_config(geometry), dtype=torch.float32).eval()
    with torch.no_grad():
        randomise({k: v for k, v in model.state_dict().items() if not _alias(k)}, seed)
    model.save_pretrained(path)
    write_json(path / "generation_config.json", GENERATION)
    write_json(path / "preprocessor_config.json", preprocessor_config(geometry))
    tiny_tokenizer().save(str(path / "tokenizer.json"))
    return model


def native_config(geometry: Geometry) -> Florence2Config:
    """Transformers' config of a geometry; the image token is the last of the vocabulary."""
    vision = geometry.vision
    names = ("embed_dim", "depths", "num_heads", "num_groups", "window_size", "patch_prenorm")
    patches = ("patch_size", "patch_stride", "patch_padding")
    config = {
        **{name: getattr(vision, name) for name in (*names, *patches)},
        "projection_dim": geometry.d_model,
        "max_position_embeddings": geometry.image_positions[0],
        "max_temporal_embeddings": geometry.temporal_positions,
    }
    text = {**text_config(geometry), "max_position_embeddings": geometry.encoder_positions, "dropout": 0.0}
    return Florence2Config(
        text_config={"model_type": "bart", **text},
        vision_config=config,
        image_token_id=geometry.vocab_size - 1,
        attn_implementation="eager",
    )


def native_inputs(geometry: Geometry, pixel_values: torch.Tensor, prompt_ids: list[int]) -> dict[str, torch.Tensor]:
    """What transformers' ``generate`` takes: a placeholder for each image token in front of each picture's prompt."""
    ids = [geometry.vocab_size - 1] * geometry.num_image_tokens + prompt_ids
    return {
        "input_ids": torch.tensor([ids] * len(pixel_values)),
        "attention_mask": torch.ones(len(pixel_values), len(ids), dtype=torch.int64),
        "pixel_values": pixel_values,
    }


VARIANTS = 4


def varied(index: int) -> Geometry:
    """A few geometries that differ in everything that may differ; transformers has one number of positions."""
    base, vision = replace(TINY, decoder_positions=TINY.encoder_positions), TINY.vision
    variants = (
        base,
        replace(
            base,
            image_size=(64, 64),
            d_model=48,
            decoder_attention_heads=4,
            decoder_layers=1,
            vocab_size=1700,
        ),
        replace(base, image_size=(128, 128), encoder_layers=1, decoder_layers=3, encoder_ffn_dim=64),
        replace(
            base,
            image_size=(160, 160),
            vision=replace(vision, depths=(1, 2, 1, 1), window_size=7, num_groups=(1, 2, 3, 4)),
            d_model=96,
            encoder_attention_heads=6,
            decoder_attention_heads=6,
            decoder_ffn_dim=80,
        ),
    )
    return variants[index]


def _alias(name: str) -> bool:
    return "embed_tokens" in name or name.startswith("lm_head")
