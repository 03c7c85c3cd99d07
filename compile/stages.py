"""Finished stages of a compilation, kept under a key of all that went into them.

A stage whose inputs are the same is not done again, one whose inputs differ in anything never reused: its key is a hash
of the inputs, of the tools' versions and of f2edge's own code.
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
from f2edge.bundle.user_cache import digest
from f2edge.bundle.writing import claim_directory
from f2edge.compile.versions import tool_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from f2edge.compile.reference.model import ReferenceModel

_ROOMS = ("f2edge", *(f"f2edge.{room}" for room in ("calibration", "compile", "quantize", "runtimes")))


@dataclass(frozen=True)
class Stages:
    """A directory of finished stages.

    Args:
        directory: where they are; each in a directory of its own, named after the stage and its key.
    """

    directory: Path

    def run(self, name: str, inputs: Mapping[str, Any], make: Callable[[Path], None], *, resumes: bool = False) -> Path:
        """The directory of a stage, made now unless it is there.

        Args:
            name: of the stage.
            inputs: all that it depends on, as JSON values.
            make: fills a directory.
            resumes: ``make`` can go on from what an interrupted one has left in the directory.
        """
        key = digest({"stage": name, "inputs": inputs, "tools": tool_versions(), "code": _code_digest()})
        place = self.directory / f"{name.replace(' ', '-')}-{key[:20]}"
        if place.is_dir():
            return place
        partial = claim_directory(self.directory, f".{place.name}.partial-")
        if not resumes:
            shutil.rmtree(partial)
            partial.mkdir()
        make(partial)
        if place.is_dir():  # another process was faster
            shutil.rmtree(partial)
        else:
            partial.rename(place)
        return place


@contextmanager
def open_stages(
    destination: Path, directory: Path | None, *, keep: bool, notice: Callable[[str], None]
) -> Iterator[Stages]:
    """Stages in a directory of the user's, or in one beside the bundle that does not outlive the build.

    What a killed process has left beside the bundle is taken up, and so is what an interrupt left of a long one.

    Args:
        destination: where the bundle will be.
        directory: the user's; it is created, and never removed.
        keep: leave the stages where the build is interrupted.
        notice: told where they are.
    """
    if directory:
        directory.mkdir(parents=True, exist_ok=True)
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
    """SHA-256 of a model's weights, whatever files they came from."""
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        found.update(tensor.contiguous().numpy())
    return found.hexdigest()


@cache
def _code_digest() -> str:
    places = [Path(place) for room in _ROOMS for place in import_module(room).__path__]
    return digest([sha256(path) for place in places for path in sorted(place.rglob("*.py"))])
