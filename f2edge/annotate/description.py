"""What a run is of: its bundle, its settings and its pictures, as ``run.json`` has them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from f2edge import __version__
from f2edge.annotate.settings import ALL
from f2edge.bundle.manifest import sha256
from f2edge.errors import AnnotationError
from f2edge.lines import shown
from f2edge.paths import is_file
from f2edge.tasks.table import short_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RUN = "run.json"
FORMAT = 1
"""The version of the directory; another one is refused."""


@dataclass(frozen=True)
class Description:
    """What a run is of, as ``run.json`` has it.

    Args:
        bundle: the name of its directory, and the SHA-256 of its manifest.
        settings: the settings.
        sources: the number of pictures, and the SHA-256 of their ids and sizes.
        passed: the number of the pass.
        refines: what the run before it was; None in a first pass.
        version: the version of f2edge; another one may go on with the run.
        format: the version of the directory.
    """

    bundle: Mapping[str, str]
    settings: Mapping[str, Any]
    sources: Mapping[str, Any]
    passed: int = 1
    refines: Mapping[str, Any] | None = None
    version: str = __version__
    format: int = FORMAT

    @property
    def shards(self) -> int:
        """The number of shards."""
        return -(-int(self.sources["count"]) // int(self.settings["shard"]))

    @property
    def tasks(self) -> tuple[str, ...]:
        """The short names of the tasks of this pass and of those before it, in the order of their records."""
        made = {*self.settings["tasks"], *(self.refines or {}).get("tasks", ())}
        return tuple(name for name in map(short_name, ALL) if name in made)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        fields = {"bundle": self.bundle, "settings": self.settings, "sources": self.sources}
        more = {"pass": self.passed, "refines": self.refines}
        return {"format": self.format, "f2edge": self.version, **fields, **more}

    @classmethod
    def read(cls, place: Path) -> Description:
        """Read the description of a run.

        Raises:
            AnnotationError: there is none, it is damaged, or it is of another version.
        """
        path = place / RUN
        if not is_file(path):
            raise AnnotationError(f"{place} holds no run of f2edge annotate: it has no {RUN}")
        try:
            data = json.loads(path.read_text("utf-8"))
            if data["format"] != FORMAT:
                raise AnnotationError(f"{path} is of format {shown(data['format'])}; this f2edge reads {FORMAT}")
            known = cls(
                data["bundle"], data["settings"], data["sources"], data["pass"], data["refines"], data["f2edge"]
            )
            _ = known.shards, known.tasks, known.bundle["sha256"], known.sources["sha256"]
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
            raise AnnotationError(f"{path} is damaged ({shown(error)}); choose another place for the output") from error
        return known

    def after(self, place: Path, there: Description) -> Description:
        """Return the description of the pass that refines the run in another directory.

        Raises:
            AnnotationError: that run is about other pictures.
        """
        if there.sources != self.sources:
            told = _counts(int(there.sources["count"]), int(self.sources["count"]))
            raise AnnotationError(f"the run to `refine` in {place} is about other pictures: {told}")
        refines = {"path": str(place), "run": sha256(place / RUN), "pass": there.passed, "tasks": list(there.tasks)}
        return replace(self, passed=there.passed + 1, refines=refines)

    def differences(self, there: Description) -> list[str]:
        """Say in what a run that is there differs from this one."""
        told = [] if there.bundle["sha256"] == self.bundle["sha256"] else [_two("bundle", there.bundle, self.bundle)]
        names = [name for name in {**there.settings, **self.settings} if name != "complexity"]  # it follows from others
        pairs = [(name, there.settings.get(name), self.settings.get(name)) for name in names]
        told += [f"`{name}` {_brief(one)} there, {_brief(other)} now" for name, one, other in pairs if one != other]
        if there.sources != self.sources:
            told.append(_counts(int(there.sources["count"]), int(self.sources["count"])))
        if (there.refines or {}).get("run") != (self.refines or {}).get("run"):
            told.append(f"`refine` {_refined(there)} there, {_refined(self)} now")
        return told


def _two(name: str, one: Mapping[str, str], other: Mapping[str, str]) -> str:
    return f"{name} {one.get('name')} ({one['sha256'][:8]}) there, {other['name']} ({other['sha256'][:8]}) now"


def _counts(there: int, now: int) -> str:
    if there == now:
        return f"names or sizes of the {now} pictures differ"
    return f"pictures {there} there, {now} now"


def _refined(one: Description) -> str:
    return str(one.refines["path"]) if one.refines else "nothing"


def _brief(value: Any) -> str:
    return (",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)) or "nothing"
