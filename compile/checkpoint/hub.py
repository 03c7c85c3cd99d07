"""Find a checkpoint: a directory, or a repository of the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from f2edge.compile.checkpoint.foreign import WEIGHTS
from f2edge.errors import CheckpointError, MissingExtraError
from f2edge.machine.telemetry import without_telemetry
from f2edge.paths import exists, is_dir

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXTS = ("*.json", "merges.txt")
SAFETENSORS = ("model.safetensors", "model-*-of-*.safetensors")
PICKLED = ("pytorch_model.bin", "pytorch_model-*-of-*.bin")
ELSEWHERE = ("*/*",)
"""Files in sub-folders: checkpoints of a training, other formats."""


def locate(checkpoint: str | Path, revision: str | None = None) -> Path:
    """Return the directory of a checkpoint; a hub id ("owner/name") is downloaded.

    Args:
        checkpoint: a directory, or a hub id.
        revision: a branch, a tag or a commit of the hub's repository; by default its main branch.

    Raises:
        CheckpointError: there is no such directory, and it cannot be downloaded as a hub id; or a directory is given
            with a revision.
    """
    path = Path(checkpoint)
    if is_dir(path):
        if revision is not None:
            raise CheckpointError(f"`revision` {revision} goes with a hub id, and {path} is a directory")
        return path
    if exists(path):
        raise CheckpointError(f"{path} is a file; give the directory that holds config.json and the weights")
    if str(checkpoint).count("/") != 1 or str(checkpoint).startswith((".", "/", "~")):
        raise CheckpointError(f"{checkpoint} is not a directory, nor a hub id like microsoft/Florence-2-base")
    return _download(str(checkpoint), revision)


def _download(hub_id: str, revision: str | None) -> Path:
    """Download what a compilation needs: no sub-folders, no code, and pickled weights only if there are no others."""
    directory = _fetch(hub_id, revision, (*TEXTS, *SAFETENSORS))
    safe = directory / WEIGHTS[0]
    if not safe.is_file() and not safe.with_name(f"{safe.name}.index.json").is_file():
        directory = _fetch(hub_id, revision, (*TEXTS, *PICKLED))
    return directory


def _fetch(hub_id: str, revision: str | None, patterns: Sequence[str]) -> Path:
    try:
        with without_telemetry():
            from huggingface_hub import snapshot_download  # noqa: PLC0415 - only those who give a hub id need it
    except ImportError as error:
        raise MissingExtraError("huggingface_hub", "compile") from error
    try:
        return Path(
            snapshot_download(hub_id, revision=revision, allow_patterns=list(patterns), ignore_patterns=list(ELSEWHERE))
        )
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        at = f" at revision {revision}" if revision else ""
        raise CheckpointError(
            f"{hub_id}{at} is not a directory here and cannot be downloaded from the hub ({reason}); "
            "check the name and the connection, or give a local directory"
        ) from error
