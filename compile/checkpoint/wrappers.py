"""Take the prefixes off tensor names that wrappers of a model add when it is saved.

``torch.compile`` adds ``_orig_mod.``, ``DataParallel`` adds ``module.``, and a training class that holds the model in a
field adds that field's name, often ``model.``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from f2edge.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

_COMPILED = "_orig_mod"
_TOWER = "vision_tower."
_INNER = "model."
_INNER_PARTS = (_TOWER, "multi_modal_projector.", "language_model.")
"""In transformers' layout all but the head is an inner model, whose names have a prefix; it may be saved alone."""


def unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under the names that the model itself gives them, whatever wrapped it.

    Names without the prefix that the others have stay as they are.

    Raises:
        CheckpointError: two names become one.
    """
    sources = {".".join(part for part in name.split(".") if part != _COMPILED): name for name in tensors}
    before, after = _prefixes(sources)
    renamed = {_moved(name, before, after): tensors[source] for name, source in sources.items()}
    if len(renamed) < len(tensors):
        raise CheckpointError(
            f"some tensors are there twice, with and without a wrapper's prefix {before or _COMPILED!r}"
        )
    return renamed


def _moved(name: str, before: str, after: str) -> str:
    if not name.startswith(before):
        return name
    return (after if name.startswith(tuple(before + part for part in _INNER_PARTS)) else "") + name.removeprefix(before)


def _prefixes(names: Iterable[str]) -> tuple[str, str]:
    """Return the prefix to take off all names, and the one to put before those of transformers' inner model."""
    towers = {name[: name.index(_TOWER)] for name in names if _TOWER in name}
    if len(towers) != 1:
        return "", ""
    (prefix,) = towers
    if not any(name.startswith(f"{prefix}multi_modal_projector.") for name in names):
        return prefix, ""  # Microsoft's layout, which has no inner model
    return (prefix.removesuffix(_INNER), "") if prefix.endswith(_INNER) else (prefix, _INNER)
