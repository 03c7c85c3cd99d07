"""LoRA adapters that peft makes, and the weights that peft merges them into."""

from __future__ import annotations

import copy
import json
import warnings
from typing import TYPE_CHECKING, Any

import peft
import torch
from safetensors.torch import save_file
from torch import nn

from f2edge.compile.checkpoint.names import file_name, of_either, with_aliases
from tests.support.checkpoints import TINY, write_checkpoint, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from f2edge.compile.checkpoint.names import Layout
    from f2edge.compile.reference.model import ReferenceModel

RSLORA = {
    "r": 8,
    "lora_alpha": 8,
    "target_modules": ["q_proj", "o_proj", "k_proj", "v_proj", "linear", "Conv2d", "lm_head", "fc2"],
    "lora_dropout": 0.05,
    "bias": "none",
    "use_rslora": True,
    "init_lora_weights": "gaussian",
}
"""The config of the most used public recipe; o_proj, linear and Conv2d match nothing in Florence-2.

Their ``task_type`` is left out, for which peft wants more of a model than its layers."""

WHOLE_MODEL = {
    "r": 16,
    "lora_alpha": 32,
    "target_modules": ["qkv", "proj", "q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"],
    "lora_dropout": 0.1,
}
"""A public config that adapts the tower too; proj is a linear layer and, in Microsoft's layout, a convolution."""


def write_base(path: Path, layout: Layout) -> Path:
    """Write a random checkpoint in one of the layouts; the weights are the same in both.  Returns its directory."""
    model = write_checkpoint(path, geometry=TINY)
    if layout == "transformers":
        tensors = {file_name(name, layout): tensor.contiguous() for name, tensor in model.state_dict().items()}
        save_file(tensors, path / "model.safetensors")
    return path


def modules(model: ReferenceModel, layout: Layout) -> nn.Module:
    """Return copies of the layers of a model under the names of a layout, which is all that peft looks at.

    Every table of the embedding is a layer of its own: peft would change all tied ones where a training changes one.
    """
    root = nn.Module()
    layers = {name: layer for name, layer in copy.deepcopy(model).named_modules() if hasattr(layer, "weight")}
    table = model.shared
    layers |= {f"{stack}.embed_tokens": nn.Embedding(*table.weight.shape) for stack in ("encoder", "decoder")}
    layers["lm_head"] = nn.Linear(table.embedding_dim, table.num_embeddings, bias=False)
    for name in ("encoder.embed_tokens", "decoder.embed_tokens", "lm_head"):
        layers[name].weight = nn.Parameter(table.weight.detach().clone())
    for name, layer in layers.items():
        file = file_name(f"{name}.weight", layout)
        if not file.endswith(".weight"):
            continue  # in Microsoft's layout the projection is no layer
        *path, last = file.removesuffix(".weight").split(".")
        parent = root
        for part in path:
            if not hasattr(parent, part):
                parent.add_module(part, nn.Module())
            parent = getattr(parent, part)
        parent.add_module(last, layer)
    return root


def write_adapter(path: Path, model: nn.Module, seed: int = 0, **config: Any) -> Any:
    """Adapt a model with peft, give the adapter random weights and save it.  Returns peft's model.

    Args:
        path: the directory to write.
        model: the model; its weights change with ``modules_to_save`` and ``bias``, as in a training.
        seed: of the weights.
        config: that of ``peft.LoraConfig``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of layers that peft cannot merge, of tied weights
        adapted = peft.get_peft_model(model, peft.LoraConfig(**config))
        _train(adapted, seed)
        adapted.save_pretrained(path)
    return adapted


def _train(model: nn.Module, seed: int) -> None:
    """Move every weight that a training would change."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator)
                factors = "lora_" in name and "magnitude" not in name
                parameter.copy_(0.1 * noise if factors else parameter * (1 + 0.1 * noise) + 0.01 * noise)


def merged_by_peft(adapted: Any, reference: ReferenceModel) -> dict[str, Tensor]:
    """Return the weights that peft merges, under the names of the reference model, every table of the embedding too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        state = adapted.merge_and_unload().state_dict()
    known = with_aliases(reference.state_dict())
    return {str(of_either(name, known)): tensor.detach() for name, tensor in state.items()}


def weighted_by_peft(model: nn.Module, adapters: Mapping[Path, float]) -> Any:
    """Return peft's model with the weighted sum of plain LoRA adapters of one rank."""
    first, *others = adapters
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = peft.PeftModel.from_pretrained(model, first, adapter_name=first.name)
        for other in others:
            adapted.load_adapter(other, adapter_name=other.name)
        names = [path.name for path in adapters]
        adapted.add_weighted_adapter(names, list(adapters.values()), "sum", combination_type="cat")
        adapted.set_adapter("sum")
    return adapted


def change_config(adapter: Path, **changes: Any) -> None:
    """Replace fields of ``adapter_config.json``."""
    file = adapter / "adapter_config.json"
    write_json(file, json.loads(file.read_text("utf-8")) | changes)
