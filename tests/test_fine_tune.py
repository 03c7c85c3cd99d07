"""The example that fine-tunes with peft: it learns, and its adapter compiles and answers as peft's model does."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import fine_tune
import numpy as np
import peft
import pytest
from native import load_native
from transformers import Florence2ForConditionalGeneration

import f2edge
from f2edge.compile.build import build
from f2edge.compile.options import Lora, Options
from f2edge.decoding import generate
from f2edge.targets import TARGETS
from f2edge.tasks.table import TASKS
from tests.support.native import varied, write_native
from tests.support.same_files import PROMPT, answer_of, random_picture, usual_files

if TYPE_CHECKING:
    from pathlib import Path

GEOMETRY = varied(0)
STEPS = 6


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a random checkpoint in transformers' layout."""
    path = tmp_path_factory.mktemp("checkpoint") / "tiny"
    write_native(path, GEOMETRY, seed=3)
    usual_files(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write three pictures with questions, in both formats that the example reads."""
    path = tmp_path_factory.mktemp("pictures")
    for number in range(3):
        random_picture(np.random.default_rng(number)).save(path / f"{number}.png")
    asked = [{"prompt": "What?", "answer": "a bow"}, {"prompt": "Where?", "answer": "bow<loc_1><loc_2><loc_3><loc_4>"}]
    lines = [{"image": f"{number}.png", "questions": asked} for number in range(2)]
    lines += [{"image": "2.png", "prefix": "<OD>", "suffix": "bow<loc_1><loc_2><loc_3><loc_4>"}]
    lines += [{"image": "2.png", "prefix": "How many?", "suffix": "one"}]
    (path / "scenes.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return path


def test_questions_of_both_formats(folder: Path) -> None:
    """A prefix that is the name of a task becomes the prompt of the task; any other text stays as it is."""
    asked = fine_tune.read_folder(folder)
    where = "bow<loc_1><loc_2><loc_3><loc_4>"
    assert [(one.picture.name, one.pairs) for one in asked] == [
        *((f"{number}.png", [("What?", "a bow"), ("Where?", where)]) for number in range(2)),
        ("2.png", [(TASKS["<OD>"].prompt, where), ("How many?", "one")]),
    ]


def test_the_checkpoint_as_transformers_class(checkpoint: Path) -> None:
    """The example's model has the weights that transformers loads by itself, the head included."""
    expected = Florence2ForConditionalGeneration.from_pretrained(checkpoint).state_dict()
    found = load_native(checkpoint)[0].state_dict()
    assert set(found) == set(expected)
    assert all(tensor.equal(expected[name]) for name, tensor in found.items())


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks transformers for it
def test_it_learns(checkpoint: Path, folder: Path) -> None:
    """After twenty steps on the same questions the loss is less than half, and only the adapter has changed."""
    model, sizes = load_native(checkpoint)
    batch = fine_tune.Collate(checkpoint, sizes)(fine_tune.read_folder(folder))
    adapted = fine_tune.adapt(model, rank=8).train()
    before = {name: tensor.clone() for name, tensor in adapted.state_dict().items()}
    losses = fine_tune.train(adapted, [batch] * 20, learning_rate=1e-2)
    assert losses[-1] < losses[0] / 2
    changed = {name for name, tensor in adapted.state_dict().items() if not tensor.equal(before[name])}
    assert changed
    assert all(".lora_" in name for name in changed)


def test_examples_are_drawn_again_the_same(folder: Path) -> None:
    """Each picture comes with different questions of its own; a second training sees the same."""
    asked = fine_tune.read_folder(folder)
    drawn, again = ([*map(fine_tune.Examples(asked, 1, 30).__getitem__, range(30))] for _ in range(2))
    assert drawn == again
    assert {(one.picture, pair) for one in drawn for pair in one.pairs} == {
        (one.picture, pair) for one in asked for pair in one.pairs
    }


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_the_adapter_compiles(
    checkpoint: Path, folder: Path, stages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bundle's answers are those of peft's model with the adapter that the example has saved, not the base's."""
    adapter = tmp_path / "adapter"
    settings = ("--steps", STEPS, "--batch", 2, "--rank", 4, "--learning-rate", 0.02, "--threads", 1)
    monkeypatch.setattr(sys, "argv", list(map(str, ("fine_tune.py", checkpoint, folder, "-o", adapter, *settings))))
    fine_tune.main()
    pictures = [random_picture(np.random.default_rng(seed)) for seed in range(2)]
    model = Florence2ForConditionalGeneration.from_pretrained(checkpoint, attn_implementation="eager").eval()
    before = [answer_of(model, checkpoint, picture, GEOMETRY.num_image_tokens) for picture in pictures]
    adapted = peft.PeftModel.from_pretrained(model, adapter).eval()
    expected = [answer_of(adapted, checkpoint, picture, GEOMETRY.num_image_tokens) for picture in pictures]
    assert expected != before

    build(checkpoint, tmp_path / "bundle", Options(TARGETS["onnx"], "fp32", stages=stages, lora=(Lora(adapter),)))
    with f2edge.load(tmp_path / "bundle") as compiled:
        sessions = [compiled.runtime.start(compiled.encode(one).features, np.array(PROMPT)) for one in pictures]
        assert [list(generate(session, compiled.settings()).token_ids) for session in sessions] == expected
