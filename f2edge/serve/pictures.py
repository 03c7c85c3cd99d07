"""Encoded pictures that further questions may be about; the picture that was asked about longest ago goes first."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

from f2edge.serve.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from f2edge.asking.encoded import EncodedImage

_FLOAT = 4
_ID_BYTES = 16


class Pictures:
    """The encoded pictures of one server, by a keyed hash of their files.  Nothing of the files themselves is kept.

    The key is new with every server, so an id tells nobody which picture it stands for.

    Args:
        count: pictures that are kept.
        size: bytes of the memory that they may take together.
        each: bytes of the features of one picture.
    """

    def __init__(self, count: int, size: int, each: int) -> None:
        self.room = min(count, size // max(each, 1))
        self._key = secrets.token_bytes(_ID_BYTES)
        self._kept: OrderedDict[str, EncodedImage] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def id_of(self, content: bytes) -> str:
        """Return the id of the bytes of a picture file."""
        return hashlib.blake2b(content, key=self._key, digest_size=_ID_BYTES).hexdigest()

    def get(self, image_id: str) -> EncodedImage:
        """Return a picture that was sent before.

        Raises:
            Refusal: there is none of this id, or it had to go.
        """
        if image := self._find(image_id):
            return image
        raise Refusal(404, "image_gone", "the picture of this image_id is not kept any more; send it again as image")

    def encoded(self, content: bytes, encode: Callable[[], EncodedImage]) -> tuple[str, EncodedImage]:
        """Return the id of a picture and what its model made of it, now or before."""
        image_id = self.id_of(content)
        image = self._find(image_id)
        if image is None:
            image = encode()
            self._keep(image_id, image)
        return image_id, image

    def _find(self, image_id: str) -> EncodedImage | None:
        with self._lock:
            if image_id in self._kept:
                self._kept.move_to_end(image_id)
            return self._kept.get(image_id)

    def _keep(self, image_id: str, image: EncodedImage) -> None:
        with self._lock:
            self._kept[image_id] = image
            while len(self._kept) > self.room:
                self._kept.popitem(last=False)


def bytes_of_features(tokens: int, width: int) -> int:
    """Return the bytes that the features of a picture take, (tokens, width) float32."""
    return tokens * width * _FLOAT
