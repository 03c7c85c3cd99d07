"""Whatever the files of a checkpoint hold: it loads, or one line says why not."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from f2edge.compile.checkpoint.load import Checkpoint, check_tokenizer, load_checkpoint
from f2edge.errors import CheckpointError, LimitError
from f2edge.geometry import VisionGeometry
from tests.support.checkpoints import GENERATION, write_checkpoint
from tests.support.fuzzing import STRANGE, check_line, contained, damaged_bytes, damaged_json, examples

if TYPE_CHECKING:
    from pathlib import Path

SAFE, PICKLED, INDEX = "model.safetensors", "pytorch_model.bin", "model.safetensors.index.json"
SETTINGS: dict[str, Any] = {
    "generation_config.json": {**GENERATION, "bad_words_ids": [[5, 6], [7]], "suppress_tokens": [9], "min_length": 0},
    "processor_config.json": {"image_processor": {"size": {"height": 96, "width": 96}, "image_std": [1, 1, 1]}},
    "adapter_config.json": {"base_model_name_or_path": "someone/florence", "peft_type": "LORA", "r": 8},
    INDEX: {"metadata": {"total_size": 9}, "weight_map": {"a": SAFE, "b": SAFE}},
}
"""Files that the checkpoint lacks, with values that are sound there."""
ONE_STAGE = VisionGeometry((16,), (1,), (1,), (2,), (32,), (32,), (0,), (True,), window_size=5, mlp_dim=(64,))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint of one layer of each kind, which loads within a tenth of a second."""
    path = tmp_path_factory.mktemp("sound") / "checkpoint"
    write_checkpoint(path, vision=ONE_STAGE, encoder_layers=1, decoder_layers=1)
    return path


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory in which every example has a copy of it."""
    return tmp_path_factory.mktemp("fuzz") / "checkpoint"


def loads_or_says_why(sound: Path, copy: Path, name: str, content: bytes, without: str = "") -> None:
    """Load a copy of the sound checkpoint in which one file is another."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(sound, copy, ignore=shutil.ignore_patterns(without))
    (copy / name).write_bytes(content)
    with contained():
        try:
            loaded = load_checkpoint(copy)
            check_tokenizer(loaded)
        except (CheckpointError, LimitError) as error:
            check_line(error)
        else:
            assert isinstance(loaded, Checkpoint)


def test_the_checkpoint_itself_is_sound(sound: Path) -> None:
    """Without damage it loads, so that what the others see is due to the damage."""
    check_tokenizer(load_checkpoint(sound))


@pytest.mark.parametrize(
    "name", ["config.json", "preprocessor_config.json", "generation_config.json", "processor_config.json"]
)
@examples(25)
@given(data=st.data())
def test_settings(name: str, sound: Path, copy: Path, data: st.DataObject) -> None:
    """Values of any type anywhere in the files of settings, keys missing, unknown or there twice, and other bytes."""
    path = sound / name
    values = json.loads(path.read_text()) if path.is_file() else SETTINGS[name]
    without = "preprocessor_config.json" if name == "processor_config.json" else ""
    loads_or_says_why(sound, copy, name, data.draw(damaged_json(values)), without)


@examples(25)
@given(data=st.data())
def test_tokenizer(sound: Path, copy: Path, data: st.DataObject) -> None:
    """Values of any type anywhere in ``tokenizer.json``, which a library reads that is not written in Python."""
    values = json.loads((sound / "tokenizer.json").read_text())
    loads_or_says_why(sound, copy, "tokenizer.json", data.draw(damaged_json(values)))


@pytest.mark.parametrize("name", ["adapter_config.json", INDEX])
@examples(25)
@given(data=st.data())
def test_what_stands_for_the_weights(name: str, sound: Path, copy: Path, data: st.DataObject) -> None:
    """An index of shards, or the settings of an adapter, where the weights are missing."""
    content = damaged_json(SETTINGS[name])
    loads_or_says_why(sound, copy, name, data.draw(content), without=SAFE)


@examples(40)
@given(st.data())
def test_header_of_safetensors(sound: Path, copy: Path, data: st.DataObject) -> None:
    """Dtypes, shapes and offsets of any value, tensors that overlap, and a wrong length of the header."""
    whole = (sound / SAFE).read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8:end])
    changed = data.draw(damaged_json(header) | other_tensors(header))
    length = data.draw(st.just(len(changed)) | st.sampled_from([0, 1, len(changed) + 8, 2**31, 2**63, 2**64 - 1]))
    loads_or_says_why(sound, copy, SAFE, length.to_bytes(8, "little") + changed + whole[end:])


@st.composite
def other_tensors(draw: st.DrawFn, header: dict[str, Any]) -> bytes:
    """Return a header that is well formed, but says something else about some of its tensors."""
    changed = {name: dict(entry) for name, entry in header.items()}
    number = st.sampled_from([0, 1, 2, 64, 2**20, 2**31, 2**32, 2**62, 2**63, 2**64 - 1, -1])
    values = {
        "dtype": st.sampled_from(["F16", "BF16", "F64", "I64", "I8", "BOOL", "F8_E4M3", "C64", "F4"]),
        "shape": st.lists(number, max_size=4),
        "data_offsets": st.lists(number, min_size=2, max_size=2),
    }
    for name in draw(st.lists(st.sampled_from(sorted(changed)), min_size=1, max_size=3)):
        key = draw(st.sampled_from(sorted(values)))
        changed[name][key] = draw(values[key])
    if draw(st.booleans()):
        changed[draw(st.sampled_from(STRANGE))] = changed.pop(draw(st.sampled_from(sorted(changed))))
    return json.dumps(changed).encode()


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
@examples(25)
@given(data=st.data())
def test_bytes_of_weights(kind: str, sound: Path, copy: Path, data: st.DataObject) -> None:
    """Bytes changed, lost and repeated in each format, mostly in its head."""
    name = SAFE if kind == "safetensors" else PICKLED
    content = data.draw(damaged_bytes(weights(sound, kind), head=3000))
    loads_or_says_why(sound, copy, name, content, without=SAFE)


def weights(sound: Path, kind: str) -> bytes:
    """Return the weights as a file of this format."""
    if kind == "safetensors":
        return (sound / SAFE).read_bytes()
    path = sound.with_name(kind)
    if not path.is_file():
        torch.save(load_file(sound / SAFE), path, _use_new_zipfile_serialization=kind == "zip")
    return path.read_bytes()


@examples(25)
@given(st.data())
def test_names_of_tensors(sound: Path, copy: Path, data: st.DataObject) -> None:
    """Tensors under other names, without names of their own, and with prefixes of wrappers."""
    tensors = load_file(sound / SAFE)
    part = st.sampled_from(["model.", "module.", "_orig_mod.", "", ".", "vision_tower.", "lm_head.weight", *STRANGE])
    for name in data.draw(st.lists(st.sampled_from(sorted(tensors)), max_size=4, unique=True)):
        tensors["".join(data.draw(st.tuples(part, part, st.sampled_from([name, ""]))))] = tensors.pop(name)
    prefix = data.draw(part)
    named = {(prefix + name).replace("\ud800", "?"): tensor for name, tensor in tensors.items()}
    torch.save(named, copy.with_name("named"))
    loads_or_says_why(sound, copy, PICKLED, copy.with_name("named").read_bytes(), without=SAFE)
