"""Trace the reference model to three ONNX graphs: vision, encoder and decoder step."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from ast import literal_eval
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from onnxscript import ir, optimizer
from torch import Tensor, nn
from torch.fx.experimental import _config as config
from torch.nn import functional as F

from f2edge.compile.export.simplify import simplify
from f2edge.errors import CompileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from f2edge.compile.reference.model import ReferenceModel

OPSET = 18
NUM_CANDIDATES = 32
"""Candidates per beam that the decoder graph returns: enough for 8 beams (2 x 8) and as many banned tokens."""

_CHUNK = 256
_SCOPES = "pkg.torch.onnx.name_scopes"


class VisionGraph(nn.Module):
    """Map pixel_values (1, 3, H, W) to image_features (1, tokens, d_model)."""

    def __init__(self, model: ReferenceModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Run the tower and the projector."""
        return self.model.encode_image(pixel_values)


class EncoderGraph(nn.Module):
    """Map image_features and input_ids (1, L) to the cross-attention keys and values of each decoder layer.

    The decoder does not need the encoder states themselves, so this graph does not return them.
    """

    def __init__(self, model: ReferenceModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, image_features: Tensor, input_ids: Tensor) -> list[Tensor]:
        """Return alternating keys and values, each (1, heads, image tokens + L, head_dim)."""
        states = self.model.encode(image_features, input_ids)
        return [tensor for pair in self.model.decoder.cross_key_values(states) for tensor in pair]


class DecoderGraph(nn.Module):
    """One decoder step: score the next token of each beam.

    The graph reorders the beams: ``beam_idx`` (beams,) is, for each beam, the beam of the previous step that it
    continues.  All beams of a question share the cross-attention's keys and values of its image and prompt.

    A batched graph takes several questions: ``cross`` has one entry of each, and every question has the same number
    of beams, one question after the other.  ``cross_mask`` (questions, 1, 1, states) is added to the scores; it hides
    what fills up the shorter ones.
    """

    def __init__(self, model: ReferenceModel, num_candidates: int) -> None:
        super().__init__()
        self.model = model
        self.num_candidates = num_candidates

    def forward(
        self,
        input_ids: Tensor,
        position: Tensor,
        beam_idx: Tensor,
        past: list[Tensor],
        cross: list[Tensor],
        cross_mask: Tensor | None = None,
    ) -> list[Tensor]:
        """Return candidates, best first, log-sum-exp, all logits, then the new keys and values."""
        ordered = [tensor.index_select(0, beam_idx) for tensor in past]
        logits, present = self.model.step(input_ids.unsqueeze(1), position, _pairs(ordered), _pairs(cross), cross_mask)
        flat = [tensor for pair in present for tensor in pair]
        return [*scores(logits, self.num_candidates), *flat]


def scores(logits: Tensor, num_candidates: int) -> list[Tensor]:
    """Return ids and logits of the candidates, the log-sum-exp, and all logits (beams, vocab)."""
    candidates = torch.topk(logits, num_candidates)
    largest = candidates.values[:, :1]
    log_sum_exp = _sum((logits - largest).exp()).log() + largest.squeeze(1)
    return [candidates.indices, candidates.values, log_sum_exp, logits]


