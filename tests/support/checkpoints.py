"""Small Florence-2 checkpoints with random weights: the real layouts and a real, if small, tokenizer."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from f2edge.compile.checkpoint.names import to_microsoft
from f2edge.compile.reference.model import ReferenceModel
from f2edge.geometry import Geometry, VisionGeometry
from f2edge.tasks.table import TASKS
from f2edge.tokenizer import ADDED_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeAlias

    from torch import Tensor

    Fill: TypeAlias = Callable[[dict[str, Tensor], int], None]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

TINY = Geometry(
    vision=VisionGeometry(
        embed_dim=(16, 32, 48, 64),
        depths=(1, 1, 2, 1),
        num_heads=(1, 2, 3, 4),
        num_groups=(2, 2, 3, 2),
        patch_size=(7, 3, 3, 3),
        patch_stride=(4, 2, 2, 2),
        patch_padding=(3, 1, 1, 1),
        patch_prenorm=(False, True, True, True),
        window_size=5,
        mlp_dim=(64, 128, 192, 256),
    ),
    image_size=(96, 96),
    image_mean=IMAGENET[0],
    image_std=IMAGENET[1],
    image_positions=(20, 20),
    temporal_positions=10,
    d_model=64,
    encoder_layers=2,
    decoder_layers=2,
    encoder_attention_heads=4,
    decoder_attention_heads=2,
    encoder_ffn_dim=96,
    decoder_ffn_dim=128,
    encoder_positions=96,
    decoder_positions=80,
    vocab_size=1600,
)
"""A model whose maps (24, 12, 6, 3) all need window padding, with few positions and an unpadded vocabulary."""

GENERATION = {
    "num_beams": 3,
    "early_stopping": True,
    "no_repeat_ngram_size": 3,
    "forced_bos_token_id": 0,
    "forced_eos_token_id": 2,
    "decoder_start_token_id": 2,
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,
}


def tiny_tokenizer() -> Tokenizer:
    """Byte-level BPE like BART's, learned from the tasks' prompts, with Florence-2's added tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([task.prompt for task in TASKS.values()], trainer)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ADDED_TOKENS])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return tokenizer


def random_model(geometry: Geometry, seed: int = 0) -> ReferenceModel:
    """Weights large enough that answers are varied and their tokens far from ties."""
    return _filled(geometry, randomise, seed)


def _filled(geometry: Geometry, fill: Fill, seed: int) -> ReferenceModel:
    model = ReferenceModel(geometry).eval()
    fill(model.state_dict(), seed)
    return model


def randomise(state: dict[str, Tensor], seed: int) -> None:
    """Fill a state dict of whatever layout in place; buffers stay as they are."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in sorted(state.items()):
        if name.endswith(("pos_idx_to_embed", "final_logits_bias")):
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if "norm" in name or name.endswith("bias"):
            tensor.copy_(0.1 * noise + float("norm" in name and name.endswith("weight")))
        elif "embed" in name or "shared" in name or "lm_head" in name:
            tensor.copy_(0.6 * noise)
        else:
            tensor.copy_(1.5 * noise / max(tensor[0].numel(), 1) ** 0.5)


def initialise(state: dict[str, Tensor], seed: int) -> None:
    """The weights that training begins with in transformers: small, so that noise dies out as in a trained model."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in sorted(state.items()):
        if name.endswith("bias"):
            tensor.zero_()
        elif "norm" in name:
            tensor.fill_(1)
        elif not name.endswith("pos_idx_to_embed"):
            tensor.normal_(std=0.02, generator=generator)


def write_checkpoint(
    path: Path,
    seed: int = 0,
    geometry: Geometry = TINY,
    dtype: torch.dtype = torch.float32,
    fill: Fill = randomise,
    **sizes: Any,
) -> ReferenceModel:
    """Write a checkpoint in Microsoft's layout; ``sizes`` replace fields of the geometry.  Returns the model."""
    model = _filled(replace(geometry, **sizes), fill, seed)
    path.mkdir(parents=True, exist_ok=True)
    state = to_microsoft(model.state_dict())
    save_file({name: t.to(dtype).contiguous() for name, t in state.items()}, path / "model.safetensors")
    write_json(path / "config.json", microsoft_config(model.geometry))
    write_json(path / "preprocessor_config.json", preprocessor_config(model.geometry))
    tiny_tokenizer().save(str(path / "tokenizer.json"))
    return model


def microsoft_config(geometry: Geometry) -> dict[str, Any]:
    """``config.json`` as Microsoft writes it, as far as anyone reads it."""
    vision = geometry.vision
    return {
        "model_type": "florence2",
        "vision_config": {
            "model_type": "davit",
            "dim_embed": vision.embed_dim,
            **{name: getattr(vision, name) for name in ("depths", "num_heads", "num_groups", "window_size")},
            **{name: getattr(vision, f"patch_{name[6:]}") for name in ("patch_size", "patch_stride")},
            "patch_padding": vision.patch_padding,
            "patch_prenorm": vision.patch_prenorm,
            "image_feature_source": ["spatial_avg_pool", "temporal_avg_pool"],
        },
        "text_config": {**text_config(geometry), **GENERATION},
    }


def text_config(geometry: Geometry) -> dict[str, Any]:
    """BART's part of the config, the same in both layouts."""
    names = ("d_model", "encoder_layers", "decoder_layers", "encoder_ffn_dim", "decoder_ffn_dim")
    heads = ("encoder_attention_heads", "decoder_attention_heads")
    return {name: getattr(geometry, name) for name in (*names, *heads, "vocab_size")}


def preprocessor_config(geometry: Geometry) -> dict[str, Any]:
    """``preprocessor_config.json``."""
    height, width = geometry.image_size
    return {
        "do_center_crop": False,
        "size": {"height": height, "width": width},
        "image_mean": geometry.image_mean,
        "image_std": geometry.image_std,
        "resample": 3,
    }


def copying(exported: Path) -> Callable[[Any, Path], None]:
    """In place of the export: the graphs of a bundle."""

    def copy(_: Any, path: Path) -> None:
        for name in (path.name, "weights.data"):
            shutil.copy(exported / name, path.parent)

    return copy


def write_json(path: Path, data: dict[str, Any]) -> None:
    """One JSON file."""
    path.write_text(json.dumps(data), encoding="utf-8")
