"""Find the noun phrases of a text with a pipeline of spaCy, which the user has installed or trained."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from f2edge.annotate.phrases import Place
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
        identity: the version of spaCy, the pipeline's name and version, and the beginning of the SHA-256 of its data.
    """

    place: str
    identity: str

    def noun_phrases(self, text: str) -> tuple[Place, ...]:
        """Return where the noun phrases of a text stand, without their articles; pronouns do not count.

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
    if place and Path(place).is_dir():
        place = str(Path(place).resolve())
    identity, pipeline = _load(place)
    if pipeline.lang != "en" or not tuple(_phrases(pipeline, _PROBE)):
        raise InputError(f"`parser` {shown(place)} finds no noun phrases of English; give a pipeline that does")
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
    name = f"{pipeline.lang}_{pipeline.meta['name']} {pipeline.meta['version']}"
    return f"spacy {version('spacy')} {name} ({_digest(pipeline)})", pipeline


def _digest(pipeline: Any) -> str:
    """Return the beginning of the SHA-256 of all that a parse depends on; word vectors are not copied for it."""
    sha256 = hashlib.sha256(pipeline.to_bytes(exclude=["vocab"]))
    sha256.update(pipeline.vocab.lookups.to_bytes())
    sha256.update(np.ascontiguousarray(pipeline.vocab.vectors.data).data)
    return sha256.hexdigest()[:8]


def _phrases(pipeline: Any, text: str) -> Iterator[Place]:
    """Yield noun phrases; a pipeline without a parser, or of a language without noun phrases, has none."""
    document = pipeline(text)
    try:
        chunks = list(document.noun_chunks)
    except (ValueError, NotImplementedError):
        return
    for chunk in chunks:
        if chunk.root.pos_ != "PRON":
            words = chunk[1:] if len(chunk) > 1 and chunk[0].lower_ in _ARTICLES else chunk
            yield Place(words.start_char, words.end_char)
