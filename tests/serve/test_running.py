"""``f2edge serve`` in a process of its own: what it says, how it ends, and what attackers find."""

from __future__ import annotations

import base64
import io
import json
import signal
import socket
import struct
import threading
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from PIL import Image

from tests.support.command import Outcome, f2edge, f2edge_process, start
from tests.support.serving import PATIENCE, eventually, picture

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

TOKEN = "0123456789abcdef"  # noqa: S105
MIB = 2**20


class Process:
    """A server in a process of its own.

    Args:
        process: the process; its stderr is read all the time.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._started = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.lines.append(line)
            self._started.set()
        self._started.set()

    @property
    def url(self) -> str:
        """The URL without a slash at its end, once the server listens."""
        assert self._started.wait(PATIENCE), "the server did not start"
        return self.lines[0].split(" at ")[1].split(";")[0].rstrip("/")

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.url.rpartition(":")[2])

    def close(self) -> None:
        """End it, however it goes."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()

    def memory(self, name: str = "VmRSS") -> int:
        """Return bytes of memory: VmRSS now, VmHWM at most since :meth:`forget_peak`."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(name)

    def forget_peak(self) -> None:
        """Let the peak begin at the memory of now."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def end(self) -> int:
        """Wait for the end, and return the exit code."""
        code = self.process.wait(PATIENCE)
        self._reader.join()
        return code


