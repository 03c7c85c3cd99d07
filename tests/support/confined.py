"""Run a program that may open no network connection, and see what it writes into its home.

Python's audit events tell of addresses that are looked up and of processes that are started.  The libraries of the
engines are not written in Python, so on Linux the kernel, too, kills a process that opens a socket for the internet.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_GUARD = '''
import ctypes, os, platform, struct, sys

EVENTS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect", "os.fork", "os.posix_spawn",
          "subprocess.Popen")
notes = os.open(os.environ["AUDIT_NOTES"], os.O_WRONLY | os.O_APPEND)

def note(event, arguments):
    if event in EVENTS:
        os.write(notes, f"{event} {arguments}\\n".encode())

sys.addaudithook(note)

def forbid_sockets(number):
    """Load a filter of system calls: socket(AF_INET, ...), AF_INET6 and AF_NETLINK (look-ups) end the process."""
    LOAD, EQUAL, RETURN, KILL, ALLOW = 0x20, 0x15, 0x06, 0x80000000, 0x7FFF0000
    program = [(LOAD, 0, 0, 0), (EQUAL, 0, 5, number), (LOAD, 0, 0, 16),
               (EQUAL, 2, 0, 2), (EQUAL, 1, 0, 10), (EQUAL, 0, 1, 16), (RETURN, 0, 0, KILL), (RETURN, 0, 0, ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    filter = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # no new privileges
    assert libc.prctl(22, 2, filter, 0, 0) == 0  # seccomp

number = {"x86_64": 41, "aarch64": 198}.get(platform.machine())
if sys.platform == "linux" and number:
    forbid_sockets(number)
'''


@dataclass(frozen=True)
class Confined:
    """What a confined program did.

    Args:
        code: its exit status; -31 (SIGSYS) if the kernel ended it, since it opened a socket.
        output: stdout and stderr.
        notes: addresses that were looked up, connections, and processes that were started.
        files: paths of all files and directories in its home, relative to that.
    """

    code: int
    output: str
    notes: list[str]
    files: set[str]


def run_confined(folder: Path, program: str, *arguments: object) -> Confined:
    """Run a Python program in a fresh home, where CI is not set: some packages are quiet in CI only.

    Args:
        folder: an empty directory; the home and the cache go there.
        program: the text of the program.
        arguments: its arguments.
    """
    home, notes = folder / "home", folder / "notes"
    home.mkdir()
    notes.touch()
    removed = ("CI", "TF_BUILD", "JENKINS_URL", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in removed}
    environment |= {"HOME": str(home), "F2EDGE_CACHE": str(folder / "cache"), "AUDIT_NOTES": str(notes)}
    command = [sys.executable, "-c", _GUARD + program, *map(str, arguments)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)  # noqa: S603
    files = {path.relative_to(home).as_posix() for path in home.rglob("*")}
    return Confined(ended.returncode, ended.stdout + ended.stderr, notes.read_text().splitlines(), files)
