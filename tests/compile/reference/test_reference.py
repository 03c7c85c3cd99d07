"""The reference model computes what transformers computes, and what Microsoft's code computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from f2edge.compile.checkpoint.load import load_checkpoint
from tests.support.native import VARIANTS, native_inputs, varied, write_native

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from f2edge.compile.checkpoint.load import Checkpoint

PROMPT = [0, 40, 300, 77, 500, 2]
ANSWER = [2, 0, 410, 900, 333, 1200, 65]


def relative(values: Tensor, expected: Tensor) -> float:
    """Return the largest absolute difference, divided by the largest absolute expected value."""
    return float((values - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("variant", range(VARIANTS))
def test_features_states_and_logits_equal_transformers(variant: int, tmp_path: Path) -> None:
    """For random models of five geometries every stage equals transformers' in fp32, within 1e-5 relative."""
    geometry = varied(variant)
    native = write_native(tmp_path, geometry, seed=variant)
    model = load_checkpoint(tmp_path).model
    assert model.geometry == geometry
    pixels = torch.randn(1, 3, *geometry.image_size, generator=torch.Generator().manual_seed(variant))
    with torch.no_grad():
        expected = native(**native_inputs(geometry, pixels, PROMPT), decoder_input_ids=torch.tensor([ANSWER]))
        expected_features = native.model.get_image_features(pixels).pooler_output
        features = model.encode_image(pixels)
        states = model.encode(features, torch.tensor([PROMPT]))
        logits = model.decode(states, torch.tensor([ANSWER]))
    assert relative(features[0], expected_features.reshape(features[0].shape)) < 1e-5
    assert relative(states, expected.encoder_last_hidden_state) < 1e-5
    assert relative(logits, expected.logits) < 1e-5


@pytest.fixture(scope="module", params=["ms_tiny", "ms_tiny_safetensors"])
def microsoft(request: pytest.FixtureRequest, checkpoints_dir: Path) -> Checkpoint:
    """Load a tiny checkpoint in Microsoft's layout: a .bin with all aliases, or a safetensors file without lm_head."""
    return load_checkpoint(checkpoints_dir / request.param)


@pytest.mark.parametrize("case", range(3))
def test_every_stage_equals_microsofts(case: int, microsoft: Checkpoint, oracle_answers: dict[str, Any]) -> None:
    """Image features, encoder states and logits of three cases, and one's vision stages, equal Microsoft's."""
    model = microsoft.model
    record = oracle_answers["cases"][case]

    def oracle(name: str) -> Tensor:
        return torch.from_numpy(oracle_answers[f"case{case}_{name}"].astype(np.float32))

    pixels = oracle("pixel_values")[None]
    for stage, output in enumerate(model.vision_tower.stages(pixels) if case == 0 else []):
        assert relative(output.flatten(0, 2), oracle(f"stage{stage}")) < 1e-5
    features = model.encode_image(pixels)
    states = model.encode(features, torch.tensor([record["prompt_ids"]]))
    logits = model.decode(states, torch.tensor([record["decoder_input_ids"]]))[0]
    assert relative(features[0], oracle("image_features")) < 1e-5
    assert relative(states[0], oracle("encoder_hidden")) < 1e-5
    assert relative(logits[:, oracle_answers[f"case{case}_logits_columns"]], oracle("logits")) < 1e-5
    assert relative(logits.logsumexp(-1), oracle("logits_logsumexp")) < 1e-5
    assert logits.argmax(-1).tolist() == oracle_answers[f"case{case}_logits_argmax"].tolist()


def test_a_masked_batch_equals_single_prompts(microsoft: Checkpoint, oracle_answers: dict[str, Any]) -> None:
    """In a batch of right-padded prompts with their mask each row has the states and logits that it has alone."""
    model, batch = microsoft.model, oracle_answers["batch"]
    ids, mask = torch.tensor(batch["prompt_ids"]), torch.tensor(batch["attention_mask"])
    pixels = np.stack([oracle_answers[f"{name}_pixel_values"] for name in batch["images"]])
    features = model.encode_image(torch.from_numpy(pixels.astype(np.float32)))
    states = model.encode(features, ids, mask)
    answer = torch.tensor([ANSWER] * len(ids))
    logits = model.decode(states, answer, mask)
    for row, length in enumerate(mask.sum(1).tolist()):
        alone = model.encode(features[row : row + 1], ids[row : row + 1, :length])
        assert relative(states[row, : alone.shape[1]], alone[0]) < 1e-5
        assert relative(logits[row], model.decode(alone, answer[:1])[0]) < 1e-5


@pytest.mark.slow
def test_base_size_equals_transformers(tmp_path: Path) -> None:
    """With the sizes of base, 768 x 768 pixels and random weights every stage equals that of transformers."""
    from tests.support.geometries import BASE

    native = write_native(tmp_path, BASE, seed=1)
    model = load_checkpoint(tmp_path).model
    pixels = torch.randn(1, 3, *BASE.image_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = native(**native_inputs(BASE, pixels, PROMPT), decoder_input_ids=torch.tensor([ANSWER]))
        features = model.encode_image(pixels)
        states = model.encode(features, torch.tensor([PROMPT]))
        logits = model.decode(states, torch.tensor([ANSWER]))
        native_features = native.model.get_image_features(pixels).pooler_output
    assert relative(features[0], native_features.reshape(features[0].shape)) < 1e-5
    assert relative(states, expected.encoder_last_hidden_state) < 1e-5
    assert relative(logits, expected.logits) < 1e-5
