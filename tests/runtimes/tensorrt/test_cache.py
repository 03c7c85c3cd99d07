"""The cache of engines: each is built once, again after a change of what it depends on, and never read half-written."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from f2edge.bundle.manifest import COMPONENTS, open_bundle
from f2edge.runtimes.tensorrt import cache as engine_cache
from f2edge.runtimes.tensorrt.build import BuildOptions, Built
from f2edge.runtimes.tensorrt.cache import EngineCache

if TYPE_CHECKING:
    from pathlib import Path

GPU = SimpleNamespace(full_name="Orin", compute_capability=(8, 7), total_memory=8 * 2**30)
TENSORRT = SimpleNamespace(__name__="tensorrt", __version__="10.3.0")


class Builds:
    """A builder that remembers the components and options it was called with."""

    def __init__(self) -> None:
        self.components: list[str] = []
        self.options: list[BuildOptions] = []

    def __call__(self, _trt: Any, graph: Path, profile: Any, options: BuildOptions, progress: Any) -> Built:
        """Return a plan that names the component and its inputs."""
        self.components.append(graph.stem)
        self.options.append(options)
        progress(0.5)
        return Built(f"plan of {graph.stem} for {sorted(profile)}".encode(), b"timings")


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Builds:
    """Replace the builder, and give the test an empty user cache."""
    recorder = Builds()
    monkeypatch.setattr(engine_cache, "build_engine", recorder)
    monkeypatch.setenv("F2EDGE_CACHE", str(tmp_path / "cache"))
    return recorder


@pytest.fixture
def cache(tiny_jetson_bundle: Path, tmp_path: Path) -> EngineCache:
    """The engine cache of a copy of the portable bundle."""
    shutil.copytree(tiny_jetson_bundle, tmp_path / "bundle")
    return EngineCache(open_bundle(tmp_path / "bundle"), TENSORRT, GPU)


def test_a_second_start_does_not_build(cache: EngineCache, builds: Builds) -> None:
    """A second start reads the same bytes from the bundle's directory, and the bundle can still be opened."""
    first, second = cache.engines(), cache.engines()
    assert builds.components == list(COMPONENTS)
    assert [engine.built for engine in first.values()] == [True] * 3
    assert [engine.built for engine in second.values()] == [False] * 3
    assert {name: bytes(engine.plan) for name, engine in second.items()} == {
        name: engine.plan for name, engine in first.items()
    }
    assert {engine.path.parent for engine in second.values() if engine.path} == {cache.bundle.path / "engines"}
    open_bundle(cache.bundle.path)


def test_the_builder_gets_limit_and_timings(cache: EngineCache, builds: Builds) -> None:
    """A build gets a quarter of the memory, or what is asked for, and the timings of earlier builds on the same GPU."""
    shares: list[tuple[str, float]] = []
    cache.engines(lambda name, share: shares.append((name, share)))
    assert [each.workspace for each in builds.options] == [2 * 2**30] * 3
    assert [each.tf32 for each in builds.options] == [False] * 3
    assert [each.timing_cache for each in builds.options] == [b"", b"timings", b"timings"]
    assert shares[:3] == [("vision", 0.0), ("vision", 0.5), ("vision", 1.0)]
    replace(cache, gpu=SimpleNamespace(**{**vars(GPU), "full_name": "Thor"})).engines(workspace=7)
    assert builds.options[-1].workspace == 7
    assert builds.options[3].timing_cache == b""


def changed(cache: EngineCache) -> dict[str, EngineCache]:
    """Return the cache with one part of the key changed, for each part."""
    bundle = cache.bundle
    vision = bundle.components["vision"]
    weights = {**vision.sha256, "weights.data": "0" * 64}
    components = {
        "graph": bundle.components | {"vision": replace(vision, sha256=weights)},
        "precision": bundle.components | {"vision": replace(vision, precision="fp16")},
    }
    gpus = {"name": {"full_name": "Xavier"}, "capability": {"compute_capability": (8, 6)}}
    return {
        "version": replace(cache, trt=SimpleNamespace(__name__="tensorrt", __version__="10.3.1")),
        "library": replace(cache, trt=SimpleNamespace(__name__="tensorrt_rtx", __version__="10.3.0")),
        "profile": replace(cache, bundle=replace(bundle, generation=replace(bundle.generation, max_new_tokens=9))),
        **{part: replace(cache, bundle=replace(bundle, components=value)) for part, value in components.items()},
        **{part: replace(cache, gpu=SimpleNamespace(**{**vars(GPU), **value})) for part, value in gpus.items()},
    }


