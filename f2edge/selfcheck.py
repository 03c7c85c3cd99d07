"""Check a bundle on a device before it is trusted there, and keep the verdict.

Drivers and compilers can compute graphs wrong without an error, and differently on every device (docs/devices.md).  So
the first use of a bundle on a device replays the golden cases; a component that fails can run on the CPU.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar, get_args

from f2edge.bundle.manifest import COMPONENTS, sha256
from f2edge.bundle.schema import parse
from f2edge.bundle.user_cache import cache_key, digest, user_cache, write_whole
from f2edge.bundle.verified import TOKENS_DIFFER
from f2edge.bundle.writing import MANIFEST
from f2edge.errors import DeviceError, DeviceWarning, InputError
from f2edge.lines import shown
from f2edge.placement import parse_placement
from f2edge.verify import Model, verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from f2edge.bundle.manifest import Bundle
    from f2edge.bundle.verified import Verified
    from f2edge.placement import Placement

OnMismatch: TypeAlias = Literal["error", "fallback", "warn"]

FALLBACK = "CPU"
"""The device of components that another device computes wrong."""

_VERDICTS = "verdicts"

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Checked(Generic[M]):
    """The check of one placement.

    Args:
        model: the bundle opened on it; None if a component is wrong.
        faults: the components that are wrong, and why.
    """

    model: M | None
    faults: dict[str, str]


@dataclass(frozen=True)
class Verdict:
    """The verdict of a check, as it is kept on disk.

    Args:
        placement: the placement on which every component is right; the one asked for, unless components moved.
        faults: the components that were wrong on the placement asked for, or that moved, and why.
    """

    placement: str
    faults: dict[str, str]


@dataclass(frozen=True)
class SelfCheck(Generic[M]):
    """The check of one bundle on some devices.

    Args:
        bundle: the bundle.
        placement: the placement that was asked for.
        devices: names and drivers of the devices that the engine sees.
        open_on: opens the bundle with its components on the devices of a placement; raises DeviceError.
    """

    bundle: Bundle
    placement: Placement
    devices: tuple[str, ...]
    open_on: Callable[[Placement], M]

    def model(self, on_mismatch: OnMismatch) -> M:
        """Open the bundle on a placement where its golden cases are right.

        Args:
            on_mismatch: what to do if they are wrong: "error" raises, "fallback" runs the wrong components on the CPU
                and warns, "warn" warns and goes on as asked.

        Raises:
            DeviceError: they are wrong, and ``on_mismatch`` does not help; or the device cannot load the graphs.
            InputError: ``on_mismatch`` has another value.
        """
        if on_mismatch not in get_args(OnMismatch):
            raise InputError(
                f"on_mismatch is {shown(on_mismatch)}; it must be one of {', '.join(get_args(OnMismatch))}"
            )
        model, verdict = None, self._kept(on_mismatch)
        if verdict is None:
            model, verdict = self._settled() if on_mismatch == "fallback" else self._as_asked()
            kept = {"verdict": asdict(verdict), "sha256": digest(asdict(verdict))}
            write_whole(self._file(on_mismatch), json.dumps(kept).encode())
        self._judge(verdict, on_mismatch)
        checked = parse_placement(verdict.placement, FALLBACK, self.placement.threads)
        return model or self.open_on(replace(checked, workers=self.placement.workers))

    def check(self, placement: Placement) -> Checked[M]:
        """Open the bundle on a placement and verify it.

        Raises:
            DeviceError: the device cannot load the graphs, or fails.
        """
        model = self.open_on(placement)
        faults = _faults(verify(model))
        return Checked(None if faults else model, faults)

    def _as_asked(self) -> tuple[M | None, Verdict]:
        """Check the placement that was asked for; return the model, if all is right, and the verdict."""
        checked = self.check(self.placement)
        return checked.model, Verdict(str(self.placement), checked.faults)

    def _settled(self) -> tuple[M | None, Verdict]:
        """Move wrong components to the CPU until all is right; return the model and the verdict."""
        placement, moved = self.placement, dict[str, str]()
        while faults := (checked := self._diagnosed(placement)).faults:
            moving = self._movable(placement, faults)
            moved = moving | moved
            for name in moving:
                placement = placement.with_device(name, FALLBACK)
        return checked.model, Verdict(str(placement), moved)

    def _movable(self, placement: Placement, faults: dict[str, str]) -> dict[str, str]:
        """Return the faults of components that are not on the CPU.

        Raises:
            DeviceError: there are none, so the bundle is wrong on the CPU, too.
        """
        movable = {name: why for name, why in faults.items() if placement.devices()[name] != FALLBACK}
        if not movable:
            raise DeviceError(f"{self.bundle.path} fails on the {FALLBACK}, too: {_line(faults)}; compile it again")
        return movable

    def _judge(self, verdict: Verdict, on_mismatch: OnMismatch) -> None:
        """Raise or warn as asked, if a component is wrong."""
        if not verdict.faults:
            return
        line = f"{self.bundle.path} does not compute on {self.placement} what it should: {_line(verdict.faults)}"
        if on_mismatch == "error":
            raise DeviceError(f"{line}; on_mismatch='fallback' runs that on the {FALLBACK}")
        outcome = "goes on as asked" if on_mismatch == "warn" else f"runs as {verdict.placement}"
        warnings.warn(f"{line}; {outcome}", DeviceWarning, stacklevel=4)

    def _diagnosed(self, placement: Placement) -> Checked[M]:
        """Check a placement; if the engine fails, the faults are the components that make it fail."""
        try:
            return self.check(placement)
        except DeviceError as error:
            return Checked(None, self._failing(placement, error))

    def _failing(self, placement: Placement, error: DeviceError) -> dict[str, str]:
        """Return the components that make the engine fail: each is tried alone, with the others on the CPU.

        Raises:
            DeviceError: it fails with all on the CPU, or with no component alone.
        """
        failing = {}
        for name, device in placement.devices().items():
            if device == FALLBACK:
                continue
            alone = placement.on(FALLBACK, placement.threads).with_device(name, device)
            try:
                self.check(alone)
            except DeviceError as fault:
                failing[name] = str(fault)
        if not failing:
            raise error
        return failing

    def _kept(self, on_mismatch: OnMismatch) -> Verdict | None:
        """Read the verdict of an earlier check; None if its file is missing or damaged."""
        try:
            kept = json.loads(self._file(on_mismatch).read_text(encoding="utf-8"))
            verdict: Verdict = parse(Verdict, kept["verdict"], "verdict")
            if kept["sha256"] != digest(asdict(verdict)):
                return None
            parse_placement(verdict.placement, FALLBACK)
        except (OSError, ValueError, TypeError, LookupError, RecursionError, DeviceError):
            return None
        return verdict

    def _file(self, on_mismatch: OnMismatch) -> Path:
        """Return the file of the verdict: one per bundle, placement, device, driver, version and ``on_mismatch``."""
        runtime = self.bundle.recipe.runtime
        parts = {
            "manifest": sha256(self.bundle.path / MANIFEST),
            "placement": self.placement.devices(),
            "devices": self.devices,
            "versions": [_version(name) for name in ("f2edge", runtime)],
            "moving": on_mismatch == "fallback",
        }
        return user_cache() / _VERDICTS / f"{cache_key(parts)}.json"


def _faults(verified: Verified) -> dict[str, str]:
    """Return why components are wrong; the decoder, which reads the encoder output, only if that is right."""
    failed = {name: f"it is {component.off_by}" for name, component in verified.failed().items()}
    if "encoder" in failed:
        failed.pop("decoder", None)
    return failed if failed or verified.passed else dict.fromkeys(COMPONENTS, TOKENS_DIFFER)


def _line(faults: dict[str, str]) -> str:
    return ", ".join(f"{component}: {reason}" for component, reason in faults.items())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
