"""A bundle is trusted on a device only after its golden cases were right there; the verdict is kept.

Drivers and compilers get graphs wrong in silence, and differently on every device (docs/devices.md).  So the first use
of a bundle on a device replays the golden cases, component by component; what fails can run elsewhere.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar, get_args

from f2edge.bundle.manifest import COMPONENTS, sha256
from f2edge.bundle.schema import parse
from f2edge.bundle.user_cache import cache_key, user_cache, write_whole
from f2edge.bundle.verified import TOKENS_DIFFER
from f2edge.bundle.writing import MANIFEST
from f2edge.errors import DeviceError, DeviceWarning, InputError
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
"""Where a component goes that a device gets wrong."""

_VERDICTS = "verdicts"

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Checked(Generic[M]):
    """One placement, checked.

    Args:
        model: the bundle opened there; None if anything is wrong.
        faults: the components that are wrong, and why.
    """

    model: M | None
    faults: dict[str, str]


@dataclass(frozen=True)
class Verdict:
    """What a check ended in, as it is kept.

    Args:
        placement: where every component is right; what was asked for, unless components had to move.
        faults: components that were wrong where they were asked for, or that moved, and why.
    """

    placement: str
    faults: dict[str, str]


@dataclass(frozen=True)
class SelfCheck(Generic[M]):
    """The check of one bundle on some devices.

    Args:
        bundle: the bundle.
        placement: what was asked for.
        devices: names and drivers of the devices that the engine sees.
        open_on: opens the bundle with its components on the devices of a placement; raises DeviceError.
    """

    bundle: Bundle
    placement: Placement
    devices: tuple[str, ...]
    open_on: Callable[[Placement], M]

    def model(self, on_mismatch: OnMismatch) -> M:
        """Open the bundle where its golden cases are right.

        Args:
            on_mismatch: what to do where they are not: "error" raises, "fallback" runs on the CPU what was wrong and
                warns, "warn" warns and goes on as asked.

        Raises:
            DeviceError: they are not, and ``on_mismatch`` does not help; or the device cannot take the graphs.
            InputError: another ``on_mismatch``.
        """
        if on_mismatch not in get_args(OnMismatch):
            raise InputError(f"on_mismatch is {on_mismatch!r:.60}; it must be one of {', '.join(get_args(OnMismatch))}")
        model, verdict = None, self._kept(on_mismatch)
        if verdict is None:
            model, verdict = self._settled() if on_mismatch == "fallback" else self._as_asked()
            write_whole(self._file(on_mismatch), json.dumps(asdict(verdict)).encode())
        self._judge(verdict, on_mismatch)
        return model or self.open_on(parse_placement(verdict.placement, FALLBACK, self.placement.threads))

    def check(self, placement: Placement) -> Checked[M]:
        """Open the bundle on a placement and verify it.

        Raises:
            DeviceError: the device cannot take the graphs, or fails.
        """
        model = self.open_on(placement)
        faults = _faults(verify(model))
        return Checked(None if faults else model, faults)

    def _as_asked(self) -> tuple[M | None, Verdict]:
        """The verdict on what was asked for, and the model if all is right."""
        checked = self.check(self.placement)
        return checked.model, Verdict(str(self.placement), checked.faults)

    def _settled(self) -> tuple[M | None, Verdict]:
        """Move what is wrong to the CPU until all is right: the model then, where it runs, and why components moved."""
        placement, moved = self.placement, dict[str, str]()
        while faults := (checked := self._diagnosed(placement)).faults:
            moving = self._movable(placement, faults)
            moved = moving | moved
            for name in moving:
                placement = placement.with_device(name, FALLBACK)
        return checked.model, Verdict(str(placement), moved)

    def _movable(self, placement: Placement, faults: dict[str, str]) -> dict[str, str]:
        """The faults of components that are not on the CPU.

        Raises:
            DeviceError: there are none, so the bundle is wrong everywhere.
        """
        movable = {name: why for name, why in faults.items() if placement.devices()[name] != FALLBACK}
        if not movable:
            raise DeviceError(f"{self.bundle.path} fails on the {FALLBACK}, too: {_line(faults)}; compile it again")
        return movable

    def _judge(self, verdict: Verdict, on_mismatch: OnMismatch) -> None:
        """Raise or warn as asked; nothing where all was right."""
        if not verdict.faults:
            return
        line = f"{self.bundle.path} does not compute on {self.placement} what it should: {_line(verdict.faults)}"
        if on_mismatch == "error":
            raise DeviceError(f"{line}; on_mismatch='fallback' runs that on the {FALLBACK}")
        outcome = "goes on as asked" if on_mismatch == "warn" else f"runs as {verdict.placement}"
        warnings.warn(f"{line}; {outcome}", DeviceWarning, stacklevel=4)

    def _diagnosed(self, placement: Placement) -> Checked[M]:
        """Check a placement; where the engine fails, the components that make it fail are the faults."""
        try:
            return self.check(placement)
        except DeviceError as error:
            return Checked(None, self._failing(placement, error))

    def _failing(self, placement: Placement, error: DeviceError) -> dict[str, str]:
        """The components that make the engine fail: each is tried alone, with the others on the CPU.

        Raises:
            DeviceError: it fails without any of them, or only with all.
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
        """The verdict of an earlier check, unless its file is not there or damaged."""
        try:
            value = json.loads(self._file(on_mismatch).read_text(encoding="utf-8"))
            verdict: Verdict = parse(Verdict, value, "verdict")
            parse_placement(verdict.placement, FALLBACK)
        except (OSError, ValueError, RecursionError, DeviceError):
            return None
        return verdict

    def _file(self, on_mismatch: OnMismatch) -> Path:
        """One for each bundle, placement, device, driver and version; where components may move, another one."""
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
    """Why components are wrong; the decoder, which stands on the device's encoder, only where that is right."""
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
