"""Keep finished stages of a compilation under a key of all their inputs.

A stage with the same inputs is not repeated; a stage with any other input is never reused, nor one whose files have
changed since it was finished.  The key is a hash of the inputs, of the versions of the tools and of the code of f2edge.
"""

from __future__ import annotations

import hashlib
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from f2edge.bundle.manifest import sha256
from f2edge.bundle.sealing import is_sealed, seal
from f2edge.bundle.user_cache import digest
from f2edge.bundle.writing import claim_directory
from f2edge.compile.versions import tool_versions
from f2edge.errors import CompileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from f2edge.compile.reference.model import ReferenceModel

_ROOMS = ("f2edge", *(f"f2edge.{room}" for room in ("calibration", "compile", "quantize", "runtimes")))


@dataclass(frozen=True)
class Stages:
    """A directory of finished stages.

    Args:
        directory: holds a directory for each stage, named after the stage and its key.
    """

    directory: Path

    def run(self, name: str, inputs: Mapping[str, Any], make: Callable[[Path], None], *, resumes: bool = False) -> Path:
        """Return the directory of a stage; make it unless it is there.

        Args:
            name: the name of the stage.
            inputs: everything that it depends on, as JSON values.
            make: fills a directory.
            resumes: whether ``make`` can go on in the directory of an interrupted attempt.
        """
        key = digest({"stage": name, "inputs": inputs, "tools": tool_versions(), "code": code_digest()})
        place = self.directory / f"{name.replace(' ', '-')}-{key[:20]}"
        if is_sealed(place):
            return place
        shutil.rmtree(place, ignore_errors=True)  # its files have changed since they were made
        partial = claim_directory(self.directory, f".{place.name}.partial-")
        if not resumes:
            shutil.rmtree(partial)
            partial.mkdir()
        make(partial)
        seal(partial)
        if place.is_dir():  # another process was faster
            shutil.rmtree(partial)
        else:
            partial.rename(place)
        return place


@contextmanager
def open_stages(
    destination: Path, directory: Path | None, *, keep: bool, notice: Callable[[str], None]
) -> Iterator[Stages]:
    """Open the stages in the directory of the user, or in one beside the bundle that is removed at the end.

    Stages that a killed or interrupted process has left beside the bundle are used again.

    Args:
        destination: the directory of the new bundle.
        directory: the directory of the user; it is created, and never removed.
        keep: keep the stages if the compilation is interrupted.
        notice: called with the place of stages that are kept.

    Raises:
        CompileError: the directory of the user cannot be used.
    """
    if directory:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CompileError(
                f"`stages` {directory} is not a directory and cannot be made: {error.strerror}"
            ) from error
        yield Stages(directory)
        return
    place = claim_directory(destination.parent, f".{destination.name}.stages-")
    try:
        yield Stages(place)
    except BaseException as error:
        if keep and not isinstance(error, Exception):
            notice(f"finished stages are kept in {place}; the next compile to {destination} goes on from there")
        else:
            shutil.rmtree(place, ignore_errors=True)
        raise
    shutil.rmtree(place, ignore_errors=True)


def digest_of_weights(model: ReferenceModel) -> str:
    """Return the SHA-256 of the weights of a model, whatever files they came from."""
    weights = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        weights.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        weights.update(tensor.contiguous().numpy())
    return weights.hexdigest()


@cache
def code_digest() -> str:
    """Return one SHA-256 of all Python files of the package; it is computed once a process."""
    places = [Path(place) for room in _ROOMS for place in import_module(room).__path__]
    return digest([sha256(path) for place in places for path in sorted(place.rglob("*.py"))])
