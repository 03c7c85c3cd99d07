"""Convert Florence-2 as OpenVINO's public notebook does: four IRs, traced from the PyTorch model.

The IRs are vision (tower and projector), text embedding, encoder and decoder.  The decoder's self-attention keys and
values are state that ``beam_idx`` reorders; its cross-attention keys and values are state that the first step computes.
Weights are stored in fp16, as in the notebook.  The model is transformers' own; the notebook takes code from the hub.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openvino as ov
import openvino.opset13 as ops
import torch
from openvino._offline_transformations import apply_make_stateful_transformation
from torch import Tensor, nn
from transformers import Florence2ForConditionalGeneration
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from tests.support.native import native_config

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.geometry import Geometry

PARTS = ("vision", "text_embedding", "encoder", "decoder")
_BEAMS, _PAST, _STATES = 2, 5, 19


def convert(path: Path, geometry: Geometry) -> None:
    """Write the four IRs of a random model with the sizes of ``geometry`` into the directory ``path``."""
    config = native_config(geometry)
    config._attn_implementation = "sdpa"
    torch.manual_seed(0)
    model = Florence2ForConditionalGeneration._from_config(config, dtype=torch.float32).eval()
    path.mkdir()
    with torch.no_grad():
        for name, converted in zip(PARTS, _converted(model, geometry), strict=True):
            ov.save_model(converted, path / f"{name}.xml")


def _converted(model: Any, geometry: Geometry) -> list[ov.Model]:
    """Convert the parts in the order of :data:`PARTS`."""
    language_model, pixels = model.model.language_model, (1, 3, *geometry.image_size)
    return [
        ov.convert_model(_Vision(model), example_input=torch.zeros(pixels), input=[-1, *pixels[1:]]),
        ov.convert_model(language_model.shared, example_input=torch.ones(2, 2, dtype=torch.int64)),
        _encoder(language_model.encoder, geometry),
        _decoder(model, geometry),
    ]


class _Vision(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        features: Tensor = self.model.get_image_features(pixel_values).pooler_output
        return features


class _Encoder(nn.Module):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, inputs_embeds: Tensor) -> Tensor:
        states: Tensor = self.encoder(inputs_embeds=inputs_embeds).last_hidden_state
        return states


class _Decoder(nn.Module):
    """The decoder: its outputs are the logits, then the keys and values of self-attention and cross-attention."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, decoder_input_ids: Tensor, encoder_hidden_states: Tensor, past: list[Tensor]) -> list[Tensor]:
        seen, cross = _Cache(past), _Cache([])
        states = self.model.model.language_model.decoder(
            input_ids=decoder_input_ids,
            encoder_hidden_states=encoder_hidden_states,
            past_key_values=EncoderDecoderCache(seen, cross),
            use_cache=True,
        ).last_hidden_state
        return [self.model.lm_head(states), *seen.present, *cross.present]


class _Cache(DynamicCache):
    """Keys and values in plain tensors; transformers' own cache starts with an empty tensor, which fails to convert."""

    def __init__(self, past: list[Tensor]) -> None:
        super().__init__()
        self.past = past
        self.present: list[Tensor] = []

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any) -> tuple[Tensor, Tensor]:
        pair = [key_states, value_states]
        if self.past:
            before = self.past[2 * layer_idx : 2 * layer_idx + 2]
            pair = [torch.cat(tensors, -2) for tensors in zip(before, pair, strict=True)]
        self.present += pair
        return pair[0], pair[1]

    def get_seq_length(self, layer_idx: int = 0) -> int:  # noqa: ARG002 - called by name
        return self.past[0].shape[-2] if self.past else 0

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:  # noqa: ARG002
        return self.get_seq_length() + query_length, 0


def _encoder(encoder: nn.Module, geometry: Geometry) -> ov.Model:
    return ov.convert_model(_Encoder(encoder), example_input=torch.zeros(1, _STATES, geometry.d_model))


def _decoder(model: Any, geometry: Geometry) -> ov.Model:
    names = _names(geometry)
    past = [torch.zeros(_BEAMS, geometry.decoder_attention_heads, _PAST, geometry.decoder_head_dim) for _ in names]
    example = {
        "decoder_input_ids": torch.ones(_BEAMS, 3, dtype=torch.int64),
        "encoder_hidden_states": torch.zeros(_BEAMS, _STATES, geometry.d_model),
        "past": past,
    }
    converted = ov.convert_model(_Decoder(model), example_input=example)
    _name(converted.inputs[2:], [f"past.{name}" for name in names])
    _name(converted.outputs, ["logits", *(f"{kind}.{name}" for kind in ("present", "cross") for name in names)])
    _make_stateful(converted, names, geometry)
    return converted


def _names(geometry: Geometry) -> list[str]:
    return [f"{layer}.{part}" for layer in range(geometry.decoder_layers) for part in ("key", "value")]


def _name(ports: list[Any], names: list[str]) -> None:
    for port, name in zip(ports, names, strict=True):
        port.get_tensor().set_names({name})


def _make_stateful(model: ov.Model, names: list[str], geometry: Geometry) -> None:
    """Turn the past into state that ``beam_idx`` reorders, and the cross-attention's keys and values into state."""
    beam_idx = ops.parameter([-1], ov.Type.i32, name="beam_idx")
    beam_idx.output(0).get_tensor().set_names({"beam_idx"})
    model.add_parameters([beam_idx])
    for name in names:
        past = model.input(f"past.{name}")
        readers = past.get_target_inputs()
        _redirect(readers, ops.gather(past, beam_idx, ops.constant(0)))
    apply_make_stateful_transformation(model, {f"past.{name}": f"present.{name}" for name in names})
    _begin_empty(model, geometry)
    for name in names:
        _remember(model, f"cross.{name}")


def _redirect(readers: Any, node: ov.Node) -> None:
    for reader in readers:
        reader.replace_source_output(node.output(0))


def _remember(model: ov.Model, name: str) -> None:
    """Turn an output into a state variable that the first step computes and later steps read."""
    result = model.output(name).get_node()
    source = result.input_value(0)
    readers = source.get_target_inputs()
    value = ops.read_value(source, name)
    _redirect(readers, value)
    model.add_sinks([ops.assign(value, name)])
    model.remove_result(result)


def _begin_empty(model: ov.Model, geometry: Geometry) -> None:
    """Start the past without tokens, with as many beams as ``decoder_input_ids`` has rows."""
    batch = ops.gather(ops.shape_of(model.input("decoder_input_ids")), ops.constant([0]), ops.constant(0))
    sizes = [ops.constant([size]) for size in (geometry.decoder_attention_heads, 0, geometry.decoder_head_dim)]
    empty = ops.broadcast(ops.constant(0.0, ov.Type.f32), ops.concat([batch, *sizes], 0))
    for node in model.get_ops():
        if node.get_type_name() == "ReadValue":
            node.set_arguments([empty])
    model.validate_nodes_and_infer_types()
