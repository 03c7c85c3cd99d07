"""Load a checkpoint from disk or from the hub into the reference model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from f2edge.compile.checkpoint import names as layouts
from f2edge.compile.checkpoint import sizes
from f2edge.compile.checkpoint.adapters import Merged, merge
from f2edge.compile.checkpoint.faults import listed
from f2edge.compile.checkpoint.files import read_json, read_tensors
from f2edge.compile.checkpoint.foreign import refuse_foreign, refuse_quantized
from f2edge.compile.checkpoint.generation import GENERATION_CONFIG, generation_settings, unused_settings
from f2edge.compile.checkpoint.hub import locate
from f2edge.compile.checkpoint.processor import PREPROCESSOR_CONFIG, silent_crop
from f2edge.compile.checkpoint.wrappers import unwrapped
from f2edge.compile.reference.model import ReferenceModel
from f2edge.compile.reference.projector import TemporalEmbedding
from f2edge.errors import CheckpointError, LimitError
from f2edge.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from f2edge.bundle.manifest import Adapter
    from f2edge.compile.options import Lora
    from f2edge.decoding.settings import GenerationSettings
    from f2edge.geometry import Geometry


@dataclass(frozen=True)
class Checkpoint:
    """The reference model in evaluation mode and fp32, with its settings, its tokenizer and its layout of names.

    ``notices`` are lines that the user should read, ``adapters`` what was merged into the weights.
    """

    model: ReferenceModel
    settings: GenerationSettings
    tokenizer: Tokenizer
    layout: layouts.Layout
    notices: tuple[str, ...] = ()
    adapters: tuple[Adapter, ...] = ()


def load_checkpoint(
    checkpoint: str | Path,
    image_size: int | None = None,
    revision: str | None = None,
    *,
    loras: Sequence[Lora] = (),
    check_size: Callable[[int], None] = lambda _parameters: None,
) -> Checkpoint:
    """Load a Florence-2 checkpoint in Microsoft's or transformers' layout.

    Args:
        checkpoint: a directory, or a hub id.
        image_size: side of the square input in pixels; by default that of the image processor.
        revision: a branch, a tag or a commit of a hub id.
        loras: adapters to merge into the weights.
        check_size: called with the number of weights before they are turned into fp32; may refuse them.

    Raises:
        CheckpointError: the checkpoint cannot be read, is not Florence-2, or lacks something; all faults in one line
            that names the directory.
    """
    directory = locate(checkpoint, revision)
    try:
        return _load(directory, image_size, loras, check_size)
    except CheckpointError as error:
        if str(directory) in str(error):
            raise
        raise CheckpointError(f"{directory}: {error}") from error


def check_tokenizer(checkpoint: Checkpoint) -> None:
    """Refuse a tokenizer whose last tokens have no embedding in the model.

    Raises:
        CheckpointError: it has more tokens than the model.
    """
    tokens, embeddings = checkpoint.tokenizer.vocab_size, checkpoint.model.geometry.vocab_size
    if tokens > embeddings:
        raise CheckpointError(
            f"tokenizer.json has {tokens} tokens, the model only {embeddings}; they do not belong together"
        )


def limit_answers(checkpoint: Checkpoint, max_new_tokens: int | None) -> Checkpoint:
    """Return the checkpoint with another length of the longest answer; None keeps its own.

    Raises:
        LimitError: the model has fewer positions.
    """
    if max_new_tokens is None:
        return checkpoint
    limit = checkpoint.model.geometry.decoder_positions
    if not 1 <= max_new_tokens <= limit:
        raise LimitError(f"`max_new_tokens` {max_new_tokens}: this checkpoint takes 1 to {limit}")
    return replace(checkpoint, settings=replace(checkpoint.settings, max_new_tokens=max_new_tokens))


def _load(
    directory: Path, image_size: int | None, loras: Sequence[Lora], check_size: Callable[[int], None]
) -> Checkpoint:
    refuse_foreign(directory)
    config = read_json(directory / "config.json")
    tensors = unwrapped(read_tensors(directory))
    refuse_quantized(tensors)
    layout = layouts.detect(tensors)
    named = layouts.to_reference(tensors)
    shapes = {name: tuple(tensor.shape) for name, tensor in named.items()}
    processor = _processor_config(directory)
    geometry = sizes.geometry(shapes, config, processor, image_size)
    check_size(sum(map(prod, shapes.values())))
    model, merged = _model(geometry, named), Merged(named)
    if loras:
        _check(model, named, layout, checked={})
        merged = merge(named, loras)
        model = _model(geometry, merged.tensors)
        model.mix_channels(merged.dense)
    _assign(model, merged.tensors, layout, checked=named if loras else {})
    sizes.check_image_size(geometry)
    generation_config = _optional(directory / GENERATION_CONFIG)
    settings = generation_settings(layout, config, generation_config, geometry)
    model.eval().requires_grad_(requires_grad=False)
    notices = (
        silent_crop(processor, image_size),
        _missing_head(config, tensors),
        unused_settings(layout, generation_config, settings),
        *merged.notices,
    )
    tokenizer = Tokenizer.from_file(directory)
    return Checkpoint(model, settings, tokenizer, layout, tuple(filter(None, notices)), merged.adapters)


def _missing_head(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str | None:
    """Return one line for the user about a head that should have weights of its own, and has none."""
    if config.get("tie_word_embeddings") is not False or any(name.endswith(layouts.HEAD) for name in tensors):
        return None
    return "config.json: tie_word_embeddings is false, but no file has lm_head.weight; the embedding takes its place"


def _model(geometry: Geometry, named: Mapping[str, Tensor]) -> ReferenceModel:
    """Make the model that takes these weights, without storage."""
    with torch.device("meta"):
        return ReferenceModel(
            geometry, own_head=layouts.HEAD in named, own_decoder_embedding=layouts.DECODER_EMBEDDING in named
        )


def _check(
    model: ReferenceModel, named: Mapping[str, Tensor], layout: layouts.Layout, checked: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return all weights of ``model``, which has no storage yet; report all faults of them at once.

    Those that are the same tensors as in ``checked`` are in order.
    """
    expected = model.state_dict()
    given = {**_default_buffers(model), **named}
    faults = [("missing: {}", name) for name in expected if name not in given]
    faults += [("unexpected: {}", name) for name in given if name not in expected]
    common = [name for name in expected if name in given and given[name] is not checked.get(name)]
    faults += [(fault, name) for name in common if (fault := _fault(given[name], expected[name]))]
    if faults:
        lines = [fault.format(layouts.file_name(name, layout)) for fault, name in faults]
        raise CheckpointError(f"wrong tensors ({len(lines)}): {listed(lines)}")
    return given


