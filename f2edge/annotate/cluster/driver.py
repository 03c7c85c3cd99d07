"""Annotate with the actors of a cluster: one shard of pictures at a time goes to each."""

from __future__ import annotations

import pickle
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from f2edge import __version__
from f2edge.annotate.cluster.actor import Actor, row
from f2edge.annotate.cluster.connection import LOCAL, connected, last_line
from f2edge.annotate.directory import Directory, shared
from f2edge.asking.workers import threads_of_each
from f2edge.bundle.manifest import open_bundle
from f2edge.errors import AnnotationError, DeviceError
from f2edge.machine import usable_cores
from f2edge.placement import parse_placement

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from f2edge.annotate.cluster.connection import Node
    from f2edge.annotate.running import Shard
    from f2edge.annotate.working import Job

_MOST_BLOCKS = 10_000
"""Ray keeps a record of each block; a run of more shards has several of them in one block."""


def annotate_on_cluster(
    job: Job, shards: Sequence[Shard], workers: int, address: str, done: Callable[[], object]
) -> None:
    """Make shards with actors of Ray, each of which holds a model and makes one shard after the other.

    Ray starts an actor that died again, and hands its shard out once more.

    Args:
        job: what is to be done.
        shards: those to make.
        workers: how many actors.
        address: "auto" for a cluster on this machine that is started for this and ended after it, or HOST:PORT of the
            head of one that this machine is a node of.
        done: is called after each picture, many times when a shard is done.

    Raises:
        AnnotationError: no cluster answers, a node does not share the output, the bundle or the pictures, or the work
            failed there.
        DeviceError: there is no room for the workers.
        InputError: the address is none.
        OSError: a shard cannot be written.
    """
    gpus = int(_takes_gpu(job))
    threads = threads_of_each(workers, job.threads) or usable_cores() if address == LOCAL else job.threads
    with shared(job.directory) as directory, connected(address) as nodes:
        cores = threads or cores_of_each(workers, nodes, gpus)
        check_room(workers, nodes, cores, gpus)
        told = replace(_absolute(job), directory=directory, threads=cores)
        with closing(_made(told, shards, workers, cores, gpus)) as rows:
            for made in rows:
                if made["failed"]:
                    raise pickle.loads(made["failed"])  # noqa: S301 - from our own actor
                for _ in range(made["pictures"]):
                    done()
    if missing := job.directory.missing():
        raise AnnotationError(f"{job.directory.place} lacks {len(missing)} shards; run the same command again")


def cores_of_each(workers: int, nodes: Sequence[Node], gpus: int = 0) -> int:
    """Return the most cores that each worker can have if all are to fit; 1 if they do not fit."""
    most = max((node.cores for node in nodes), default=1)
    return next((each for each in range(most, 1, -1) if _room(nodes, each, gpus) >= workers), 1)


def check_room(workers: int, nodes: Sequence[Node], cores: int, gpus: int = 0) -> None:
    """Refuse more workers than fit on the nodes.

    Raises:
        DeviceError: they do not fit.
    """
    if (room := _room(nodes, cores, gpus)) < workers:
        each = f"{cores} `threads`" + " and a GPU" * gpus
        raise DeviceError(f"{workers} `workers` of {each} each do not fit on the cluster: it has room for {room}")


def _room(nodes: Sequence[Node], cores: int, gpus: int) -> int:
    return sum(node.room(cores, gpus) for node in nodes)


def _takes_gpu(job: Job) -> bool:
    """Tell whether workers compute on a GPU of NVIDIA, which Ray has to give them."""
    bundle = open_bundle(job.bundle, check_hashes=False)
    devices = parse_placement(job.device, bundle.recipe.device).devices().values()
    return any(device.startswith("CUDA") for device in devices)


def _absolute(job: Job) -> Job:
    before = job.before and Directory(job.before.place.absolute(), job.before.description)
    return replace(job, bundle=job.bundle.absolute(), before=before)


def _made(
    job: Job, shards: Sequence[Shard], workers: int, cores: int, gpus: int
) -> Generator[dict[str, Any], None, None]:
    """Yield what the actors return, in whatever order.

    Raises:
        AnnotationError: Ray gave up.
    """
    import ray.data  # noqa: PLC0415

    rows = ray.data.from_items(list(map(row, shards)), override_num_blocks=min(len(shards), _MOST_BLOCKS))
    made = rows.map_batches(
        Actor,
        fn_constructor_args=(job, __version__),
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
        num_cpus=cores,
        num_gpus=gpus,
    )
    try:
        yield from made.iter_rows()
    except ray.exceptions.RayError as error:
        raise AnnotationError(f"Ray gave up ({last_line(str(error))}); run the same command again to go on") from error
