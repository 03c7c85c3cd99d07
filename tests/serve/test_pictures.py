"""The store of encoded pictures: bounded, and the one that was asked about longest ago goes first."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from f2edge.serve.pictures import Pictures, bytes_of_features
from f2edge.serve.refusals import Refusal

if TYPE_CHECKING:
    from f2edge.asking.encoded import EncodedImage


def encoded(name: str) -> EncodedImage:
    """Return something that stands for an encoded picture."""
    return cast("EncodedImage", name)


def test_the_oldest_goes_first() -> None:
    """Of three pictures in a store of two, the one that nobody asked about."""
    pictures = Pictures(2, 1000, 10)
    ids = [pictures.encoded(name.encode(), lambda name=name: encoded(name))[0] for name in "ab"]  # type: ignore[misc]
    assert pictures.get(ids[0]) == "a"
    pictures.encoded(b"c", lambda: encoded("c"))
    assert pictures.get(ids[0]) == "a"
    with pytest.raises(Refusal, match="send it again"):
        pictures.get(ids[1])
    assert len(pictures) == 2


def test_a_picture_is_encoded_once() -> None:
    """The second time it is there."""
    pictures = Pictures(2, 1000, 10)
    first = pictures.encoded(b"a", lambda: encoded("a"))
    assert pictures.encoded(b"a", lambda: pytest.fail("encoded again")) == first


def test_the_bytes_are_bounded() -> None:
    """A store of 25 bytes has room for two pictures of 10, and one of 5 bytes for none."""
    assert Pictures(99, 25, 10).room == 2
    small = Pictures(99, 5, 10)
    small.encoded(b"a", lambda: encoded("a"))
    assert len(small) == 0
    assert bytes_of_features(577, 768) == 577 * 768 * 4


def test_ids_tell_nothing_of_pictures() -> None:
    """Another server has another id for the same picture."""
    assert Pictures(1, 10, 1).id_of(b"a") != Pictures(1, 10, 1).id_of(b"a")