def _assign(
    model: ReferenceModel, named: Mapping[str, Tensor], layout: layouts.Layout, checked: Mapping[str, Tensor]
) -> None:
    """Assign the weights to ``model``, which has no storage yet."""
    given = _check(model, named, layout, checked)
    model.load_state_dict({name: given[name].float().contiguous() for name in model.state_dict()}, assign=True)


def _fault(tensor: Tensor, expected: Tensor) -> str | None:
    """Return why a tensor cannot be the weight, as a format string for its name; None if it can."""
    if tensor.shape != expected.shape:
        return f"misshapen: {{}} is {list(tensor.shape)}, expected {list(expected.shape)}"
    if not tensor.is_floating_point():
        return f"not floats: {{}} holds {str(tensor.dtype).removeprefix('torch.')}"
    extremes = torch.stack(torch.aminmax(tensor.float()))  # NaN is an extreme too
    return None if bool(torch.isfinite(extremes).all()) else "not finite: {}"


def _default_buffers(model: ReferenceModel) -> dict[str, Tensor]:
    """Return the tensors that a checkpoint may leave out, since they follow from the sizes."""
    geometry = model.geometry
    temporal = TemporalEmbedding(geometry.temporal_positions, geometry.vision.embed_dim[-1])
    return {
        "multi_modal_projector.visual_temporal_embed.pos_idx_to_embed": temporal.pos_idx_to_embed,
        "final_logits_bias": torch.zeros(1, geometry.vocab_size),
    }


def _processor_config(directory: Path) -> Mapping[str, Any]:
    """Read the image processor: what ``processor_config.json`` of transformers 5 says, else its own file.

    Raises:
        CheckpointError: it is nowhere.
    """
    nested = (_optional(directory / "processor_config.json") or {}).get("image_processor")
    if isinstance(nested, Mapping):
        return nested
    if not (directory / PREPROCESSOR_CONFIG).is_file():
        raise CheckpointError(
            f"{directory / PREPROCESSOR_CONFIG} is missing: it says how pictures are resized and normalised; "
            "copy it from the model that this one was made of"
        )
    return read_json(directory / PREPROCESSOR_CONFIG)


def _optional(path: Path) -> dict[str, Any] | None:
    return read_json(path) if path.is_file() else None
