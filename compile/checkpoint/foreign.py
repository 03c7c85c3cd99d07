"""Recognise directories that hold something else than the float weights of a Florence-2 model, and say what it is."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from f2edge.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Files of weights; each may be in shards, with an index beside them."""

_QUANTIZED = re.compile(r"\.(absmax|quant_map|nested_absmax|quant_state\..+|SCB|qweight|qzeros|weight_scale)$")
_NO_INT = "give the float model, which f2edge quantizes itself"


def refuse_foreign(directory: Path) -> None:
    """Refuse a directory whose files are those of an adapter or of a quantized model, or that has no ``config.json``.

    Raises:
        CheckpointError: what it is, and what to give instead.
    """
    adapter = _read(directory / "adapter_config.json")
    if adapter and not any(_has_weights(directory, name) for name in WEIGHTS):
        base = adapter.get("base_model_name_or_path") or "its base model"
        raise CheckpointError(f"it is an adapter: compile {base!s:.60}, and give this directory as `lora`")
    if not (directory / "config.json").is_file():
        raise CheckpointError(f"config.json is missing{_elsewhere(directory)}")
    if method := _quantization(_read(directory / "config.json")):
        raise CheckpointError(f"its weights are quantized ({method:.40}); {_NO_INT}")


def refuse_quantized(names: Iterable[str]) -> None:
    """Refuse tensors that a quantizer has saved.

    Raises:
        CheckpointError: one of the names is such a tensor's.
    """
    if name := next(filter(_QUANTIZED.search, names), None):
        raise CheckpointError(f"its weights are quantized ({name:.50}); {_NO_INT}")


def _read(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; an empty one if there is none, whose faults are reported when it is needed."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _has_weights(directory: Path, name: str) -> bool:
    return (directory / name).is_file() or (directory / f"{name}.index.json").is_file()


def _quantization(config: dict[str, Any]) -> str:
    """Return the method of a quantized model; "" for one that is not quantized."""
    settings = config.get("quantization_config")
    if not isinstance(settings, dict):
        return ""
    return str(settings.get("quant_method") or "quantization_config")


def _elsewhere(directory: Path) -> str:
    """Return where a checkpoint may be, as the end of a sentence."""
    inside = sorted(path.parent.name for path in directory.glob("*/config.json"))
    if inside:
        return f"; give one of its directories: {', '.join(inside[:3])}{', ...' if inside[3:] else ''}"
    if any(directory.glob("*.gguf")):
        return "; a GGUF file cannot be compiled: give the checkpoint that it was made of"
    return "; a checkpoint has it beside its weights"
