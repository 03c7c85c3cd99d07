"""A server in a process of its own, and what its clients in benchmarks have in common."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import httpx

_MEMORY = {"rss": "VmRSS", "peak": "VmHWM"}
TIMEOUT = 120.0
"""Seconds that a client waits for an answer."""


class Server:
    """``f2edge serve`` in a process of its own."""

    def __init__(self, bundle: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "f2edge", "serve", str(bundle), "--port", "0", *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)  # noqa: S603
        assert self.process.stderr
        line = self.process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        assert found, line
        self.port = int(found[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def state(self) -> dict[str, float]:
        """Return resident memory and its peak in MiB, threads and open files."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("utf-8")
        values = dict(line.split(":", 1) for line in status.splitlines())
        mib = {name: round(int(values[field].split()[0]) / 1024, 1) for name, field in _MEMORY.items()}
        files = len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))
        return {"memory_mib": mib["rss"], "peak_mib": mib["peak"], "threads": int(values["Threads"]), "files": files}

    def end(self) -> int:
        """Tell the server to end, and return its exit code."""
        self.process.terminate()
        return self.process.wait(TIMEOUT)


@cache
def picture(seed: int, size: tuple[int, int] = (320, 240), kind: str = "PNG") -> bytes:
    """Return the file of a picture of coloured patches that differs from seed to seed."""
    patches = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(patches).resize(size).save(file, kind)
    return file.getvalue()


def _form_of(question: dict[str, Any]) -> dict[str, Any]:
    """Write a question as a form has it."""
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in question.items()}


def form_request(
    client: httpx.Client, content: bytes, question: dict[str, Any], path: str = "/v1/ask"
) -> httpx.Request:
    """Return a request that asks about a picture with a form."""
    return client.build_request("POST", path, files={"image": ("a", content)}, data=_form_of(question))


def request(client: httpx.Client, content: bytes, question: dict[str, Any]) -> bytes:
    """Return the bytes of a request that asks about a picture, on a connection that is closed then."""
    asked = form_request(client, content, question)
    asked.headers["connection"] = "close"
    head = "".join(f"{name}: {value}\r\n" for name, value in asked.headers.items())
    return f"POST /v1/ask HTTP/1.1\r\n{head}\r\n".encode() + asked.read()


def posted(client: httpx.Client, content: bytes, question: dict[str, Any]) -> httpx.Response:
    """Ask about a picture."""
    return client.send(form_request(client, content, question))
