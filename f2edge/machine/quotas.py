"""How much processor time and memory a control group of Linux lets this process use, as containers and services do."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOUNT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_NO_LIMIT = 2**62


def cpu_quota(mount: Path = _MOUNT, own: Path = _OWN) -> float | None:
    """Return the processor time per second that this process may take, in seconds; None if it is not limited.

    The limit of every group above counts, too.  In a container the paths of groups may be those of the host, which
    cannot be seen; then the mount itself is the group of the container.

    Args:
        mount: where the control groups are mounted, of version 1 or 2.
        own: the file that names the groups of this process.
    """
    limits = [limit for group in _groups(mount, own, "cpu") if (limit := _cpu_limit(group)) is not None]
    return min(limits, default=None)


def memory_quota(mount: Path = _MOUNT, own: Path = _OWN) -> int | None:
    """Return the memory that this process may take, in bytes; None if it is not limited.

    Args:
        mount: where the control groups are mounted, of version 1 or 2.
        own: the file that names the groups of this process.
    """
    limits = [limit for group in _groups(mount, own, "memory") if (limit := _memory_limit(group)) is not None]
    return min(limits, default=None)


def _groups(mount: Path, own: Path, controller: str) -> Iterator[Path]:
    """Yield the directories of the groups of this process that a controller may limit, and of all groups above them."""
    try:
        lines = own.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # another system
        return
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        names = [name for name in path.split("/") if name not in ("", "..")]
        for root in (mount / controllers, mount / controller) if controllers else (mount, mount / "unified"):
            yield from (root.joinpath(*names[:depth]) for depth in range(len(names) + 1))


def _cpu_limit(group: Path) -> float | None:
    """Return the limit of one group in processors; None if it has none."""
    two = _read(group / "cpu.max") or _read(group / "cpu.cfs_quota_us", group / "cpu.cfs_period_us")
    return two[0] / two[1] if two and min(two) > 0 else None


def _memory_limit(group: Path) -> int | None:
    """Return the limit of one group in bytes; None if it has none, for which version 1 writes nearly 2^63."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # "max" is no number
            limit = int((group / name).read_text(encoding="ascii"))
            if 0 < limit < _NO_LIMIT:
                return limit
    return None


def _read(*files: Path) -> tuple[float, float] | tuple[()]:
    """Return quota and period in microseconds, both in one file or each in its own; empty if there are none."""
    with suppress(OSError, ValueError):  # "max" is no number
        quota, period = map(float, " ".join(file.read_text(encoding="ascii") for file in files).split())
        return quota, period
    return ()
