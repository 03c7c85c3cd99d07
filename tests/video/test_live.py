"""Live sources: the newest frame wins, older ones are dropped and counted, and nothing is left behind."""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

import f2edge
from f2edge.errors import VideoError
from f2edge.video.decoding import Picture
from f2edge.video.frames import thinned
from f2edge.video.newest import Newest
from tests.support.videos import levels, save_video

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE = 60.0
"""Seconds that a test waits for another thread on a busy machine."""


def picture(index: int, seconds: float | None = None, dropped: int = 0) -> Picture:
    """Return a picture of no pixels."""
    return Picture(index, index / 10 if seconds is None else seconds, dropped, None)  # type: ignore[arg-type]


def told(picture: Picture) -> tuple[int, float, int]:
    """Return what a picture tells about its place."""
    return picture.index, picture.seconds, picture.dropped


def reader_threads() -> list[threading.Thread]:
    """Return the threads that read live sources."""
    return [thread for thread in threading.enumerate() if thread.name == "f2edge-video"]


class Camera:
    """A source that waits before it gives certain pictures, and tells when it is there.

    Args:
        count: how many pictures it gives.
        waits: the indices before which it waits.
        error: what it raises at its end.
    """

    def __init__(self, count: int, waits: tuple[int, ...], error: Exception | None = None) -> None:
        self.reached = {index: threading.Event() for index in waits}
        self.go = {index: threading.Event() for index in waits}
        self._count = count
        self._error = error

    def pictures(self) -> Iterator[Picture]:
        """Yield the pictures."""
        for index in range(self._count):
            if index in self.go:
                self.reached[index].set()
                assert self.go[index].wait(PATIENCE)
            yield picture(index)
        if self._error:
            raise self._error


def test_the_newest_picture_wins() -> None:
    """What came while nobody asked is dropped but for the newest, and counted; then each picture comes in its turn."""
    camera = Camera(6, (1, 5))
    newest = Newest(camera.pictures())
    assert told(next(newest)) == (0, 0.0, 0)
    camera.go[1].set()
    assert camera.reached[5].wait(PATIENCE)
    assert told(next(newest)) == (4, 0.4, 3)
    camera.go[5].set()
    assert told(next(newest)) == (5, 0.5, 0)
    assert next(newest, None) is None
    newest.close()
    assert reader_threads() == []


def test_the_last_picture_comes_before_the_error() -> None:
    """A source that breaks off gives its last picture, then the reason."""
    newest = Newest(Camera(1, (), VideoError("camera breaks off")).pictures())
    assert next(newest).index == 0
    with pytest.raises(VideoError, match="camera breaks off"):
        next(newest)


def test_closing_wakes_who_waits() -> None:
    """A reader that waits for a picture ends when another thread closes the source."""
    camera = Camera(2, (0,))
    newest, taken = Newest(camera.pictures()), list[Picture]()
    waiting = threading.Thread(target=lambda: taken.extend(newest))
    waiting.start()
    assert camera.reached[0].wait(PATIENCE)
    camera.go[0].set()
    newest.close()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    assert reader_threads() == []


def test_thinning_counts_what_is_lost() -> None:
    """Frames that are left out are not dropped ones, but what was lost beside them counts; a new clock begins anew."""
    source = [picture(0), picture(1, dropped=2), picture(2), picture(7), picture(8, seconds=0.0)]
    assert [told(one) for one in thinned(iter(source), 0.3)] == [(0, 0.0, 0), (7, 0.7, 2), (8, 0.0, 0)]


