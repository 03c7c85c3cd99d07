"""What annotates shards, on this machine or on a node of a cluster: one model, with all that it needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from f2edge.annotate.asking import Annotator
from f2edge.annotate.refining import refine
from f2edge.annotate.running import annotate
from f2edge.model import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from f2edge.annotate.directory import Directory
    from f2edge.annotate.records import Record
    from f2edge.annotate.running import Shard
    from f2edge.annotate.settings import Settings


@dataclass(frozen=True)
class Job:
    """What the workers of a run have to do; it can be sent to another process.

    Args:
        bundle: the directory of the bundle.
        settings: what is asked, and what is kept.
        directory: where the shards are written.
        before: the finished run that is refined, if any.
        device: the device of the engine; None for that of the bundle.
        threads: CPU threads of each worker; None lets the engine choose.
    """

    bundle: Path
    settings: Settings
    directory: Directory
    before: Directory | None = None
    device: str | None = None
    threads: int | None = None

    def refined(self, shard: int, records: Sequence[Record]) -> Sequence[Record]:
        """Return the records of a shard after the refinement, if a run is refined."""
        return refine(list(self.before.read(shard)), records, self.settings) if self.before else records


class Worker:
    """Annotates shards with one model.

    Args:
        job: what is to be done.

    Raises:
        BundleError: the bundle is damaged, or there is none.
        DeviceError: the device is not there or cannot load the graphs.
        LimitError: the bundle cannot do what the settings want.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._model = load(job.bundle, job.device, threads=job.threads)
        self._model.settings(job.settings.num_beams, job.settings.max_new_tokens)
        about = job.directory.description
        self.annotator = Annotator(self._model, job.settings, about.bundle["sha256"], about.passed)
        """Annotates one picture."""

    def annotate(self, shards: Iterable[Shard], done: Callable[[], object] = lambda: None) -> None:
        """Annotate the pictures of shards, and write each shard as soon as it is whole; ``done`` follows each picture.

        Raises:
            AnnotationError: this process must not write there.
            DeviceError: the engine failed; the shards until then are written.
            OSError: a shard cannot be written; those before it are.
        """
        annotate(self._job.directory, shards, self.annotator, done=done, refined=self._job.refined)

    def close(self) -> None:
        """Free the model."""
        self._model.close()
