"""Read the tensors of a checkpoint directory in any of the usual files, without running code from them."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from f2edge.bundle.schema import parse
from f2edge.compile.checkpoint.foreign import WEIGHTS
from f2edge.errors import CheckpointError
from f2edge.paths import is_file


def read_tensors(directory: Path) -> dict[str, Tensor]:
    """Read all tensors of a checkpoint directory, in the dtypes of the files.

    The first that is there is read: ``model.safetensors``, the shards of ``model.safetensors.index.json``,
    ``pytorch_model.bin``, the shards of ``pytorch_model.bin.index.json``.

    Raises:
        CheckpointError: none of them is there, or one is damaged or names a file outside the directory.
    """
    for name in WEIGHTS:
        if (directory / name).is_file():
            return _read_file(directory / name)
        if (directory / f"{name}.index.json").is_file():
            return _read_shards(directory, f"{name}.index.json")
    raise CheckpointError(
        f"{directory} holds no weights: expected model.safetensors or pytorch_model.bin, or their index"
    )


def _read_shards(directory: Path, index_name: str) -> dict[str, Tensor]:
    weight_map = read_json(directory / index_name).get("weight_map")
    try:
        shards: dict[str, str] = parse(dict[str, str], weight_map or None, "weight_map")
    except ValueError as error:
        raise CheckpointError(f"{directory / index_name} has no weight_map; download the checkpoint again") from error
    tensors: dict[str, Tensor] = {}
    for shard in sorted(set(shards.values())):
        if shard == ".." or Path(shard).name != shard:
            raise CheckpointError(f"{directory / index_name} names a shard outside the checkpoint: {shard}")
        if not is_file(directory / shard):
            raise CheckpointError(f"{directory / shard} is missing; download the checkpoint again")
        tensors |= _read_file(directory / shard)
    return tensors


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a file, in its dtypes.

    Raises:
        CheckpointError: it is damaged.
    """
    return _read_file(path)


def _read_file(path: Path) -> dict[str, Tensor]:
    try:
        tensors = load_file(path) if path.suffix == ".safetensors" else _unpickle(path)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path} is damaged or holds more than tensors, and is not loaded for safety") from error
    except Exception as error:  # what a damaged file makes the unpickler raise has no end
        raise CheckpointError(f"{path} is damaged or cut off ({_first_line(error)}); download it again") from error
    table = isinstance(tensors, Mapping) and all(isinstance(name, str) for name in tensors)
    if not table or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise CheckpointError(f"{path} is not a plain table of tensors; save model.state_dict() alone")
    return dict(tensors)


def _unpickle(path: Path) -> Any:
    """Read tensors and plain values; anything else in the file is refused, not run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old files have old pickle protocols
        return torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))


def _is_zip(path: Path) -> bool:
    """Tell whether a file is a zip archive; files of torch before 1.6 are not, and cannot be memory-mapped."""
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def read_json(path: Path) -> dict[str, object]:
    """Read a JSON object from a file.

    Raises:
        CheckpointError: the file is missing, or is not a JSON object.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({_first_line(error)})") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} is not a JSON object")
    return data


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__
