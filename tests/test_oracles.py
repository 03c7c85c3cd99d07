"""Every engine gives the answers that Microsoft's and transformers' own code gave for the tiny checkpoints."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

import f2edge
from f2edge.compile.build import build
from f2edge.compile.checkpoint.load import load_checkpoint
from f2edge.compile.options import Options
from f2edge.compile.reference.runtime import TorchRuntime, TorchSession
from f2edge.decoding import generate
from f2edge.targets import TARGETS

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.decoding import Generation
    from f2edge.engine import PromptSession

ENGINES = ("torch", "cpu", "onnx")
SCORE_TOLERANCE = 1e-4
TOKEN_TOLERANCE = 2e-4
"""Of a token's log-probability: with logits up to 25, fp32 is accurate to 1e-4 (the recorded ones spread by 8.5e-5)."""


@pytest.fixture(scope="module")
def bundles(checkpoints_dir: Path, stages: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Compile Microsoft's tiny checkpoint for both engines, for each from a different one of its two files."""
    directory = tmp_path_factory.mktemp("oracle")
    sources = {"cpu": "ms_tiny", "onnx": "ms_tiny_safetensors"}
    for target, source in sources.items():
        build(checkpoints_dir / source, directory / target, Options(TARGETS[target], "fp32", stages=stages))
    return {target: directory / target for target in sources}


@pytest.fixture(scope="module", params=ENGINES)
def model(request: pytest.FixtureRequest, bundles: dict[str, Path], checkpoints_dir: Path) -> f2edge.Florence2:
    """Return the model on one engine; for ``torch`` the reference replaces the runtime of a bundle."""
    if request.param != "torch":
        return f2edge.load(bundles[request.param])
    opened = f2edge.load(bundles["cpu"])
    return f2edge.Florence2(
        opened.bundle, TorchRuntime(load_checkpoint(checkpoints_dir / "ms_tiny").model), opened.tokenizer
    )


def check(answer: Generation | f2edge.Result, record: dict[str, Any]) -> None:
    """Compare with a recorded answer: tokens exactly, the score within 1e-4, log-probabilities within 2e-4."""
    assert list(answer.token_ids) == record["sequence"]
    np.testing.assert_allclose(answer.token_logprobs, record["transition_scores"], atol=TOKEN_TOLERANCE)
    if "sequences_score" in record:
        assert answer.score == pytest.approx(record["sequences_score"], abs=SCORE_TOLERANCE)


@pytest.mark.parametrize("num_beams", [1, 3, 5])
@pytest.mark.parametrize("case", range(3))
def test_answers_equal_the_oracles(
    case: int, num_beams: int, model: f2edge.Florence2, oracle_answers: dict[str, Any]
) -> None:
    """With 1, 3 and 5 beams each case has the recorded expected, and ``truncated`` is set if the limit ended it."""
    record = oracle_answers["cases"][case]
    expected = record["generate"][f"num_beams_{num_beams}"]
    features = model.runtime.encode_image(oracle_answers[f"case{case}_pixel_values"].astype(np.float32)[None])
    session = model.runtime.start(features, np.array(record["prompt_ids"]))
    answer = generate(session, model.settings(num_beams, max_new_tokens=40))
    check(answer, expected)
    assert answer.truncated == (expected["ended"] == "limit")


def test_pictures_are_answered_end_to_end(
    model: f2edge.Florence2, oracle_answers: dict[str, Any], oracles_dir: Path
) -> None:
    """Each picture file and prompt gives the recorded ids, text and Microsoft's parsed answer, to the last bit."""
    for record in oracle_answers["end_to_end"]:
        with Image.open(oracles_dir / record["image"]) as file:
            picture = file.convert("RGB")
        text = record["prompt"].removeprefix(record["task"]) or None
        answer = model.run(picture, record["task"], text, max_new_tokens=40)
        check(answer, record["generate"])
        assert answer.text == record["generate"]["text"]
        parsed = json.loads(json.dumps(answer.answer))
        assert without_scores(parsed) == without_scores(record["microsoft"])
    assert len(oracle_answers["end_to_end"]) == 6


def without_scores(answer: dict[str, Any]) -> dict[str, Any]:
    """Drop Microsoft's scores, which depend on rounding; tests/tasks/test_parsers.py compares them with a tolerance."""
    return {
        task: {k: v for k, v in value.items() if k != "scores"} if isinstance(value, dict) else value
        for task, value in answer.items()
    }


@pytest.mark.parametrize("masked", [True, False], ids=["masked", "unmasked"])
def test_a_padded_batch_is_answered_as_the_oracle_says(
    masked: bool, oracle_answers: dict[str, Any], checkpoints_dir: Path
) -> None:
    """With its mask a batch has the answers of its single prompts; without it, those of Microsoft's unmasked batch."""
    checkpoint, batch = load_checkpoint(checkpoints_dir / "ms_tiny"), oracle_answers["batch"]
    pixels = np.stack([oracle_answers[f"{name}_pixel_values"] for name in batch["images"]]).astype(np.float32)
    mask = torch.tensor(batch["attention_mask"])
    ids = torch.tensor(batch["prompt_ids"])
    features = checkpoint.model.encode_image(torch.from_numpy(pixels))
    states = checkpoint.model.encode(features, ids, mask if masked else None)
    seen = checkpoint.model.additive_mask(mask) if masked else None
    for name, answers in batch["generate"].items():
        beams = int(name.removeprefix("num_beams_"))
        settings = replace(checkpoint.settings, num_beams=beams, max_new_tokens=40)
        sequences = answers["sequences" if masked else "unmasked_sequences"]
        for row, sequence in enumerate(sequences):
            session: PromptSession = TorchSession(
                checkpoint.model,
                checkpoint.model.decoder.cross_key_values(states[row : row + 1]),
                None if seen is None else seen[row : row + 1],
            )
            tokens = list(generate(session, settings).token_ids)
            assert tokens == [token for token in sequence if token != 1]