@contextmanager
def serving(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve on a free port of this machine, and yield the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class Quiet(SimpleHTTPRequestHandler):
    """A server of files that logs nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Log nothing."""


def answering(content: bytes, *, holding: threading.Event | None = None, length: int | None = None) -> type[Quiet]:
    """Return a handler that sends bytes, says how many if `length` is given, and holds the line until an event."""

    class Answering(Quiet):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            """Send the bytes, in chunks if their length is not told, so that the end is seen."""
            self.send_response(200)
            self.send_header(*(("Content-Length", str(length)) if length else ("Transfer-Encoding", "chunked")))
            self.end_headers()
            self.wfile.write(content if length else b"%x\r\n%b\r\n" % (len(content), content))
            if holding:
                holding.wait(PATIENCE)
            elif not length:
                self.wfile.write(b"0\r\n\r\n")
            self.close_connection = True

    return Answering


def redirecting(target: str) -> type[Quiet]:
    """Return a handler that sends everyone elsewhere."""

    class Redirecting(Quiet):
        def do_GET(self) -> None:
            """Send to the target."""
            self.send_response(302)
            self.send_header("Location", target)
            self.end_headers()

    return Redirecting


def test_a_file_of_a_server_gives_every_frame(tmp_path: Path) -> None:
    """An address that tells a duration is no live source: every frame comes, in this thread."""
    save_video(tmp_path / "clip.mp4", levels(20), options={"movflags": "faststart"})
    with serving(partial(Quiet, directory=str(tmp_path))) as address:
        with f2edge.frames(f"{address}/clip.mp4") as frames:
            assert not frames.live
            assert [frame.index for frame in frames] == list(range(20))
        with f2edge.frames(f"{address}/clip.mp4", live=True) as frames:
            assert [frame.index for frame in frames][-1] == 19
        with pytest.raises(VideoError, match=r"/nothing\.mp4 cannot be opened: .*404"):
            f2edge.frames(f"{address}/nothing.mp4")
    assert reader_threads() == []


def test_a_stream_gives_its_newest_frame(tmp_path: Path) -> None:
    """A stream without a duration is live; the newest frame comes, the dropped ones are counted, and it ends."""
    content = save_video(tmp_path / "clip.ts", levels(20), "mpeg2video").read_bytes()
    with serving(answering(content)) as address, f2edge.frames(address, live=True) as frames:
        first = next(frames)
        for thread in reader_threads():
            thread.join(PATIENCE)
        rest = list(frames)
    assert [frame.index for frame in rest] == [19] * (first.index < 19)
    assert first.dropped + sum(frame.dropped for frame in rest) == 19 - len(rest)
    assert reader_threads() == []


def test_a_broken_connection_keeps_what_came(tmp_path: Path) -> None:
    """All frames of a connection that breaks come before the error, those that the decoder has held back included."""
    content = save_video(tmp_path / "clip.ts", levels(20), "mpeg2video").read_bytes()
    handler = answering(content, length=2 * len(content))
    with serving(handler) as address, f2edge.frames(f"{address}/x", live=False) as frames:
        received: list[f2edge.Frame] = []
        with pytest.raises(VideoError, match=r"/x breaks off after frame 19 \(1\.9 s\)"):
            received.extend(iter(lambda: next(frames), None))
    assert len(received) == 20


def test_leaving_the_loop_ends_the_thread(tmp_path: Path) -> None:
    """A break, an exception and the end of a block close a live source, while its sender holds the line."""
    content, holding = save_video(tmp_path / "clip.ts", levels(20), "mpeg2video").read_bytes(), threading.Event()
    with serving(answering(content, holding=holding)) as address:
        for frame in f2edge.frames(address, live=True, timeout=4):
            assert frame.array.shape == (48, 64, 3)
            break
        gc.collect()
        assert reader_threads() == []
        with pytest.raises(ZeroDivisionError), f2edge.frames(address, live=True, timeout=4) as frames:
            raise ZeroDivisionError(next(frames))
        assert reader_threads() == []
        holding.set()


def test_a_silent_source_is_given_up(tmp_path: Path) -> None:
    """A sender that sends no more ends with an error after the frames that came; one that never sends, at the call."""
    content, holding = save_video(tmp_path / "clip.ts", levels(20), "mpeg2video").read_bytes(), threading.Event()
    with serving(answering(content, holding=holding)) as address:
        frames = f2edge.frames(address, live=True, timeout=4)
        next(frames)
        with pytest.raises(VideoError, match=r"breaks off after frame \d+ \(\d\.\d s\): nothing came for 4 s"):
            list(frames)
        holding.set()
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(VideoError, match=r"nothing came for 0\.5 s"):
        f2edge.frames(f"http://127.0.0.1:{silent.getsockname()[1]}/x", timeout=0.5)
    assert reader_threads() == []


@pytest.mark.parametrize("kind", ["redirection", "playlist"])
def test_an_address_leads_to_no_file(tmp_path: Path, kind: str) -> None:
    """A server can send FFmpeg to no file of this machine, by a redirection or by a playlist."""
    secret = save_video(tmp_path / "secret.ts", levels(9), "mpeg2video").as_uri().replace("file://", "file:")
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n{secret}\n#EXT-X-ENDLIST\n".encode()
    handler = redirecting(secret) if kind == "redirection" else answering(playlist)
    with serving(handler) as address, pytest.raises(VideoError, match=r"cannot be opened|gives no frame|has no video"):
        list(f2edge.frames(f"{address}/a.m3u8", timeout=5))


def test_nobody_there() -> None:
    """An address where nothing listens is refused at once, and no password is shown."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for scheme in ("rtsp", "http"):
        with pytest.raises(
            VideoError, match=rf"^{scheme}://me:\*\*\*@127\.0\.0\.1:{port}/x cannot be opened: the connection"
        ):
            f2edge.frames(f"{scheme}://me:secret@127.0.0.1:{port}/x", timeout=5)


SENDER = """
import sys, time, av, numpy as np
for _ in range(600):
    try:
        container = av.open(sys.argv[1], "w", format="rtsp", options={"rtsp_transport": "tcp"})
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
        break
    except av.error.FFmpegError:
        time.sleep(0.1)
for level in range(20, 220, 10):
    container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8), format="rgb24")))
container.mux(stream.encode())
container.close()
"""


def test_rtsp() -> None:
    """A session over RTSP and RTP, with FFmpeg at the other end, gives frames, and its newest one last.

    FFmpeg has no server of RTSP that plays, so the source listens and the other end announces what it sends.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"rtsp://127.0.0.1:{server.getsockname()[1]}/live"
    with subprocess.Popen([sys.executable, "-c", SENDER, address]) as sender:  # noqa: S603
        options = {"rtsp_flags": "listen", "listen_timeout": str(int(PATIENCE))}
        with f2edge.frames(address, timeout=PATIENCE, options=options) as frames:
            assert frames.live
            received = list(frames)
        assert sender.wait(PATIENCE) == 0
    assert received[-1].index == 19
    assert received[-1].array.mean() == pytest.approx(210, abs=3)
    assert len(received) + sum(frame.dropped for frame in received) == 20
    assert reader_threads() == []


def test_a_program_ends_that_closes_nothing(tmp_path: Path) -> None:
    """A program whose live source is still open at its end exits by itself, without a word."""
    content, holding = save_video(tmp_path / "clip.ts", levels(20), "mpeg2video").read_bytes(), threading.Event()
    program = "import f2edge, sys\nframes = f2edge.frames(sys.argv[1], live=True, timeout=4)\nprint(next(frames).size)"
    with serving(answering(content, holding=holding)) as address:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", program, address], capture_output=True, check=False, text=True, timeout=10 * PATIENCE
        )
        holding.set()
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "(64, 48)", "")
