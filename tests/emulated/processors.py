"""The processors that QEMU emulates here, and commands of f2edge on them."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from filelock import FileLock

from tests.emulated.packages import PYTHON, run, unpack_debian, unpack_wheels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Processor:
    """A processor as QEMU knows it.

    Args:
        cpu: its name for QEMU.
        machine: the architecture, as ``platform.machine`` has it.
        devices: devices that have it.
        flags: its instruction sets as Linux lists them; only where QEMU does not write /proc/cpuinfo itself.
    """

    cpu: str
    machine: str
    devices: str
    flags: str = ""


CORTEX_A76 = Processor("cortex-a76", "aarch64", "Raspberry Pi 5")
CORTEX_A72 = Processor("cortex-a72", "aarch64", "Raspberry Pi 4: no dot products of 8 bits")
HASWELL = Processor(
    "Haswell",
    "x86_64",
    "x86 with AVX2, without VNNI",
    "fpu sse sse2 ssse3 sse4_1 sse4_2 popcnt movbe aes avx f16c fma bmi1 bmi2 avx2",
)
PROCESSORS = (CORTEX_A76, CORTEX_A72, HASWELL)

_LIBRARIES = ("python3", "libstdc++6", "libgomp1", "zlib1g")


@dataclass(frozen=True)
class Emulation:
    """The emulator, and a root with Python and the engines for processors of another architecture.

    Args:
        place: a folder that keeps what was fetched; several processes may use it.
        code: a folder with the f2edge to test.
    """

    place: Path
    code: Path

    @classmethod
    def set_up(cls, place: Path, wheel: Path) -> Emulation:
        """Fetch what is not there yet, and unpack the wheel of f2edge beside it.

        Raises:
            PackageError: a package cannot be had.
        """
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(place / "lock"):
            _once(place / "qemu", lambda path: unpack_debian(("qemu-user",), "amd64", path))
            _once(place / "root", lambda path: unpack_debian(_LIBRARIES, "arm64", path))
            _once(place / "site", lambda path: unpack_wheels((f"{wheel}[onnx,eval]",), path))
        code = wheel.parent / "code"
        run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", f"--target={code}", wheel)
        return cls(place, code)

    def f2edge(self, processor: Processor, home: Path, *arguments: object) -> str:
        """Run a command of f2edge on a processor and return its output.

        Args:
            processor: the processor.
            home: a folder for caches, which depend on the processor.
            arguments: the command and its arguments.

        Raises:
            PackageError: the command failed.
        """
        emulator = self.place / "qemu" / "usr" / "bin" / f"qemu-{processor.machine}"
        words = (emulator, *self._python(processor), "-m", "f2edge", *arguments)
        home.mkdir(exist_ok=True)
        # not in the checkout, whose folder f2edge would be imported as the package
        return run(*words, folder=home, environment=self._environment(processor, home))

    def _python(self, processor: Processor) -> list[object]:
        if processor.machine == "x86_64":
            return ["-L", self._described(processor), sys.executable]
        root = self.place / "root"
        libraries = root / "usr" / "lib" / "aarch64-linux-gnu"
        # the first f2edge counts; the one in site is that of the day on which the wheels were fetched
        given = {
            "PYTHONPATH": f"{self.code}:{self.place / 'site'}",
            "PYTHONHOME": root / "usr",
            "LD_LIBRARY_PATH": libraries,
        }
        options = [part for name, value in given.items() for part in ("-E", f"{name}={value}")]
        return ["-L", root, *options, root / "usr" / "bin" / f"python{PYTHON}"]

    def _described(self, processor: Processor) -> Path:
        """Return a root for the emulator with the /proc/cpuinfo of an x86 processor; it shows this machine's else."""
        root = self.place / processor.cpu
        _once(root, partial(_write_cpu_info, processor))
        return root

    def _environment(self, processor: Processor, home: Path) -> dict[str, str]:
        own = {"QEMU_CPU": processor.cpu, "HOME": str(home), "F2EDGE_CACHE": str(home / "cache")}
        return {**os.environ, **own, **self._bytecode(processor)}

    def _bytecode(self, processor: Processor) -> dict[str, str]:
        """Keep the bytecode of ARM's Python, which takes longer to compile than to run; here it is there already."""
        if processor.machine == "x86_64":
            return {"PYTHONDONTWRITEBYTECODE": "1"}
        return {"PYTHONPYCACHEPREFIX": str(self.place / "bytecode")}


def _write_cpu_info(processor: Processor, root: Path) -> None:
    lines = [f"model name\t: {processor.cpu}", f"flags\t\t: {processor.flags}"]
    (root / "proc").mkdir(parents=True)
    (root / "proc" / "cpuinfo").write_text("\n".join(lines) + "\n")


def _once(path: Path, make: Callable[[Path], None]) -> None:
    """Make a folder beside its place and move it there when it is whole."""
    if not path.exists():
        unfinished = path.with_name(f"{path.name}.partial")
        shutil.rmtree(unfinished, ignore_errors=True)
        make(unfinished)
        unfinished.rename(path)
