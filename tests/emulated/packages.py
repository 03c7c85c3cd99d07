"""Take packages of Debian and wheels apart into a folder, for any architecture and without installing them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SUITE = "trixie"
"""The release of Debian that has QEMU 10: QEMU 7.2 of the release before crashes when it imports ONNX Runtime."""
PYTHON = "3.13"
"""The version of Python in that release."""

_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class PackageError(Exception):
    """The emulator or a package cannot be had on this machine; the message says which and why."""


def run(*command: object, folder: Path | None = None, environment: dict[str, str] | None = None) -> str:
    """Run a command in a folder and return its output.

    Raises:
        PackageError: the command is not there, or it failed; the message has the last line of its errors.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, cwd=folder, env=environment, check=True)  # noqa: S603
    except OSError as error:
        raise PackageError(f"{command[0]} cannot be started: {error.strerror}") from error
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip() or error.stdout.strip() or f"exit code {error.returncode}").splitlines()[-1]
        raise PackageError(f"{command[0]}: {reason}") from error
    return done.stdout


def unpack_debian(names: tuple[str, ...], architecture: str, root: Path) -> None:
    """Unpack packages of Debian, and all that they depend on, into ``root``.

    Args:
        names: the packages.
        architecture: Debian's name of it, ``arm64`` or ``amd64``.
        root: the folder; it becomes the root of a file system.

    Raises:
        PackageError: this is no Debian, or a package cannot be fetched.
    """
    apt = _private_apt(root.with_name(f"{root.name}-apt"), architecture)
    run("apt-get", *apt, "-q", "update")
    run("apt-get", *apt, "-qq", "-y", "--no-install-recommends", "--download-only", "install", *names)
    root.mkdir(exist_ok=True)
    for package in root.with_name(f"{root.name}-apt").glob("cache/archives/*.deb"):
        run("dpkg-deb", "-x", package, root)
    if not (root / "lib").exists():
        (root / "lib").symlink_to("usr/lib")


def _private_apt(place: Path, architecture: str) -> list[str]:
    """Return options that give apt a state of its own, which needs no rights and leaves the system's alone."""
    for folder in ("state/lists/partial", "cache/archives/partial", "parts"):
        (place / folder).mkdir(parents=True, exist_ok=True)
    (place / "status").touch()
    (place / "sources.list").write_text(f"deb [signed-by={_KEYS}] {_mirror()} {SUITE} main\n", "utf-8")
    settings = {
        "Dir::State": place / "state",
        "Dir::State::status": place / "status",
        "Dir::Cache": place / "cache",
        "Dir::Etc::sourcelist": place / "sources.list",
        "Dir::Etc::sourceparts": place / "parts",
        "Dir::Etc::preferencesparts": place / "parts",
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
    }
    return [f"-o{name}={value}" for name, value in settings.items()]


def _mirror() -> str:
    """Return the address from which this system takes its packages."""
    lines = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").split()
    mirrors = [line for line in lines if line.rstrip("/").endswith("/debian")]
    if not mirrors:
        raise PackageError("apt-get: no mirror of Debian is set up; run `apt-get update` first")
    return mirrors[0]


def unpack_wheels(requirements: tuple[str, ...], site: Path) -> None:
    """Unpack wheels for 64-bit ARM, and all that they depend on, into ``site``.

    Raises:
        PackageError: a wheel is not there for this platform, or cannot be fetched.
    """
    platforms = [f"--platform=manylinux_2_{glibc}_aarch64" for glibc in (17, 28, 31, 35)]
    python = ("--implementation=cp", f"--python-version={PYTHON}", "--only-binary=:all:")
    run(sys.executable, "-m", "pip", "install", "--quiet", f"--target={site}", *platforms, *python, *requirements)
