"""What is asked about each picture, and what is kept of the answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from f2edge.bundle.user_cache import digest
from f2edge.errors import InputError, TaskError
from f2edge.lines import shown
from f2edge.numbers import is_number, is_whole
from f2edge.tasks.table import resolve, short_name

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from f2edge.annotate.parsing import Parser

TEXTS = ("<CAPTION>", "<DETAILED_CAPTION>", "<MORE_DETAILED_CAPTION>")
OBJECTS = "<OD>"
REGIONS = (OBJECTS, "<DENSE_REGION_CAPTION>", "<REGION_PROPOSAL>", "<OCR_WITH_REGION>")
GROUNDING = "<CAPTION_TO_PHRASE_GROUNDING>"
SEGMENTATION = "<REFERRING_EXPRESSION_SEGMENTATION>"
ALL = (*TEXTS, *REGIONS, GROUNDING, SEGMENTATION)
"""The tasks that pictures are annotated with, in the order of their records."""

DEFAULT_SHARD = 100
DEFAULT_CONFIDENCE = 0.3
DEFAULT_NMS = 0.7


def parse_tasks(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of tasks in the order of ``ALL``.

    Raises:
        TaskError: a task is unknown, cannot annotate, or needs another one.
    """
    asked = {resolve(name).name for name in names if name.strip()}
    if strange := sorted(asked - {*ALL}):
        names = ", ".join(map(short_name, ALL))
        raise TaskError(f"{short_name(strange[0])} does not annotate a picture; choose of {names}")
    if not asked:
        raise TaskError(f"`tasks` names no task; choose of {', '.join(map(short_name, ALL))}")
    if GROUNDING in asked and not asked & {*TEXTS}:
        raise TaskError(
            f"{short_name(GROUNDING)} needs a text to ground; add one of {', '.join(map(short_name, TEXTS))}"
        )
    if SEGMENTATION in asked and GROUNDING not in asked:
        raise TaskError(f"{short_name(SEGMENTATION)} needs phrases; add {short_name(GROUNDING)}")
    return tuple(name for name in ALL if name in asked)


def read_blacklist(path: Path) -> tuple[str, ...]:
    """Read phrases, one a line; empty lines and those that begin with # do not count.

    Raises:
        InputError: the file is not UTF-8.
        OSError: it cannot be read.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8; convert it") from error
    phrases = (" ".join(line.split()).casefold() for line in lines)
    return tuple(sorted({phrase for phrase in phrases if phrase and not phrase.startswith("#")}))


@dataclass(frozen=True)
class Settings:
    """The settings of a run.

    Args:
        tasks: names of tasks, as :func:`parse_tasks` returns them.
        shard: how many pictures a file of the output is about.
        min_confidence: regions and phrases below are dropped, 0 to 1.
        nms: two regions of a task with an IoU of at least this are the same one, above 0 and up to 1.
        min_objects: texts with fewer distinct phrases are dropped.
        min_relations: texts with fewer pairs of phrases that words join are dropped.
        parser: finds the phrases of texts; None counts those that the model locates.
        blacklist: phrases, in small letters; what has one of them is dropped.
        num_beams: beams of the search; None for those of the bundle.
        max_new_tokens: of the longest answer; None for the limit of the bundle.
    """

    tasks: tuple[str, ...] = ALL
    shard: int = DEFAULT_SHARD
    min_confidence: float = DEFAULT_CONFIDENCE
    nms: float = DEFAULT_NMS
    min_objects: int = 0
    min_relations: int = 0
    parser: Parser | None = None
    blacklist: tuple[str, ...] = ()
    num_beams: int | None = None
    max_new_tokens: int | None = None

    def __post_init__(self) -> None:
        """Refuse values out of their range.

        Raises:
            InputError: a value is of the wrong kind or out of its range.
        """
        for name, least in (("shard", 1), ("min_objects", 0), ("min_relations", 0)):
            value = getattr(self, name)
            if not is_whole(value) or value < least:
                raise InputError(f"`{name}` is {shown(value)}; give a whole number of at least {least}")
        if not is_number(self.min_confidence) or not 0 <= self.min_confidence <= 1:
            raise InputError(f"`min_confidence` is {shown(self.min_confidence)}; give a number from 0 to 1")
        if not is_number(self.nms) or not 0 < self.nms <= 1:
            raise InputError(f"`nms` is {shown(self.nms)}; give an IoU above 0 and up to 1")
        if self.complexity == "none" and (self.min_objects or self.min_relations):
            name = "min_objects" if self.min_objects else "min_relations"
            lacks = f"add {short_name(GROUNDING)} to the tasks, or give a `parser`"
            if not self._has_texts:
                lacks = f"add one of {', '.join(map(short_name, TEXTS))} to the tasks"
            raise InputError(f"`{name}` is about the phrases of texts; {lacks}")

    @property
    def complexity(self) -> str:
        """What the objects and relations of texts are counted with: a parser, "grounding", or "none"."""
        if self.parser and self._has_texts:
            return self.parser.identity
        return "grounding" if GROUNDING in self.tasks else "none"

    @property
    def _has_texts(self) -> bool:
        return not {*TEXTS}.isdisjoint(self.tasks)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON values: of a parser which one it is, not where it lies."""
        lists = {"tasks": list(map(short_name, self.tasks)), "blacklist": list(self.blacklist)}
        parser = self.parser.identity if self.parser else None
        return {**asdict(self), **lists, "parser": parser, "complexity": self.complexity}

    def sha256(self) -> str:
        """Return the SHA-256 of everything that an annotation depends on; the size of shards is not among it."""
        return digest({name: value for name, value in self.to_json().items() if name != "shard"})
