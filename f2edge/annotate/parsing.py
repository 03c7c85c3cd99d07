"""Find the noun phrases of a text with a pipeline of spaCy, which the user has installed or trained."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from f2edge.errors import InputError, MissingExtraError
from f2edge.lines import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOT_NEEDED = ("ner", "lemmatizer")
"""Components that noun phrases do not depend on."""
_ARTICLES = ("a", "an", "the")
_PROBE = "a dog on a mat"


@dataclass(frozen=True)
class Parser:
    """A pipeline of spaCy; it can be sent to another process.

    Args:
        place: the name of an installed pipeline, or the path of its directory.
        identity: its name and version, and the beginning of the SHA-256 of its weights.
    """

    place: str
    identity: str

    def noun_phrases(self, text: str) -> tuple[str, ...]:
        """Return the noun phrases of a text without their articles, in their order; pronouns do not count.

        Raises:
            InputError: the pipeline is not there, or is another one than ``identity`` says.
            MissingExtraError: spaCy is not installed.
        """
        return tuple(_phrases(self._pipeline(), text))

    def _pipeline(self) -> Any:
        identity, pipeline = _load(self.place)
        if identity != self.identity:
            raise InputError(f"`parser` {shown(self.place)} is {identity} here; the run was begun with {self.identity}")
        return pipeline


def open_parser(place: str) -> Parser:
    """Load a pipeline of spaCy by the name of its package or the path of its directory.

    Raises:
        InputError: there is none, it cannot be loaded, or it finds no noun phrases.
        MissingExtraError: spaCy is not installed.
    """
    folder = Path(place)
    place = str(folder.resolve()) if folder.is_dir() else place
    identity, pipeline = _load(place)
    if not tuple(_phrases(pipeline, _PROBE)):
        raise InputError(f"`parser` {shown(place)} finds no noun phrase in {_PROBE!r}; give a pipeline for English")
    return Parser(place, identity)


@lru_cache(maxsize=1)
def _load(place: str) -> tuple[str, Any]:
    """Load a pipeline once in each process; return its identity, too."""
    if find_spec("spacy") is None:
        raise MissingExtraError("spacy", "spacy")
    import spacy  # noqa: PLC0415 - an optional package

    try:
        pipeline = spacy.load(place, exclude=_NOT_NEEDED)
    except Exception as error:  # of whatever is wrong with its files
        raise InputError(
            f"`parser` {shown(place)} is no pipeline that spaCy can load ({shown(error)}); "
            "install one, such as en_core_web_sm, or give the directory of one"
        ) from error
    about, weights = pipeline.meta, pipeline.to_bytes(exclude=["vocab"])
    digest = hashlib.sha256(weights).hexdigest()[:8]
    return f"spacy {about['lang']}_{about['name']} {about['version']} ({digest})", pipeline


def _phrases(pipeline: Any, text: str) -> Iterator[str]:
    """Yield noun phrases; a pipeline without a parser, or of a language without noun phrases, has none."""
    document = pipeline(text)
    try:
        chunks = list(document.noun_chunks)
    except (ValueError, NotImplementedError):
        return
    for chunk in chunks:
        if chunk.root.pos_ != "PRON":
            words = chunk[1:] if chunk[0].lower_ in _ARTICLES else chunk
            yield words.text
