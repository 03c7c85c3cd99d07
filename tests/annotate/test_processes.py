"""Several processes on this machine: the output of one, and what happens if one of them, or their parent, dies."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from f2edge.machine import usable_cores
from tests.support.annotations import stop_at, tables, write_photos
from tests.support.command import f2edge, finish, start

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc to find the processes")
PICTURES = 12
QUICK = ("--tasks", "caption,od", "--num-beams", 1, "--max-new-tokens", 8, "--shard", 2, "--min-confidence", 0)
TWO = ("--workers", 2, "--threads", 1)
SECONDS = 60
FIRST_SHARD = 4
"""The call that makes the first shard durable, which is there then."""


@pytest.fixture(scope="module", autouse=True)
def _two_cores() -> Iterator[None]:
    """Let this process use all cores again, of which each of several processes of pytest keeps one."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    if usable_cores() < 2:
        pytest.skip("needs two cores")
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a dozen pictures."""
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, PICTURES)
    return folder


@pytest.fixture(scope="module")
def alone(tiny_bundle: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Annotate the pictures with one worker."""
    output = tmp_path_factory.mktemp("alone") / "out"
    assert f2edge("annotate", tiny_bundle, photos, "-o", output, *QUICK).code == 0
    return output


def wait_for(something: Callable[[], object]) -> None:
    """Wait until something is true."""
    until = time.monotonic() + SECONDS
    while not something():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)


def stopped(process: subprocess.Popen[str]) -> list[int]:
    """Wait until a run has stopped; return the process ids of its workers."""
    assert process.stdout
    assert process.stdout.readline() == "reached\n"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_two_processes(alone: Path, tiny_bundle: Path, photos: Path, tmp_path: Path) -> None:
    """Two processes write the tables of one, in its order."""
    assert f2edge("annotate", tiny_bundle, photos, "-o", tmp_path / "out", *QUICK, *TWO).code == 0
    assert tables(tmp_path / "out") == tables(alone)


def test_a_worker_dies(alone: Path, tiny_bundle: Path, photos: Path, tmp_path: Path) -> None:
    """A worker that is killed, as for want of memory, ends the run in one line; the next call goes on."""
    command = ("annotate", tiny_bundle, photos, "-o", tmp_path / "out", *QUICK, *TWO)
    process = start(*command, first=stop_at(FIRST_SHARD, seconds=1))
    os.kill(stopped(process)[0], signal.SIGKILL)
    assert finish(process).error == (
        "f2edge: a process of --workers has died, perhaps for want of memory; run the same command again to go on"
    )
    assert 0 < len(tables(tmp_path / "out")) < PICTURES // 2
    assert f2edge(*command).code == 0
    assert tables(tmp_path / "out") == tables(alone)


@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT", "SIGTERM"])
def test_workers_end_with_their_parent(how: str, tiny_bundle: Path, photos: Path, tmp_path: Path) -> None:
    """No worker is left, nor writes anything, after the run was killed, interrupted or terminated."""
    command = ("annotate", tiny_bundle, photos, "-o", tmp_path / "out", *QUICK, *TWO)
    process = start(*command, first=stop_at(FIRST_SHARD))
    workers = stopped(process)
    process.send_signal(signal.Signals[how])
    assert finish(process).code != 0
    wait_for(lambda: not any(Path(f"/proc/{worker}/cmdline").exists() for worker in workers))
    assert len(workers) == 2
    assert len(tables(tmp_path / "out")) == 1


def test_errors_of_workers(tiny_bundle: Path, photos: Path, tmp_path: Path) -> None:
    """What a worker refuses is told as by one worker; more workers than cores are refused."""
    command = ("annotate", tiny_bundle, photos, *QUICK, "--max-new-tokens", 5000, "-o")
    told = f2edge(*command, tmp_path / "one").error
    assert "5000" in told
    assert f2edge(*command, tmp_path / "two", *TWO).error == told
    many = usable_cores() + 1
    assert (
        f"{many} --workers of 1 --threads each take {many} cores"
        in f2edge(*command, tmp_path / "many", "--workers", many).error
    )