def _sum(values: Tensor) -> Tensor:
    """Sum each row in two steps: an engine that adds 51,289 floats one by one loses the fifth digit."""
    padded = F.pad(values, (0, -values.shape[1] % _CHUNK))
    return padded.reshape(-1, padded.shape[1] // _CHUNK, _CHUNK).sum(-1).sum(-1)


def _pairs(flat: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


@dataclass(frozen=True)
class Graph:
    """The arguments of ``torch.onnx.export`` for one graph."""

    module: nn.Module
    inputs: dict[str, Any]
    dynamic: dict[str, Any]
    outputs: list[str]

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs, with those of lists of tensors in full."""
        return [
            name
            for key, value in self.inputs.items()
            for name in (layer_names(key, len(value) // 2) if isinstance(value, list) else [key])
        ]


def layer_names(prefix: str, layers: int) -> list[str]:
    """Return the alternating names of keys and values of every layer: ``past.0.key``, ``past.0.value``, ..."""
    return [f"{prefix}.{layer}.{part}" for layer in range(layers) for part in ("key", "value")]


def graphs(model: ReferenceModel, *, batched: bool = False) -> dict[str, Graph]:
    """Return the three graphs of ``model`` by component.

    Args:
        model: the model.
        batched: whether the decoder takes several questions at once.
    """
    decoder = _batched(_decoder(model)) if batched else _decoder(model)
    return {"vision": _vision(model), "encoder": _encoder(model), "decoder": decoder}


def _vision(model: ReferenceModel) -> Graph:
    pixels = torch.zeros(1, 3, *model.geometry.image_size)
    return Graph(VisionGraph(model), {"pixel_values": pixels}, {"pixel_values": None}, ["image_features"])


def _encoder(model: ReferenceModel) -> Graph:
    geometry = model.geometry
    inputs = {
        "image_features": torch.zeros(1, geometry.num_image_tokens, geometry.d_model),
        "input_ids": torch.zeros(1, min(7, geometry.max_prompt_tokens), dtype=torch.int64),
    }
    dynamic = {
        "image_features": None,
        "input_ids": {1: torch.export.Dim("prompt", max=geometry.max_prompt_tokens)},
    }
    return Graph(EncoderGraph(model), inputs, dynamic, layer_names("cross", geometry.decoder_layers))


def _decoder(model: ReferenceModel) -> Graph:
    geometry = model.geometry
    layers, heads, width = (
        geometry.decoder_layers,
        geometry.decoder_attention_heads,
        geometry.decoder_head_dim,
    )
    beams, past, prompt = 3, 5, 7
    # Sizes that differ, and none of them 0 or 1: the exporter would take those for constants.
    inputs = {
        "input_ids": torch.zeros(beams, dtype=torch.int64),
        "position": torch.full((1,), past),
        "beam_idx": torch.zeros(beams, dtype=torch.int64),
        "past": [torch.zeros(beams + 1, heads, past, width) for _ in range(2 * layers)],
        "cross": [torch.zeros(1, heads, geometry.num_image_tokens + prompt, width) for _ in range(2 * layers)],
    }
    Dim = torch.export.Dim
    beam, previous, length, states = Dim("beams"), Dim("previous_beams"), Dim("past"), Dim("states")
    dynamic = {
        "input_ids": {0: beam},
        "position": None,
        "beam_idx": {0: beam},
        "past": [{0: previous, 2: length}] * (2 * layers),
        "cross": [{2: states}] * (2 * layers),
    }
    outputs = ["candidate_ids", "candidate_logits", "log_sum_exp", "logits", *layer_names("present", layers)]
    return Graph(DecoderGraph(model, min(NUM_CANDIDATES, geometry.vocab_size)), inputs, dynamic, outputs)


def _batched(decoder: Graph) -> Graph:
    """Return the decoder for several questions, whose number the graph leaves open."""
    questions, beams = 2, 4
    cross = [torch.cat([tensor] * questions) for tensor in decoder.inputs["cross"]]
    rows = {name: torch.zeros(questions * beams, dtype=torch.int64) for name in ("input_ids", "beam_idx")}
    mask = torch.zeros(questions, 1, 1, cross[0].shape[2])
    question, states = torch.export.Dim("questions"), decoder.dynamic["cross"][0][2]
    dynamic = {"cross": [{0: question, 2: states}] * len(cross), "cross_mask": {0: question, 3: states}}
    inputs = decoder.inputs | rows | {"cross": cross, "cross_mask": mask}
    return replace(decoder, inputs=inputs, dynamic=decoder.dynamic | dynamic)


def export(graph: Graph, path: Path) -> None:
    """Write ``graph`` as ONNX to ``path``, its weights beside it in ``path`` + ".data".

    Raises:
        CompileError: the exporter could not trace the module.
    """
    with _quiet(), torch.no_grad():
        try:
            program = torch.onnx.export(
                _traced(graph),
                input_names=graph.input_names,
                output_names=graph.outputs,
                dynamic_shapes=graph.dynamic,  # traced with them; here they name the sizes
                opset_version=OPSET,
                dynamo=True,
                optimize=False,  # simplify() gives the same graph in a quarter of the time
            )
        except Exception as error:
            reason = str(error).strip().split("\n", 1)[0] or type(error).__name__
            raise CompileError(f"exporting {path.stem} to ONNX failed: {reason}") from error
        assert program is not None
        simplify(program.model)
        optimizer.fold_constants(program.model, should_fold=_prepares_weights, output_size_limit=2**31)
        _name_by_module(program.model.graph)
        # Every node carries its source lines, with this machine's paths.
        ir.passes.common.ClearMetadataAndDocStringPass()(program.model)
        program.save(path, external_data=True)


def _traced(graph: Graph) -> torch.export.ExportedProgram:
    """Trace a module, for ``torch.onnx.export`` to translate the operators of the trace as they are.

    Left alone, it would trace the module twice more, to take composite operators apart.  ONNX has translations of all
    operators of Florence-2, so the graph is the same in half the time; an operator without one is an error.
    """
    with config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]  # any size may be 1
        program = torch.export.export(
            graph.module,
            (),
            graph.inputs,
            dynamic_shapes=graph.dynamic,
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,
        )
    in_place = [node.name for node in program.graph.nodes if _is_in_place(node)]
    assert not in_place, f"{in_place} would be translated as if they left their inputs alone"
    program.run_decompositions = lambda *_: program
    return program


def _is_in_place(node: torch.fx.Node) -> bool:
    """Tell whether an operator writes to its input: in torch, the name of such a one ends in an underscore."""
    return str(node.target).removeprefix("aten.").partition(".")[0].endswith("_")


def _prepares_weights(node: ir.Node) -> bool | None:
    """Tell whether to fold a node of constants whatever its size, so that weights are stored as they are used."""
    return True if node.op_type in ("Slice", "Mul", "Concat") else None


def _name_by_module(graph: ir.Graph) -> None:
    """Name nodes after their modules; policies, reports and errors of engines use these names.

    An example is ``vision_tower.blocks.0.0.spatial_block.ffn.fc1/node_MatMul_97``.  A node outside any module keeps its
    name.
    """
    for node in graph:
        scopes = literal_eval(node.metadata_props.get(_SCOPES, "[]"))
        module = scopes[-2].removeprefix("model.") if len(scopes) > 1 else ""
        if module and not module.startswith("_"):
            node.name = f"{module}/{node.name}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter, which prints its progress and warns of its own internals."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)
