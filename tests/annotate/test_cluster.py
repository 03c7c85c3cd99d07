"""A run on a cluster of Ray gives the tables of a run on one machine, also if an actor is killed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING
from uuid import uuid4

import pyarrow.parquet as pq
import pytest

from f2edge.annotate.cluster import connection
from f2edge.annotate.cluster.connection import Node
from f2edge.annotate.cluster.driver import check_room, cores_of_each
from f2edge.errors import DeviceError
from tests.support.annotations import write_photos
from tests.support.command import f2edge, f2edge_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PICTURES, SHARD = 12, 2
TWO = ("--workers", 2, "--threads", 1)

needs_ray = pytest.mark.skipif(not find_spec("ray"), reason="install the extra ray to run this test")


def arguments(tiny_bundle: Path, photos: Path) -> tuple[object, ...]:
    """Return a command whose shards take long enough that one of them can be interrupted."""
    asked = ("--tasks", "caption,od", "--num-beams", 2, "--max-new-tokens", 64, "--min-confidence", 0)
    return ("annotate", tiny_bundle, photos, *asked, "--shard", SHARD, "--threads", 1, "--sheet", 0)


def tables(output: Path) -> dict[str, object]:
    """Return the tables of a run's shards by the names of their files."""
    return {path.name: pq.read_table(path) for path in sorted((output / "shards").glob("*.parquet"))}


def files(output: Path) -> set[str]:
    """Return the paths of all files of a run."""
    return {path.relative_to(output).as_posix() for path in output.rglob("*")}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write pictures; one of them is broken."""
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, PICTURES)
    (folder / "05.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    return folder


@pytest.fixture(scope="module")
def alone(tiny_bundle: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Annotate the pictures on this machine, without a cluster."""
    output = tmp_path_factory.mktemp("alone") / "out"
    assert f2edge(*arguments(tiny_bundle, photos), "-o", output).code == 0
    return output


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Start a cluster of two cores, to which only who has its token can connect; return its address."""
    with pytest.MonkeyPatch.context() as patch:
        values = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid4().hex, "RAY_raylet_start_wait_time_s": "300"}
        for name, value in {**values, "RAY_USAGE_STATS_ENABLED": "0"}.items():
            patch.setenv(name, value)
        from ray.cluster_utils import Cluster  # takes the environment over when it is imported

        head = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": 80 * 2**20}
        started = Cluster(initialize_head=True, head_node_args=head)
        yield started.address
        started.shutdown()


@needs_ray
def test_two_actors_give_the_same_tables(
    alone: Path, cluster: str, tiny_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    """The shards, the statistics and all that is on stdout and stderr are those of a run on one machine."""
    output = tmp_path / "out"
    outcome = f2edge(*arguments(tiny_bundle, photos), *TWO, "-o", output, "--ray", cluster, "--json")
    again = f2edge(*arguments(tiny_bundle, photos), "-o", alone, "--json")
    assert (outcome.code, outcome.json, outcome.stderr) == (0, again.json, again.stderr)
    assert tables(output) == tables(alone)
    assert files(output) == files(alone)


class _Killer(threading.Thread):
    """Kills the process of an actor while it makes a shard.

    Attributes:
        killed: numbers of processes that were killed.
        retried: whether another process has begun the shard of one of them.
    """

    def __init__(self, output: Path) -> None:
        super().__init__(daemon=True)
        self.shards = output / "shards"
        self.killed: list[int] = []
        self.retried = False
        self.ended = threading.Event()

    def run(self) -> None:
        while not (self.retried or self.ended.is_set()):
            for note in self.shards.glob(".*.partial-tries") if any(self.shards.glob("*.parquet")) else ():
                self._kill(note)
            time.sleep(0.002)

    def _kill(self, note: Path) -> None:
        """Kill the process that has begun a shard that is not there, and see whether another one begins it."""
        shard = note.with_name(note.name[1:].partition(".partial")[0])
        begun = note.read_text().splitlines()
        if shard.exists() or len(begun) != 1:
            return
        self.killed.append(int(begun[0].split()[-1]))
        os.kill(self.killed[-1], signal.SIGKILL)
        while not (shard.exists() or self.ended.is_set()):
            time.sleep(0.01)
            self.retried |= note.exists() and len(note.read_text().splitlines()) > 1


@needs_ray
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_actor(alone: Path, cluster: str, tiny_bundle: Path, photos: Path, tmp_path: Path) -> None:
    """One of two actors is killed in the middle of a shard; the run finishes, no picture is lost or twice."""
    output = tmp_path / "out"
    killer = _Killer(output)
    killer.start()
    outcome = f2edge(*arguments(tiny_bundle, photos), *TWO, "-o", output, "--ray", cluster)
    killer.ended.set()
    killer.join()
    assert outcome.code == 0, outcome.stderr
    assert killer.retried
    assert tables(output) == tables(alone)
    assert files(output) == files(alone)
    rows = [row for table in tables(output).values() for row in table.to_pylist()]  # type: ignore[attr-defined]
    ids = [row["image"] for row in rows if row["kind"] == "picture"]
    assert ids == [f"{number:02d}.png" for number in range(PICTURES)]


@needs_ray
def test_a_cluster_by_itself(alone: Path, tiny_bundle: Path, photos: Path, tmp_path: Path) -> None:
    """With "auto" a cluster is started, which makes only the shards that are not there, says nothing, and ends."""
    output = shutil.copytree(alone, tmp_path / "out")
    (output / "shards" / "00003.parquet").unlink()
    before = {path: path.stat().st_mtime_ns for path in (output / "shards").iterdir()}
    outcome = f2edge_process(*arguments(tiny_bundle, photos), "-o", output, "--ray", "auto")
    assert (outcome.code, outcome.stderr.count("\n")) == (0, 1), outcome
    assert "1 of 12 pictures cannot be read" in outcome.stderr
    assert tables(output) == tables(alone)
    assert {path: path.stat().st_mtime_ns for path in before} == before


@needs_ray
def test_workers_without_room(cluster: str, tiny_bundle: Path, photos: Path, tmp_path: Path) -> None:
    """More workers than fit on the cluster are refused, instead of waiting for nodes for ever."""
    more = ("--workers", 3, "-o", tmp_path / "out", "--ray", cluster)
    error = f2edge(*arguments(tiny_bundle, photos), *more).error
    assert "3 --workers of 1 --threads each do not fit on the cluster: it has room for 2" in error


def test_no_cluster(tiny_bundle: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody listens, where somebody else does, and what is no address: one line each, after a bounded wait."""
    monkeypatch.setattr(connection, "_ANSWER_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        for address, reason in (
            (f"127.0.0.1:{closed.getsockname()[1]}", "Connection refused"),
            (f"127.0.0.1:{silent.getsockname()[1]}", "it was silent for 1 s"),
            ("ray://head:10001", "--ray is ray://head:10001; give auto, or HOST:PORT"),
            ("head", "give auto, or HOST:PORT"),
        ):
            more = ("-o", tmp_path / "out", "--ray", address)
            assert reason in f2edge(*arguments(tiny_bundle, photos), *more).error
    assert tables(tmp_path / "out") == {}


