"""Read ``adapter_config.json`` of peft, and refuse what is not plain LoRA or DoRA."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from f2edge.compile.checkpoint.files import read_json
from f2edge.errors import CheckpointError
from f2edge.lines import shown

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

CONFIG = "adapter_config.json"
_UNSUPPORTED = (
    *("alora_invocation_tokens", "arrow_config", "kasa_config", "layer_replication", "megatron_config"),
    *("monteclora_config", "target_parameters", "trainable_token_indices", "use_bdlora", "use_qalora"),
)
"""Settings with which the change of a weight is no product of two matrices, or is none of a layer that is there."""
_BASE_STAYS = (None, True, False, "eva", "gaussian", "orthogonal")
"""The kinds of ``init_lora_weights`` that leave the weights of the base as they are."""

_LARGEST = 2**20
"""The largest rank and alpha; no layer of Florence-2 has as many outputs."""


@dataclass(frozen=True)
class AdapterConfig:
    """What ``adapter_config.json`` says of the tensors.

    Args:
        rank: the rank of the layers that ``ranks`` does not name.
        alpha: the alpha of the layers that ``alphas`` does not name.
        ranks: ranks by regular expressions of layers.
        alphas: alphas by regular expressions of layers.
        rank_stabilized: whether the change is scaled by alpha / sqrt(rank) (rsLoRA) in place of alpha / rank.
        targets: names of layers, or ends of names, that the training was told to adapt or to train whole.
    """

    rank: int
    alpha: float
    ranks: dict[str, int]
    alphas: dict[str, float]
    rank_stabilized: bool
    targets: tuple[str, ...]

    def rank_of(self, layer: str) -> int:
        """Return the rank of a layer, by its name in the model that was trained."""
        return int(_by_pattern(self.ranks, layer, self.rank))

    def scale_of(self, layer: str) -> float:
        """Return the factor of the product of the two matrices of a layer."""
        rank = self.rank_of(layer)
        return _by_pattern(self.alphas, layer, self.alpha) / (math.sqrt(rank) if self.rank_stabilized else rank)

    def unmatched(self, layers: Iterable[str]) -> list[str]:
        """Return the targets that none of the layers of an adapter matches."""
        names = [f".{layer}" for layer in layers]
        return [t for t in self.targets if not any(re.search(rf"\.{re.escape(t)}(\.|$)", name) for name in names)]


def read_config(directory: Path) -> AdapterConfig:
    """Read the config of an adapter.

    Raises:
        CheckpointError: it is missing or no JSON, is of another type than LoRA, or has settings that cannot be merged.
    """
    config = read_json(directory / CONFIG)
    if (kind := config.get("peft_type")) != "LORA":
        raise CheckpointError(f"{CONFIG}: peft_type is {shown(kind)}; only LORA can be merged")
    if others := [name for name in _UNSUPPORTED if config.get(name)]:
        raise CheckpointError(f"{CONFIG}: {', '.join(others)} cannot be merged into the weights")
    if (init := config.get("init_lora_weights")) not in _BASE_STAYS:
        raise CheckpointError(
            f"{CONFIG}: init_lora_weights {shown(init)} changes the base too; save the adapter again with peft's "
            "path_initial_model_for_weight_conversion"
        )
    ranks, alphas = _table(config, "rank_pattern"), _table(config, "alpha_pattern")
    return AdapterConfig(
        rank=_positive(config, "r", 8),
        alpha=_number(config.get("lora_alpha", 8), "lora_alpha"),
        ranks={pattern: _positive(ranks, pattern) for pattern in ranks},
        alphas={pattern: _number(alpha, pattern) for pattern, alpha in alphas.items()},
        rank_stabilized=config.get("use_rslora") is True,
        targets=(*_names(config.get("target_modules")), *_names(config.get("modules_to_save"))),
    )


def _by_pattern(values: dict[str, Any], layer: str, default: float) -> float:
    """Return the value of the first pattern that the end of a layer's name matches, as peft does."""
    return next((value for pattern, value in values.items() if re.match(rf"(.*\.)?({pattern})$", layer)), default)


def _table(config: dict[str, Any], name: str) -> dict[str, Any]:
    table = config.get(name) or {}
    if not isinstance(table, dict):
        raise CheckpointError(f"{CONFIG}: {name} is {shown(table)}; it must be an object")
    for pattern in table:
        try:
            re.compile(pattern)
        except re.error as error:
            raise CheckpointError(f"{CONFIG}: {name}: {shown(pattern)} is no regular expression ({error})") from error
    return table


def _positive(values: dict[str, Any], name: str, default: int | None = None) -> int:
    value = values.get(name, default)
    if type(value) is not int or not 1 <= value <= _LARGEST:
        raise CheckpointError(f"{CONFIG}: the rank {name} is {shown(value)}; it must be a whole number from 1")
    return value


def _number(value: Any, name: str) -> float:
    if type(value) not in (int, float) or not -_LARGEST <= value <= _LARGEST:
        raise CheckpointError(f"{CONFIG}: the alpha {name} is {shown(value)}; it must be a number")
    return float(value)


def _names(value: Any) -> tuple[str, ...]:
    """Return the names in a list; a regular expression for all layers, which peft also takes, names none."""
    return tuple(name for name in value if isinstance(name, str)) if isinstance(value, list) else ()
