"""Florence-2 as transformers' own class, with the weights of a checkpoint in Microsoft's or transformers' layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import Florence2Config, Florence2ForConditionalGeneration

from f2edge.compile.checkpoint.load import load_checkpoint
from f2edge.compile.checkpoint.names import HEAD, file_name

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.geometry import Geometry

_TEXT = (
    *("vocab_size", "d_model", "encoder_layers", "decoder_layers", "encoder_ffn_dim", "decoder_ffn_dim"),
    *("encoder_attention_heads", "decoder_attention_heads"),
)
_VISION = (
    *("embed_dim", "depths", "num_heads", "num_groups", "window_size"),
    *("patch_size", "patch_stride", "patch_padding", "patch_prenorm"),
)


def load_native(checkpoint: Path) -> tuple[Any, Geometry]:
    """Return transformers' model of a checkpoint in fp32, and its sizes.

    Raises:
        ValueError: the model needs weights that the checkpoint does not have.
    """
    reference = load_checkpoint(checkpoint).model
    weights = {file_name(name, "transformers"): tensor.float() for name, tensor in reference.state_dict().items()}
    model = Florence2ForConditionalGeneration(native_config(reference.geometry, tied=HEAD not in weights))
    missing = [name for name in model.load_state_dict(weights, strict=False).missing_keys if not _is_tied(name)]
    if missing:
        raise ValueError(f"{checkpoint} has no {', '.join(missing)}")
    model.tie_weights()
    return model, reference.geometry


def native_config(sizes: Geometry, *, tied: bool) -> Florence2Config:
    """Return transformers' configuration.

    Args:
        sizes: those of the model.
        tied: whether the head has the weights of the embedding.
    """
    return Florence2Config(
        text_config={
            "model_type": "bart",
            "dropout": 0.0,
            "max_position_embeddings": sizes.encoder_positions,
            **{name: getattr(sizes, name) for name in _TEXT},
        },
        vision_config={
            "drop_path_rate": 0.0,
            "projection_dim": sizes.d_model,
            "max_position_embeddings": sizes.image_positions[0],
            "max_temporal_embeddings": sizes.temporal_positions,
            **{name: getattr(sizes.vision, name) for name in _VISION},
        },
        image_token_id=sizes.vocab_size - 1,  # a placeholder, for callers that give ids instead of embeddings
        tie_word_embeddings=tied,
    )


def _is_tied(name: str) -> bool:
    """Tell whether a name is an alias of the embedding, of which a checkpoint has one copy."""
    return name == "lm_head.weight" or name.endswith("embed_tokens.weight")