@pytest.mark.parametrize("part", ["version", "library", "profile", "graph", "precision", "name", "capability"])
def test_every_part_of_the_key_counts(part: str, cache: EngineCache, builds: Builds) -> None:
    """A change builds the engines that depend on it, no others, and leaves the old ones for a change back."""
    cache.engines()
    builds.components.clear()
    changed(cache)[part].engines()
    only = {"profile": ["decoder"], "graph": ["vision"], "precision": ["vision"]}
    assert builds.components == only.get(part, list(COMPONENTS))
    builds.components.clear()
    cache.engines()
    assert builds.components == []


@pytest.mark.parametrize("damage", [b"", b"f2edge engine 1\n", b"cut off", b"flipped", b"no header"])
def test_damaged_engines_are_built_again(damage: bytes, cache: EngineCache, builds: Builds) -> None:
    """A cached engine that is empty, cut off, changed or foreign is built again and replaced."""
    path = cache.engines()["encoder"].path
    assert path
    whole = path.read_bytes()
    damaged = {b"cut off": whole[:-5], b"flipped": whole[:-1] + b"x"}.get(damage, damage)
    path.write_bytes(damaged)
    engine = cache.engines()["encoder"]
    assert builds.components == [*COMPONENTS, "encoder"]
    assert engine.built
    assert path.read_bytes() == whole


def refuse(folder: Path) -> None:
    """Put a file where a directory should be, so that nobody can write there."""
    folder.write_bytes(b"")


def test_a_bundle_that_takes_no_files(cache: EngineCache, builds: Builds, tmp_path: Path) -> None:
    """Engines of a bundle that takes no files are kept in the user's cache, and read from there at the next start."""
    refuse(cache.bundle.path / "engines")
    second = [cache.engines() for _ in range(2)][1]
    assert {engine.path.parent for engine in second.values() if engine.path} == {tmp_path / "cache" / "engines"}
    assert builds.components == list(COMPONENTS)


def test_nowhere_to_keep_them(
    cache: EngineCache, builds: Builds, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Engines that no directory takes are used all the same, and a warning says that they could not be kept."""
    refuse(cache.bundle.path / "engines")
    refuse(tmp_path / "cache")
    assert [engine.path for engine in cache.engines().values()] == [None] * 3
    assert [engine.built for engine in cache.engines().values()] == [True] * 3
    assert len(builds.components) == 6
    assert "could not be kept" in caplog.text


_START = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from f2edge.bundle.manifest import open_bundle
from f2edge.runtimes.tensorrt import cache as engine_cache
from f2edge.runtimes.tensorrt.build import Built
gpu = SimpleNamespace(full_name="Orin", compute_capability=(8, 7), total_memory=8 * 2**30)
trt = SimpleNamespace(__name__="tensorrt", __version__="10.3.0")
def build(_trt, graph, *_):
    print("building", graph.stem, flush=True)
    sys.stdin.readline()
    return Built(b"plan" * 1000, b"")
engine_cache.build_engine = build
engines = engine_cache.EngineCache(open_bundle({bundle!r}), trt, gpu).engines()
print([bytes(engine.plan) == b"plan" * 1000 for engine in engines.values()])
"""


def start(bundle: Path) -> subprocess.Popen[str]:
    """Start a process that loads the bundle's engines; each of its builds waits for a line on stdin."""
    command = [sys.executable, "-c", _START.format(bundle=str(bundle))]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603 - ours


def test_two_processes_at_once(cache: EngineCache, builds: Builds) -> None:
    """Two processes may build the same engines at once; both succeed, and a third start reads what they kept."""
    processes = [start(cache.bundle.path) for _ in range(2)]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "building vision\n"
    for process in processes:
        out, _ = process.communicate("\n" * 3, timeout=120)
        assert out.splitlines()[-1] == "[True, True, True]"
    assert all(not engine.built for engine in cache.engines().values())
    assert builds.components == []


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_while_building(cache: EngineCache, builds: Builds) -> None:
    """After a process was killed, the next start builds the missing engines and removes unfinished files."""
    process = start(cache.bundle.path)
    assert process.stdin
    assert process.stdout
    process.stdin.write("\n")
    process.stdin.flush()
    while process.stdout.readline() != "building encoder\n":
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    unfinished = cache.bundle.path / "engines" / f".encoder-0.engine.partial-{process.pid}"
    unfinished.write_bytes(b"half")
    assert [engine.built for engine in cache.engines().values()] == [False, True, True]
    assert builds.components == ["encoder", "decoder"]
    assert not unfinished.exists()
    assert not list(unfinished.parent.glob(".*"))


def test_what_another_process_is_writing_stays(cache: EngineCache, builds: Builds) -> None:
    """A file that a living process is writing is not removed."""
    folder = cache.bundle.path / "engines"
    folder.mkdir()
    theirs = folder / f".vision-0.engine.partial-{os.getppid()}"
    theirs.write_bytes(b"half")
    cache.engines()
    assert theirs.exists()
    assert len(builds.components) == 3
