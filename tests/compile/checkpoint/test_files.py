"""Reading tensors from every kind of file, and refusing what is damaged or dangerous."""

from __future__ import annotations

import json
import pickle
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from f2edge.compile.checkpoint.files import read_json, read_tensors
from f2edge.compile.checkpoint.load import load_checkpoint
from f2edge.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor


@pytest.fixture(scope="module")
def tensors(tiny_checkpoint: Path) -> dict[str, Tensor]:
    """Return the tensors of the tiny checkpoint."""
    return load_file(tiny_checkpoint / "model.safetensors")


def save_bin(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Save in torch's current format."""
    torch.save(dict(tensors), path)


def save_legacy_bin(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Save in torch's format before 1.6."""
    torch.save(dict(tensors), path, _use_new_zipfile_serialization=False)


def save_sharded(tensors: dict[str, Tensor], path: Path, save: Callable[[dict[str, Tensor], Path], None]) -> None:
    """Save three shards and their index, which ``path`` gives the name."""
    names = sorted(tensors)
    weight_map = {name: f"{path.stem}-{i % 3 + 1:05d}-of-00003{path.suffix}" for i, name in enumerate(names)}
    for shard in set(weight_map.values()):
        save({name: tensors[name] for name in names if weight_map[name] == shard}, path.with_name(shard))
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    path.with_name(f"{path.name}.index.json").write_text(json.dumps(index))


WRITERS: dict[str, Callable[[dict[str, Tensor], Path], None]] = {
    "safetensors": lambda tensors, path: save_file(tensors, path / "model.safetensors"),
    "bin": lambda tensors, path: save_bin(tensors, path / "pytorch_model.bin"),
    "legacy bin": lambda tensors, path: save_legacy_bin(tensors, path / "pytorch_model.bin"),
    "safetensors shards": lambda tensors, path: save_sharded(tensors, path / "model.safetensors", save_file),
    "bin shards": lambda tensors, path: save_sharded(tensors, path / "pytorch_model.bin", save_bin),
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_every_kind_of_file_and_dtype(
    kind: str, dtype: torch.dtype, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    """Every kind of file gives back the names, values and dtypes that were written."""
    written = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    WRITERS[kind](written, tmp_path)
    loaded = read_tensors(tmp_path)
    assert loaded.keys() == written.keys()
    assert {tensor.dtype for tensor in loaded.values()} == {dtype}
    assert [name for name in written if not torch.equal(loaded[name], written[name])] == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_widened(
    dtype: torch.dtype, tiny_checkpoint: Path, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    """The model computes in fp32 with exactly the values of the file."""
    shutil.copytree(tiny_checkpoint, tmp_path, dirs_exist_ok=True)
    save_file({name: tensor.to(dtype) for name, tensor in tensors.items()}, tmp_path / "model.safetensors")
    state = load_checkpoint(tmp_path).model.state_dict()
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
    embedding = tensors["language_model.model.shared.weight"]
    assert torch.equal(state["shared.weight"], embedding.to(dtype).float())


def test_safetensors_come_before_bin(tmp_path: Path) -> None:
    """If a directory holds both, the format that cannot run code is read, as one file or as shards."""
    save_sharded({"a": torch.ones(1)}, tmp_path / "model.safetensors", save_file)
    save_bin({"a": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    assert read_tensors(tmp_path)["a"] == 1


class _Malicious:
    """An object that writes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.trace), "w"))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_that_runs_code_is_refused_unrun(legacy: bool, tmp_path: Path) -> None:
    """A pickle that calls a function is refused, and the function is not called."""
    trace = tmp_path / "trace"
    file = tmp_path / "pytorch_model.bin"
    content = {"vision_tower.x": torch.zeros(1), "y": _Malicious(trace)}
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match="not loaded for safety"):
        read_tensors(tmp_path)
    assert not trace.exists()
    pickle.loads(pickle.dumps(_Malicious(trace))).close()  # noqa: S301 - shows that the trap works
    assert trace.exists()


@pytest.mark.parametrize("content", [{"model": {"a": torch.zeros(1)}}, {0: torch.zeros(1)}, [torch.zeros(1)], {"a": 1}])
def test_a_bin_that_is_not_a_table_of_tensors(content: Any, tmp_path: Path) -> None:
    """A training state, numbered tensors, a list and plain numbers are refused."""
    torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="not a plain table of tensors"):
        read_tensors(tmp_path)


@pytest.mark.parametrize("kind", ["safetensors", "bin", "legacy bin"])
def test_damaged_files_are_one_clear_line(kind: str, tmp_path: Path) -> None:
    """A truncated or changed file gives a CheckpointError of one line, or tensors, but no other error."""
    WRITERS[kind]({"a.weight": torch.arange(6.0), "b": torch.ones(2, 3, dtype=torch.float16)}, tmp_path)
    (file,) = tmp_path.iterdir()
    intact = file.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for trial in range(150):
        damaged = bytearray(intact)
        for place in rng.integers(0, min(len(intact), 1500), rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        length = len(intact) if trial % 3 else int(rng.integers(len(intact)))
        file.write_bytes(damaged[:length])
        refused += _refused(tmp_path)
    assert refused > 50


def _refused(directory: Path) -> bool:
    try:
        read_tensors(directory)
    except CheckpointError as error:
        message = str(error)
    else:
        return False
    assert "\n" not in message
    assert str(directory) in message
    return True


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"a": "../outside.safetensors"}, "outside the checkpoint: ../outside.safetensors"),
        ({"a": "/etc/passwd"}, "outside the checkpoint: /etc/passwd"),
        ({"a": "sub/model.safetensors"}, "outside the checkpoint: sub/model.safetensors"),
        ({"a": ".."}, "outside the checkpoint: .."),
        ({"a": "gone.safetensors"}, "gone.safetensors is missing"),
        ({"a": "x" * 300}, "x is missing"),
        ({"a": "a\nb"}, "a b is missing"),
        ({"a": "\ud800"}, r"\\ud800 is missing"),
        ({"a": None}, "no weight_map"),
        ({"a": "here.safetensors", "b": 1}, "no weight_map"),
        ({}, "no weight_map"),
        ([], "no weight_map"),
        (None, "no weight_map"),
    ],
)
def test_an_index_that_leads_nowhere_or_outside(weight_map: Any, message: str, tmp_path: Path) -> None:
    """Shards must lie beside their index."""
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    for place in (directory / "here.safetensors", tmp_path / "outside.safetensors"):
        save_file({"a": torch.zeros(1)}, place)
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(CheckpointError, match=message):
        read_tensors(directory)


def test_no_weights_at_all(tmp_path: Path) -> None:
    """The error names the files that were expected."""
    with pytest.raises(CheckpointError, match=r"holds no weights: expected model.safetensors or pytorch_model.bin"):
        read_tensors(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '"x"', "\xff", "[" * 100_000])
def test_json_that_is_not_readable(text: str, tmp_path: Path) -> None:
    """JSON that is truncated, not an object, not UTF-8 or nested too deep is refused, and so is a missing file."""
    file = tmp_path / "config.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"config.json is not (valid JSON|a JSON object)"):
        read_json(file)
    with pytest.raises(CheckpointError, match=r"none.json is missing"):
        read_json(tmp_path / "none.json")