@contextmanager
def process_of(bundle: Path, *arguments: object, first: str = "") -> Iterator[Process]:
    """Serve a bundle in a process of its own."""
    server = Process(start("serve", bundle, "--port", 0, *arguments, first=first))
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def server(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Return a server that wants a token and has answered once."""
    path = tmp_path_factory.mktemp("token") / "token"
    path.write_text(TOKEN)
    with process_of(tiny_bundle, "--token-file", path, "--json-logs") as process:
        assert post(process, files={"image": picture()}, data={"task": "od"}).status_code == 200
        yield process


def post(server: Process, path: str = "/v1/ask", **what: Any) -> httpx.Response:
    """Send a request with the token."""
    what.setdefault("headers", {})["authorization"] = f"Bearer {TOKEN}"
    return httpx.post(f"{server.url}{path}", timeout=PATIENCE, **what)


def png(width: int, height: int, pixels: bytes) -> bytes:
    """Return a PNG in grey whose header claims some size, whatever its pixels are."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def large_png(width: int, height: int) -> bytes:
    """Return a sound PNG of black pixels, a thousandth as large as they are."""
    packer, row = zlib.compressobj(9), bytes(width + 1)
    return png(width, height, b"".join(packer.compress(row) for _ in range(height)) + packer.flush())


FIELD = b'--x\r\nContent-Disposition: form-data; name="task"\r\n\r\n'


def many_parts(count: int) -> bytes:
    """Return a form of many fields."""
    return (
        b"".join(b'--x\r\nContent-Disposition: form-data; name="labels"\r\n\r\na\r\n' for _ in range(count)) + b"--x--"
    )


def form(content: bytes) -> dict[str, Any]:
    """Return a request whose body is a form."""
    return {"content": content, "headers": {"content-type": "multipart/form-data; boundary=x"}}


def about(content: bytes) -> dict[str, Any]:
    """Return a request about a picture."""
    return {"files": {"image": content}, "data": {"task": "od"}}


def tiff_bomb() -> bytes:
    """Return a TIFF of 49 million black pixels in some kilobytes."""
    file = io.BytesIO()
    Image.new("L", (7000, 7000)).save(file, "TIFF", compression="tiff_adobe_deflate")
    return file.getvalue()


ATTACKS: dict[str, tuple[dict[str, Any], int, str]] = {
    "21 MB": ({"content": bytes(21 * MIB), "headers": {"content-type": "application/json"}}, 413, "larger than 20 MiB"),
    "21 MB without a length": (
        {"content": (bytes(MIB) for _ in range(21)), "headers": {"content-type": "application/json"}},
        413,
        "larger than 20 MiB",
    ),
    "101 megapixels": (about(large_png(10_100, 10_000)), 400, "more than 50 million"),
    "a header of gigapixels": (about(png(60_000, 60_000, b"")), 400, "million pixels"),
    "claims without pixels": (about(png(7_000, 7_000, zlib.compress(b""))), 400, "seems damaged"),
    "a text that expands": (about(png(10, 10, zlib.compress(bytes(60 * MIB)))), 200, "token_ids"),
    "a form of many fields": (form(many_parts(50_000)), 400, "Too many fields"),
    "a form of long headers": (form(b"--x\r\nX: " + b"a" * (8 * MIB)), 400, "form"),
    "a form with a long field": (
        form(b'--x\r\nContent-Disposition: form-data; name="task"\r\n\r\n' + b"a" * 2 * MIB),
        400,
        "form",
    ),
    "JSON of many objects": (
        {"content": b"[" + b"{}," * (5 * MIB), "headers": {"content-type": "application/json"}},
        400,
        "more than 20,000 values",
    ),
    "JSON in JSON": ({"content": b"[" * 19_000, "headers": {"content-type": "application/json"}}, 400, "not JSON"),
    "no picture": ({"json": {"task": "od", "image": "data:image/png;base64,aGVsbG8="}}, 400, "is not a picture"),
    "a prompt of 100 kB": (
        {"json": {"task": "", "text": "cat " * 25_000, "image": base64.b64encode(picture()).decode()}},
        400,
        "the server takes 20,000",
    ),
    "a compressed body": ({"content": b"\x1f\x8b", "headers": {"content-encoding": "gzip"}}, 415, "not compressed"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_refused_with_little_memory(name: str, server: Process) -> None:
    """One clear status, less than 50 MB more than before, and the next question is answered."""
    request, status, told = ATTACKS[name]
    server.forget_peak()
    before = server.memory()
    answer = post(server, **request)
    assert (answer.status_code, told in answer.text) == (status, True), answer.text
    assert server.memory("VmHWM") - before < 50 * MIB
    assert post(server, **about(picture())).status_code == 200


def test_the_largest_picture_is_answered(server: Process) -> None:
    """A picture of 49 million pixels in a small file takes the memory of its pixels while it is decoded, no more."""
    server.forget_peak()
    before = server.memory()
    assert post(server, **about(tiff_bomb())).status_code == 200
    assert server.memory("VmHWM") - before < 5 * 49 * MIB


PATHS = [
    *("/../../etc/passwd", "//etc/passwd", "/page//etc/passwd", "/page/%00", "/page/..\\settings.py"),
    *("/page/../settings.py", "/page/%2e%2e/settings.py", "/page/..%2fsettings.py"),
]


@pytest.mark.parametrize("path", PATHS)
def test_paths_lead_to_no_file(path: str, server: Process) -> None:
    """Sent as they stand, since clients tidy paths up."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as connection:
        connection.sendall(request.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.split()[1] == b"404"
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "not_found"


def test_forged_hosts_and_missing_tokens(server: Process) -> None:
    """Status 403, and 401."""
    assert httpx.get(f"{server.url}/v1/model", headers={"host": "evil.example"}).status_code == 403
    assert httpx.get(f"{server.url}/v1/model").status_code == 401
    assert httpx.get(f"{server.url}/v1/model", headers={"authorization": "Bearer wrong"}).status_code == 401


def test_one_line_of_json_for_each_request(server: Process) -> None:
    """With status, time and task, and without texts and pictures."""
    question = {"task": "", "text": "secret words", "image": base64.b64encode(picture()).decode(), "max_new_tokens": 4}
    assert post(server, json=question).status_code == 200
    assert post(server, "/v1/ask?secret=words", json={"task": "secret words"}).status_code == 400
    assert eventually(lambda: '"bad_request"' in server.lines[-1])  # a line is written after its answer
    first, second = (json.loads(line) for line in server.lines[-2:])
    assert (first["path"], first["status"], first["task"], first["tokens"]) == ("/v1/ask", 200, "", 4)
    assert (second["path"], second["status"], second["code"]) == ("/v1/ask", 400, "bad_request")
    assert "secret" not in "".join(server.lines)


SLOW_STEPS = """
import time
from f2edge.decoding import session
step = session.TimedSession.step
def slow(self, *arguments):
    time.sleep(0.1)
    return step(self, *arguments)
session.TimedSession.step = slow
"""


def test_at_sigterm_answers_are_finished_and_nothing_new_is_taken(tiny_bundle: Path) -> None:
    """The answer that goes on comes whole; a new connection is refused; the exit code is 0."""
    form = {"task": "caption", "num_beams": 1, "max_new_tokens": 12}
    with process_of(tiny_bundle, first=SLOW_STEPS) as server:
        with httpx.stream(
            "POST", f"{server.url}/v1/stream", timeout=PATIENCE, data=form, files={"image": picture()}
        ) as answer:
            lines = answer.iter_lines()
            next(lines)
            server.process.send_signal(signal.SIGTERM)
            rest = list(lines)
        assert "event: answer" in rest
        assert server.end() == 0
        assert len(server.lines) == 1
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.url)


def test_at_ctrl_c_it_ends_without_a_traceback(tiny_bundle: Path) -> None:
    """The exit code of an interrupt is 130, as for every command."""
    # Where the tests run in the background of a shell, they and what they start ignore SIGINT.
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    with process_of(tiny_bundle, first=heeding) as server:
        assert httpx.get(f"{server.url}/health/ready").status_code == 200
        server.process.send_signal(signal.SIGINT)
        assert server.end() == 130
        assert len(server.lines) == 1


def test_a_port_that_is_taken(tiny_bundle: Path) -> None:
    """One line, before the bundle is loaded."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        outcome = f2edge("serve", tiny_bundle, "--port", taken.getsockname()[1])
    assert "choose another --host or --port" in outcome.error


def test_an_address_on_the_network_wants_a_token(tmp_path: Path) -> None:
    """One line, before anything else is looked at."""
    outcome = f2edge("serve", tmp_path / "missing", "--host", "0.0.0.0")  # noqa: S104
    assert outcome.error == (
        "f2edge: --host 0.0.0.0 can be reached from other machines; give a --token-file, or listen on 127.0.0.1"
    )


@pytest.mark.parametrize("package", ["starlette", "uvicorn", "python_multipart", "prometheus_client"])
def test_without_the_extra(package: str, tmp_path: Path) -> None:
    """One line that says what to install."""
    outcome = f2edge_process("serve", tmp_path, first=f"import sys; sys.modules['{package}'] = None")
    assert outcome.error.endswith("is not installed; run: pip install 'f2edge[serve]'")
    assert package.replace("_", "-") in outcome.error


def test_the_core_needs_none_of_its_packages(tiny_bundle: Path) -> None:
    """``f2edge inspect`` runs without the extra."""
    block = "import sys\nfor name in ('starlette', 'uvicorn', 'python_multipart', 'prometheus_client', 'h11'):\n"
    outcome: Outcome = f2edge_process("inspect", tiny_bundle, first=f"{block}    sys.modules[name] = None")
    assert outcome.code == 0
