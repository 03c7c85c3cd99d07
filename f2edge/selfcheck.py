"""A bundle is trusted on a device only after its golden cases were right there; the verdict is kept.

Drivers and compilers get graphs wrong in silence, and differently on every device (docs/devices.md).  So the first use
of a bundle on a device replays the golden cases, component by component; what fails can run elsewhere.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from f2edge.bundle.manifest import sha256
from f2edge.bundle.schema import parse
from f2edge.bundle.user_cache import cache_key, user_cache, write_whole
from f2edge.bundle.writing import MANIFEST
from f2edge.errors import DeviceError, DeviceWarning, InputError
from f2edge.placement import COMPONENTS, parse_placement
from f2edge.verify import verify

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.bundle.manifest import Bundle
    from f2edge.model import Florence2
    from f2edge.placement import Placement
    from f2edge.verify import Report

OnMismatch: TypeAlias = Literal["error", "fallback", "warn"]

Open: TypeAlias = Callable[["Placement"], "Florence2"]
"""Opens the bundle with its components on the devices of a placement; raises DeviceError."""

FALLBACK = "CPU"
"""Where a component goes that a device gets wrong."""

_VERDICTS = "verdicts"


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Args:
        placement: where every component is right; what was asked for, unless components had to move.
        faults: components that were wrong where they were asked for, or that moved, and why.
    """

    placement: str
    faults: dict[str, str]


@dataclass(frozen=True)
class SelfCheck:
    """The check of one bundle on some devices.

    Args:
        bundle: the bundle.
        placement: what was asked for.
        devices: names and drivers of the devices that the engine sees.
        open_on: opens the bundle.
    """

    bundle: Bundle
    placement: Placement
    devices: tuple[str, ...]
    open_on: Open

    def model(self, on_mismatch: OnMismatch) -> Florence2:
        """The bundle, opened where its golden cases are right.

        Args:
            on_mismatch: what to do where they are not: "error" raises, "fallback" runs on the CPU what was wrong and
                warns, "warn" warns and goes on as asked.

        Raises:
            DeviceError: they are not, and ``on_mismatch`` does not help; or the device cannot take the graphs.
            InputError: another ``on_mismatch``.
        """
        if on_mismatch not in get_args(OnMismatch):
            raise InputError(f"on_mismatch is {on_mismatch!r:.60}; it must be one of {', '.join(get_args(OnMismatch))}")
        verdict = self._cached(on_mismatch)
        if verdict is None:
            return self._check(on_mismatch)
        self._judge(verdict, on_mismatch)
        return self.open_on(parse_placement(verdict.placement, FALLBACK, self.placement.threads))

    def _check(self, on_mismatch: OnMismatch) -> Florence2:
        if on_mismatch == "fallback":
            placement, faults = self._settle()
        else:
            placement, faults = self.placement, _wrong(verify(self.open_on(self.placement)))
        verdict = Verdict(str(placement), faults)
        write_whole(self._file(on_mismatch), json.dumps(asdict(verdict)).encode())
        self._judge(verdict, on_mismatch)
        return self.open_on(placement)

    def _settle(self) -> tuple[Placement, dict[str, str]]:
        """Move what is wrong until all is right: the placement then, and why components moved."""
        placement, reasons = self.placement, dict[str, str]()
        while found := self._faults(placement):
            moving = {name: why for name, why in found.items() if placement.devices()[name] != FALLBACK}
            if not moving:
                raise DeviceError(f"{self.bundle.path} fails on the {FALLBACK}, too: {_line(found)}; compile it again")
            reasons = moving | reasons
            for name in moving:
                placement = placement.with_device(name, FALLBACK)
        return placement, reasons

    def _judge(self, verdict: Verdict, on_mismatch: OnMismatch) -> None:
        """Raise or warn as asked; nothing where all was right."""
        if not verdict.faults:
            return
        line = f"{self.bundle.path} does not compute on {self.placement} what it should: {_line(verdict.faults)}"
        if on_mismatch == "error":
            raise DeviceError(f"{line}; on_mismatch='fallback' runs that on the {FALLBACK}")
        outcome = "goes on as asked" if on_mismatch == "warn" else f"runs as {verdict.placement}"
        warnings.warn(f"{line}; {outcome}", DeviceWarning, stacklevel=4)

    def _faults(self, placement: Placement) -> dict[str, str]:
        """What is wrong on a placement, by component."""
        try:
            return _wrong(verify(self.open_on(placement)))
        except DeviceError as error:
            return self._failing(placement, error)

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
                verify(self.open_on(alone))
            except DeviceError as fault:
                failing[name] = str(fault)
        if not failing:
            raise error
        return failing

    def _cached(self, on_mismatch: OnMismatch) -> Verdict | None:
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


def _wrong(report: Report) -> dict[str, str]:
    """Why components are wrong; the decoder, which stands on the device's encoder, only where that is right."""
    wrong = {c.component: f"it is off by {c.relative_error:.2g}" for c in report.checks if not c.passed}
    if "encoder" in wrong:
        wrong.pop("decoder", None)
    if not wrong and not report.passed:
        return dict.fromkeys(COMPONENTS, "tokens of the answers differ")
    return wrong


def _line(faults: dict[str, str]) -> str:
    return ", ".join(f"{component}: {reason}" for component, reason in faults.items())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
