"""Encoder and decoder of fixed shapes, as an NPU needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openvino as ov
import pytest
import torch

from f2edge.bundle.limits import Limits
from f2edge.bundle.manifest import COMPONENTS
from f2edge.compile.build import build
from f2edge.compile.export.fixed_shapes import StaticDecoderGraph, StaticEncoderGraph, static_graphs
from f2edge.compile.export.graphs import layer_names
from f2edge.compile.options import Options
from f2edge.errors import CompileError, LimitError
from f2edge.targets import TARGETS
from tests.support.checkpoints import TINY, random_model

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.compile.reference.model import ReferenceModel

SHAPES = Limits(num_beams=4, prompt_tokens=20, new_tokens=12)
STATES = TINY.num_image_tokens + SHAPES.prompt_tokens


@pytest.fixture(scope="module")
def model() -> ReferenceModel:
    """Return the reference model."""
    return random_model(TINY)


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_no_shape_is_dynamic(precision: str, component: str, request: pytest.FixtureRequest) -> None:
    """No input, output, state or inner tensor has a dynamic shape, and no node has a type that an NPU lacks."""
    float_bundle = precision == "fp32"
    bundle: Path = request.getfixturevalue("tiny_npu_bundle" if float_bundle else "tiny_npu_int8")
    bundle = bundle if float_bundle else bundle / "bundle"
    model = ov.Core().read_model(bundle / f"{component}.xml", bundle / "weights.bin")
    assert not any(output.partial_shape.is_dynamic for op in model.get_ops() for output in op.outputs())
    kinds = {op.get_type_name() for op in model.get_ops()}
    assert not kinds & {"ShapeOf", "NonZero", "Loop", "If", "Range", "Broadcast"}
    assert ("ReadValue" in kinds) == (component == "decoder")


def test_names_are_those_of_the_dynamic_graphs(model: ReferenceModel) -> None:
    """The names equal the dynamic graphs', plus the mask that the encoder passes to the decoder."""
    graphs = static_graphs(model, SHAPES)
    cross = [*layer_names("cross", TINY.decoder_layers), "cross_mask"]
    assert graphs["encoder"].outputs == cross
    assert graphs["decoder"].input_names == [
        "input_ids",
        "position",
        "beam_idx",
        *layer_names("past", TINY.decoder_layers),
        *cross,
    ]


@torch.inference_mode()
@pytest.mark.parametrize("length", [1, 2, 19, 20])
def test_padding_changes_nothing(length: int, model: ReferenceModel) -> None:
    """Keys and values of image and prompt equal those without padding; the mask hides the padding."""
    features = torch.randn(1, TINY.num_image_tokens, TINY.d_model, generator=torch.Generator().manual_seed(0))
    ids = torch.arange(length) * 37 + 1
    padded = torch.full((1, SHAPES.prompt_tokens), -1)
    padded[0, :length] = ids
    *padded_states, mask = StaticEncoderGraph(model)(features, padded)
    expected = [t for pair in model.decoder.cross_key_values(model.encode(features, ids[None])) for t in pair]
    seen = TINY.num_image_tokens + length
    assert (mask[0, 0, :seen, 0] == 0).all()
    assert (mask[0, 0, seen:, 0] < -1e4).all()
    for ours, theirs in zip(padded_states, expected, strict=True):
        assert (ours[:, :, :seen] - theirs).abs().max() < 1e-5 * theirs.abs().max()


@torch.inference_mode()
@pytest.mark.parametrize("position", [0, 1, 5, 11])
def test_a_step_writes_in_place(position: int, model: ReferenceModel) -> None:
    """A step writes keys and values at its position; values at later positions do not matter."""
    generator = torch.Generator().manual_seed(position)
    shape = (SHAPES.num_beams, TINY.decoder_attention_heads, SHAPES.new_tokens, TINY.decoder_head_dim)
    past = [1e3 * torch.randn(shape, generator=generator) for _ in range(2 * TINY.decoder_layers)]
    for tensor in past:
        tensor[:, :, :position] /= 1e3
    cross = [torch.randn(1, shape[1], STATES, shape[3], generator=generator) for _ in past]
    tokens, parents = torch.tensor([5, 6, 7, 8]), torch.tensor([2, 2, 0, 3])
    mask = torch.zeros(1, 1, STATES, 1)
    where = torch.tensor([position])
    _, _, _, logits, *present = StaticDecoderGraph(model, 8)(tokens, where, parents, past, cross, mask)
    before = [tensor[parents, :, :position] for tensor in past]
    pairs = list(zip(before[::2], before[1::2], strict=True)) if position else None
    crosses = list(zip(cross[::2], cross[1::2], strict=True))
    expected, states = model.step(tokens[:, None], where, pairs, crosses)
    assert (logits - expected).abs().max() < 1e-5 * expected.abs().max()
    for new, old, state in zip(present, past, (t for pair in states for t in pair), strict=True):
        torch.testing.assert_close(new[:, :, : position + 1], state)
        assert torch.equal(new[:, :, position + 1 :], old[parents][:, :, position + 1 :])


def test_fixed_beams_are_refused_for_other_targets(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """A fixed number of beams would have no effect on targets with dynamic shapes."""
    with pytest.raises(LimitError, match="`num_beams` 5: target cpu takes any number"):
        build(tiny_checkpoint, tmp_path / "bundle", Options(TARGETS["cpu"], num_beams=5))


def test_too_few_beams(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """The number of beams must suffice for the golden cases, which use 3."""
    with pytest.raises(LimitError, match="num_beams is 2, not 3 to 64"):
        build(tiny_checkpoint, tmp_path / "bundle", Options(TARGETS["npu"], num_beams=2))


@pytest.mark.parametrize(("wish", "named"), [({"report": True}, "`report`"), ({"budget": 0.01}, "`precision` auto")])
def test_what_times_graphs_is_refused(wish: dict[str, Any], named: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    """A report and a mix of precisions time graphs of any length, and are refused before any work."""
    options = Options(TARGETS["npu"], "int8", calibration=tmp_path, **wish)
    with pytest.raises(CompileError, match=f"{named} is not there for target npu"):
        build(tiny_checkpoint, tmp_path / "bundle", options)
