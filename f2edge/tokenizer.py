"""Convert text to token ids and back, with the tokens of Florence-2 (docs/florence2.md#tokenizer)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import AddedToken
from tokenizers import Tokenizer as _Backend

from f2edge.errors import CheckpointError, TaskError
from f2edge.paths import is_dir, is_file
from f2edge.tasks.location import BINS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from f2edge.arrays import IntArray

_SPLIT_CHARACTER = "\ufffd"

# Microsoft's processor adds these when it starts; transformers' files hold them.  The order fixes the ids,
# and one name is misspelt in the original.
_NAMES_BEFORE = ("<od>", "</od>", "<ocr>", "</ocr>")
_NAMES_AFTER = (
    *("<cap>", "</cap>", "<ncap>", "</ncap>", "<dcap>", "</dcap>", "<grounding>", "</grounding>"),
    *("<seg>", "</seg>", "<sep>", "<region_cap>", "</region_cap>"),
    *("<region_to_desciption>", "</region_to_desciption>", "<proposal>", "</proposal>"),
    *("<poly>", "</poly>", "<and>"),
)
ADDED_TOKENS = (*_NAMES_BEFORE, *(f"<loc_{number}>" for number in range(BINS)), *_NAMES_AFTER)
"""The 1,024 tokens that Florence-2 has beyond BART's, in the order of their ids."""


class Tokenizer:
    """Byte-level BPE with the tokens of Florence-2.

    Args:
        backend: a tokenizer of the package ``tokenizers``; missing location tokens are added.

    Raises:
        CheckpointError: it does not put ``<s>`` and ``</s>`` around a text.
    """

    LINE_BREAK = "\u010a"
    """A line break in the name of a token."""

    def __init__(self, backend: _Backend) -> None:
        backend.no_truncation()
        backend.no_padding()
        if backend.token_to_id("<loc_0>") is None:
            backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in ADDED_TOKENS])
        self._backend = backend
        self._location_ids = _location_ids(backend)
        self._locations = frozenset(self._location_ids)
        if backend.encode("").tokens != ["<s>", "</s>"]:
            raise CheckpointError("it does not put <s> and </s> around a text: not Florence-2's tokenizer")

    @classmethod
    def from_file(cls, path: str | Path) -> Tokenizer:
        """Read a ``tokenizer.json`` of Microsoft or transformers, or the one in the directory of a checkpoint.

        Raises:
            CheckpointError: there is no such file, or it is not the tokenizer of a Florence-2 model.
        """
        file = Path(path) / "tokenizer.json" if is_dir(Path(path)) else Path(path)
        if not is_file(file):
            raise CheckpointError(f"no tokenizer at {file}: a checkpoint needs its tokenizer.json")
        try:
            return cls(_Backend.from_file(str(file)))
        except CheckpointError as error:
            raise CheckpointError(f"{file}: {error}") from error
        except Exception as error:  # the package raises bare Exception
            raise CheckpointError(f"{file} is not a tokenizer.json ({error}): fetch it again") from error

    @property
    def vocab_size(self) -> int:
        """The number of tokens, added ones included."""
        size: int = self._backend.get_vocab_size(with_added_tokens=True)
        return size

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text between ``<s>`` and ``</s>``.

        Raises:
            TaskError: the text holds surrogates, as a command line that is not UTF-8 does.
        """
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise TaskError(
                f"the text is not valid Unicode from character {error.start + 1} on; give it in UTF-8"
            ) from error
        ids: list[int] = self._backend.encode(text).ids
        return ids

    def decode(self, token_ids: Sequence[int]) -> str:
        """Return the text of token ids, with special tokens, without clean-up or spaces between tokens."""
        text: str = self._backend.decode(list(token_ids), skip_special_tokens=False)
        return text

    def decode_tokens(self, token_ids: Sequence[int]) -> list[str]:
        """Return the text of each token; joined they are ``decode(token_ids)``.

        A character that is split over several tokens belongs to the last of them.
        """
        pieces = list(self.pieces(token_ids))
        if len(pieces) > len(token_ids):  # cut off within a character
            pieces[-2:] = pieces[-1:]
        return pieces

    def decode_each(self, token_ids: Sequence[int]) -> list[str]:
        """Return the text of each token by itself: a part of a character is one U+FFFD."""
        return [self.decode([token_id]) for token_id in token_ids]

    def pieces(self, token_ids: Iterable[int]) -> Iterator[str]:
        """Text of each token as it comes; joined they are the text of all.

        A token within a character has an empty piece.  If the tokens end there, what there is of the character comes
        as one more piece.
        """
        pending: list[int] = []
        for token_id in token_ids:
            pending.append(token_id)
            piece = self.decode(pending)
            if piece.endswith(_SPLIT_CHARACTER):
                yield ""
            else:
                yield piece
                pending.clear()
        if pending:
            yield self.decode(pending)

    def location_id(self, number: int) -> int:
        """The id of ``<loc_number>``, for 0 to 999."""
        return self._location_ids[number]

    def is_location(self, token_id: int) -> bool:
        """Tell whether a token is one of ``<loc_0>`` to ``<loc_999>``."""
        return token_id in self._locations

    def bins(self, size: int) -> IntArray:
        """Return the bin of each of ``size`` tokens, (size,) int64; -1 for one that is no location."""
        bins = np.full(size, -1)
        bins[self._location_ids] = np.arange(BINS)
        return bins

    def special_id(self, name: str) -> int:
        """The id of a special token such as ``<poly>``.

        Raises:
            CheckpointError: there is no such token.
        """
        token_id: int | None = self._backend.token_to_id(name)
        if token_id is None:
            raise CheckpointError(f"it does not know {name}: not Florence-2's tokenizer")
        return token_id

    def plain_tokens(self) -> Iterator[tuple[int, str]]:
        """Yield the id and the name of each token that is text; a name has its bytes as byte-level BPE writes them.

        Letters, digits and signs of ASCII stand for themselves, and ``LINE_BREAK`` for a line break.
        """
        special = {token_id for token_id, token in self._backend.get_added_tokens_decoder().items() if token.special}
        for name, token_id in self._backend.get_vocab(with_added_tokens=True).items():
            if token_id not in special:
                yield token_id, name

    def to_text(self) -> str:
        """The content of a ``tokenizer.json`` that holds the added tokens too."""
        text: str = self._backend.to_str(pretty=False)
        return text

    def save(self, path: str | Path) -> None:
        """Write a ``tokenizer.json``."""
        Path(path).write_text(self.to_text(), encoding="utf-8")


def _location_ids(backend: _Backend) -> list[int]:
    ids = [backend.token_to_id(f"<loc_{number}>") for number in range(BINS)]
    known = [token_id for token_id in ids if token_id is not None]
    if len(known) < BINS:
        raise CheckpointError(f"it knows {len(known)} of 1000 location tokens: not Florence-2's tokenizer")
    return known