def test_ray_is_not_installed(tiny_bundle: Path, photos: Path, tmp_path: Path) -> None:
    """The extra is named before anything is done."""
    blocked = "import sys; sys.modules['ray'] = None"
    more = ("-o", tmp_path / "out", "--ray", "auto")
    outcome = f2edge_process(*arguments(tiny_bundle, photos), *more, first=blocked)
    assert outcome.error == "f2edge: ray is not installed; run: pip install 'f2edge[ray]'"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("workers", "nodes", "cores"),
    [(1, [8], 8), (2, [8], 4), (3, [8, 8], 4), (5, [8, 16], 4), (3, [2], 1), (2, [0, 4], 2)],
)
def test_cores_are_shared(workers: int, nodes: list[int], cores: int) -> None:
    """Each worker has as many cores as leave room for all of them; a worker is on one node."""
    assert cores_of_each(workers, [Node(count, 0) for count in nodes]) == cores


def test_a_gpu_for_each() -> None:
    """Workers that compute on a GPU have one each, and share the cores beside it."""
    nodes = [Node(16, 2), Node(16, 0)]
    assert cores_of_each(2, nodes, gpus=1) == 8
    check_room(2, nodes, 8, 1)
    with pytest.raises(DeviceError, match=r"3 `workers` of 1 `threads` and a GPU .* room for 2"):
        check_room(3, nodes, 1, 1)
