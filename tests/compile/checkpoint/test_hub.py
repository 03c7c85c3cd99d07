"""Finding a checkpoint: directories, and repositories of the hub."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import huggingface_hub
import huggingface_hub.constants
import pytest
from huggingface_hub.utils import filter_repo_objects

from f2edge.compile.checkpoint.hub import locate
from f2edge.errors import CheckpointError, MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path


def test_locating_a_checkpoint(tmp_path: Path) -> None:
    """A directory is used as it is; a file, or a name that cannot be a hub id, is refused without network access."""
    assert locate(tmp_path) == tmp_path
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="is a file; give the directory"):
        locate(tmp_path / "file")
    for name in (str(tmp_path / "none"), "./a", "~/a", "a", "a/b/c"):
        with pytest.raises(CheckpointError, match="is not a directory, nor a hub id"):
            locate(name)


def test_a_hub_id_offline_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The hub's error of many lines becomes one line."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        CheckpointError, match="no-one/nothing is not a directory here and cannot be downloaded"
    ) as error:
        locate("no-one/nothing")
    assert "\n" not in str(error.value)


class Hub:
    """The hub's repositories in memory, behind ``snapshot_download``.

    Args:
        folder: where downloads go.
        files: the files of its repository.
    """

    def __init__(self, folder: Path, files: list[str]) -> None:
        self.folder, self.files = folder, files
        self.revisions: set[str | None] = set()

    def download(
        self, _hub_id: str, *, revision: str | None, allow_patterns: list[str], ignore_patterns: list[str]
    ) -> str:
        """Write the requested files, chosen by the hub's own function."""
        self.revisions.add(revision)
        for name in filter_repo_objects(self.files, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).touch()
        return str(self.folder)

    def downloaded(self) -> set[str]:
        """Return the files that were requested."""
        return {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()}


COMMON = ["config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json", "vocab.json"]
NOT_NEEDED = [
    *("checkpoint-500/config.json", "checkpoint-500/model.safetensors", "epoch_3/pytorch_model.bin", "fp32/a.json"),
    *("model.fp16.safetensors", "modeling_florence2.py", "onnx/model.onnx", "flax_model.msgpack", "README.md"),
    *("optimizer.pt", "training_args.bin", "adapter_model.safetensors"),
]
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]


@pytest.mark.parametrize(
    ("weights", "needed"),
    [
        (["model.safetensors", "pytorch_model.bin"], ["model.safetensors"]),
        ([*SHARDS, "pytorch_model.bin"], SHARDS),
        (["pytorch_model.bin"], ["pytorch_model.bin"]),
        (["pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json"],) * 2,
    ],
)
def test_only_what_is_needed_is_downloaded(
    weights: list[str], needed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sub-folders, code, variants and a second format of the weights stay on the hub."""
    hub = Hub(tmp_path / "snapshot", [*COMMON, *weights, *NOT_NEEDED])
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.download)
    assert locate("owner/name", "v1.2") == tmp_path / "snapshot"
    assert hub.downloaded() == {*COMMON, *needed}
    assert hub.revisions == {"v1.2"}


def test_a_revision_of_a_directory(tmp_path: Path) -> None:
    """A directory has no revisions, so one is refused."""
    with pytest.raises(CheckpointError, match=r"`revision` v1 goes with a hub id, and .* is a directory"):
        locate(tmp_path, "v1")


def test_a_hub_id_without_the_hubs_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra to install."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"f2edge\[compile\]"):
        locate("owner/name")
