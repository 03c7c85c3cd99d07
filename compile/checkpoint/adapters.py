"""Merge LoRA adapters, as peft saves them, into the weights of a checkpoint (docs/compile.md#adapters).

Each adapter adds its weight times the change that it makes alone: W + sum of w_i (W_i - W).
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from f2edge.bundle.manifest import Adapter, sha256
from f2edge.compile.checkpoint import names
from f2edge.compile.checkpoint.adapter_config import CONFIG, AdapterConfig, read_config
from f2edge.compile.checkpoint.adapter_math import Parts, bias_change, change, dense, ranks
from f2edge.compile.checkpoint.faults import listed
from f2edge.compile.checkpoint.files import read_safetensors
from f2edge.errors import CheckpointError
from f2edge.paths import is_dir, is_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

    from f2edge.compile.options import Lora

WEIGHTS = "adapter_model.safetensors"
_PICKLED = "adapter_model.bin"
_PREFIX = "base_model.model."
_ROLE = re.compile(
    r"^(?P<layer>.+?)\.(?:lora_(?P<role>\w+)(?:\.default)?(?P<part>\.weight|\.bias)?"
    r"|(?:(?:base_layer|modules_to_save(?:\.default)?)\.)?(?P<whole>\w+))$"
)


@dataclass(frozen=True)
class Merged:
    """The weights after a merge, by reference names.

    ``adapters`` are for the manifest, ``notices`` are lines that the user should read, and ``dense`` names the
    depthwise convolutions that mix channels now.
    """

    tensors: dict[str, Tensor]
    adapters: tuple[Adapter, ...] = ()
    notices: tuple[str, ...] = ()
    dense: tuple[str, ...] = ()


def merge(tensors: Mapping[str, Tensor], loras: Iterable[Lora]) -> Merged:
    """Merge adapters into the weights of a checkpoint.

    What no adapter changes stays the same tensor.  A table of the embedding that differs from the others afterwards
    gets a name of its own.

    Args:
        tensors: the weights under the names of the reference model, in any dtype; they are not changed.
        loras: the adapters and their weights.

    Raises:
        CheckpointError: an adapter cannot be read, is no LoRA, or belongs to another base; all its faults in one line.
    """
    base = names.with_aliases(tensors)
    merged, records, notices = dict(base), [], []
    for lora in loras:
        try:
            config, layers = _read(lora.directory)
            for name, added in _changes(base, config, layers).items():
                whole = merged[name].float()
                whole = dense(whole, added.shape[1]) if added.dim() > 1 else whole
                merged[name] = torch.add(whole, added, alpha=lora.weight)
        except CheckpointError as error:
            raise CheckpointError(f"`lora` {lora.directory}: {error}") from error
        records.append(_record(lora))
        notices += _unmatched(lora.directory, config, layers)
    widened = [name.removesuffix(".weight") for name in merged if merged[name].shape != base[name].shape]
    if widened:
        notices.append(f"{len(widened)} depthwise convolutions mix channels after the merge, which makes them slower")
    return Merged(names.without_aliases(merged), tuple(records), tuple(notices), tuple(widened))


def _read(directory: Path) -> tuple[AdapterConfig, dict[str, Parts]]:
    """Read the config of an adapter, and its tensors by layer."""
    if not is_dir(directory):
        raise CheckpointError(f"it is no directory; give the one that holds {CONFIG} and {WEIGHTS}")
    config = read_config(directory)
    if not is_file(directory / WEIGHTS):
        pickled = f"; {_PICKLED} is not read, save it with safe_serialization" if is_file(directory / _PICKLED) else ""
        raise CheckpointError(f"{WEIGHTS} is missing{pickled}")
    layers: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in read_safetensors(directory / WEIGHTS).items():
        layer, role = _role(name)
        layers[layer][role] = tensor
    if not layers:
        raise CheckpointError(f"{WEIGHTS} holds no tensors")
    return config, dict(layers)


def _role(name: str) -> tuple[str, str]:
    """Split the name of a tensor into the layer, in the names of the model that was trained, and its role there."""
    plain = ".".join(part for part in name.removeprefix(_PREFIX).split(".") if part != "_orig_mod")
    match = _ROLE.match(plain)
    if match is None:
        return plain, ""
    role = match["whole"] or match["role"]
    return match["layer"], f"{role}.bias" if match["part"] == ".bias" else role


def _changes(base: Mapping[str, Tensor], config: AdapterConfig, layers: Mapping[str, Parts]) -> dict[str, Tensor]:
    """Return what an adapter alone adds to each weight; report all its faults at once."""
    changed: dict[str, Tensor] = {}
    faults: list[str] = []
    for layer, parts in layers.items():
        try:
            changed |= _of_layer(base, config, layer, parts)
        except CheckpointError as error:
            faults.append(f"{layer}: {error}")
    if faults:
        raise CheckpointError(f"it does not fit the base ({len(faults)}): {listed(faults)}")
    return changed


def _of_layer(base: Mapping[str, Tensor], config: AdapterConfig, layer: str, parts: Parts) -> dict[str, Tensor]:
    """Return what the tensors of one layer add to the weights of the base."""
    changed = {}
    scale = config.scale_of(layer)
    if wrong := ranks(parts) - {config.rank_of(layer)}:
        raise CheckpointError(f"its rank is {wrong.pop()}, {CONFIG} says {config.rank_of(layer)}")
    for parameter in _parameters(parts):
        name = names.of_either(f"{layer}.{parameter}", base)
        if name is None:
            raise CheckpointError(f"the base has no such {parameter}")
        if parameter == "bias":
            changed[name] = bias_change(base[name], parts, scale)
        elif parameter == "weight":
            changed[name] = change(base[name], parts, scale)
        else:
            changed[name] = change(base[name], {"weight": parts[parameter]}, scale)
    return changed


def _parameters(parts: Parts) -> Iterator[str]:
    """Yield the parameters of the base that the tensors of a layer change."""
    roles = {"A": "weight", "B": "weight", "embedding_A": "weight", "embedding_B": "weight"}
    roles |= {"magnitude_vector": "weight", "B.bias": "bias"}
    yield from dict.fromkeys(roles.get(role, role) for role in parts)


def _record(lora: Lora) -> Adapter:
    """Describe an adapter for the manifest, by its name without its path."""
    files = (CONFIG, WEIGHTS)
    return Adapter(lora.directory.resolve().name, lora.weight, {name: sha256(lora.directory / name) for name in files})


def _unmatched(directory: Path, config: AdapterConfig, layers: Iterable[str]) -> list[str]:
    """Return one line about the targets of an adapter that it has no tensors for, if there are any."""
    targets = config.unmatched(layers)
    if not targets:
        return []
    return [f"{directory.name}: {', '.join(targets)} of {CONFIG} matched nothing when the adapter was trained"]
