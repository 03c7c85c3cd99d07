"""The demo's model: Florence-2's architecture at about seven million parameters, and its files on disk."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from make_tokenizer import make_tokenizer
from safetensors.torch import save_file
from torch import nn

from f2edge.bundle.writing import whole_file
from f2edge.compile.checkpoint.names import to_microsoft
from f2edge.compile.reference.model import ReferenceModel
from f2edge.geometry import Geometry, VisionGeometry

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

HAS_BF16 = torch.cpu._is_avx512_bf16_supported()  # type: ignore[attr-defined]  # noqa: SLF001 - no public name
IMAGE_SIZE = 160
_DIMS = (32, 64, 128, 256)


def geometry(vocab_size: int) -> Geometry:
    """Return the demo's sizes: 160 x 160 pixels, 26 image tokens, a text model of width 256 with 2 + 3 layers."""
    heads = tuple(dim // 32 for dim in _DIMS)
    vision = VisionGeometry(
        embed_dim=_DIMS,
        depths=(1, 1, 3, 1),
        num_heads=heads,
        num_groups=heads,
        patch_size=(7, 3, 3, 3),
        patch_stride=(4, 2, 2, 2),
        patch_padding=(3, 1, 1, 1),
        patch_prenorm=(False, True, True, True),
        window_size=10,
        mlp_dim=tuple(4 * dim for dim in _DIMS),
    )
    return Geometry(
        vision=vision,
        image_size=(IMAGE_SIZE, IMAGE_SIZE),
        image_mean=(0.485, 0.456, 0.406),
        image_std=(0.229, 0.224, 0.225),
        image_positions=(50, 50),
        temporal_positions=100,
        d_model=256,
        encoder_layers=2,
        decoder_layers=3,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=512,
        decoder_ffn_dim=512,
        encoder_positions=256,
        decoder_positions=256,
        vocab_size=vocab_size,
    )


def new_model(vocab_size: int) -> ReferenceModel:
    """Return an untrained model with torch's initialisation, but small embeddings, because the head shares them."""
    model = ReferenceModel(geometry(vocab_size))
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.05)
    tables = model.multi_modal_projector.image_position_embed
    for table in (tables.row_embeddings, tables.column_embeddings):
        nn.init.normal_(table.weight, std=0.2)
    return model


def write_checkpoint(model: ReferenceModel, folder: Path) -> None:
    """Write Microsoft's layout in float16; every file replaces its predecessor at once."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: t.detach().half().contiguous() for name, t in to_microsoft(model.state_dict()).items()}
    with whole_file(folder / "model.safetensors") as partial:
        save_file(state, partial, metadata={"format": "pt"})
    with whole_file(folder / "tokenizer.json") as partial:
        make_tokenizer().save(str(partial), pretty=False)
    for name, content in configs(model.geometry).items():
        text = json.dumps(content, indent=2) + "\n"
        with whole_file(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")


def configs(sizes: Geometry) -> dict[str, dict[str, Any]]:
    """Return the JSON files of a checkpoint with Microsoft's key names (docs/florence2.md#table-sizes)."""
    return {
        "config.json": _config(sizes),
        "generation_config.json": {"num_beams": 3, "early_stopping": False},
        "preprocessor_config.json": _preprocessor_config(sizes),
        "tokenizer_config.json": {"model_max_length": sizes.encoder_positions},
    }


def _config(sizes: Geometry) -> dict[str, Any]:
    return {
        "architectures": ["Florence2ForConditionalGeneration"],
        "model_type": "florence2",
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,
        "ignore_index": -100,
        "is_encoder_decoder": True,
        "projection_dim": sizes.d_model,
        "vocab_size": sizes.vocab_size,
        "torch_dtype": "float16",
        "text_config": _text_config(sizes),
        "vision_config": _vision_config(sizes),
    }


def _text_config(sizes: Geometry) -> dict[str, Any]:
    return {
        "vocab_size": sizes.vocab_size,
        "d_model": sizes.d_model,
        "activation_function": "gelu",
        "encoder_layers": sizes.encoder_layers,
        "decoder_layers": sizes.decoder_layers,
        "num_hidden_layers": sizes.encoder_layers,
        "encoder_attention_heads": sizes.encoder_attention_heads,
        "decoder_attention_heads": sizes.decoder_attention_heads,
        "encoder_ffn_dim": sizes.encoder_ffn_dim,
        "decoder_ffn_dim": sizes.decoder_ffn_dim,
        "max_position_embeddings": sizes.encoder_positions,
        "scale_embedding": False,
        "normalize_before": False,
        "add_final_layer_norm": False,
        "is_encoder_decoder": True,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,
        "decoder_start_token_id": 2,
        "forced_bos_token_id": 0,
        "forced_eos_token_id": 2,
        "num_beams": 3,
        "early_stopping": True,
        "no_repeat_ngram_size": 3,
    }


def _vision_config(sizes: Geometry) -> dict[str, Any]:
    vision = sizes.vision
    return {
        "model_type": "davit",
        "dim_embed": vision.embed_dim,
        "depths": vision.depths,
        "num_heads": vision.num_heads,
        "num_groups": vision.num_groups,
        "patch_size": vision.patch_size,
        "patch_stride": vision.patch_stride,
        "patch_padding": vision.patch_padding,
        "patch_prenorm": vision.patch_prenorm,
        "window_size": vision.window_size,
        "projection_dim": sizes.d_model,
        "visual_temporal_embedding": {"type": "COSINE", "max_temporal_embeddings": sizes.temporal_positions},
        "image_pos_embed": {"type": "learned_abs_2d", "max_pos_embeddings": sizes.image_positions[0]},
        "image_feature_source": ["spatial_avg_pool", "temporal_avg_pool"],
    }


def _preprocessor_config(sizes: Geometry) -> dict[str, Any]:
    height, width = sizes.image_size
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": None,
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "do_center_crop": False,
        "resample": 3,
        "size": {"height": height, "width": width},
        "crop_size": {"height": height, "width": width},
        "image_mean": sizes.image_mean,
        "image_std": sizes.image_std,
        "image_seq_length": sizes.num_image_tokens,
    }


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def image_features(model: ReferenceModel, pixel_values: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the text model's image input, and the maps of all stages, for pixels (B, 3, H, W)."""
    maps = model.vision_tower.stages(pixel_values)
    return model.multi_modal_projector(maps[-1]), maps


def half_precision() -> AbstractContextManager[object]:
    """Compute in bf16 on a CPU that has it; elsewhere bf16 is emulated, slowly.  A GPU computes in TF32."""
    return torch.autocast("cpu", torch.bfloat16, enabled=HAS_BF16)
