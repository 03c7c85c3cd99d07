"""Whatever a picture file holds: it is an RGB picture, or one line says why not."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from f2edge.errors import DatasetError, ImageError
from f2edge.evaluation.pictures import check_pictures
from f2edge.evaluation.samples import Dataset, Question, Sample
from f2edge.image import load_image
from tests.support.fuzzing import check_line, contained, damaged_bytes, examples

if TYPE_CHECKING:
    from pathlib import Path

ORIENTATION = 0x0112
BOX = Question("<OD>", labels=("a",), boxes=((1, 2, 3, 4),))


def pictures() -> dict[str, bytes]:
    """Return small picture files of eight formats, in modes that take different ways."""
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (20, 30, 3)).astype(np.uint8)).resize((60, 40))
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x010E] = "a description"
    alpha = rgb.copy()
    alpha.putalpha(rgb.convert("L"))
    palette = rgb.quantize(16)
    return {
        "png": saved(alpha, "PNG", exif=exif),
        "png palette": saved(palette, "PNG", transparency=bytes(range(16))),
        "png deep": saved(Image.fromarray(np.asarray(rgb.convert("I"), np.uint16) * 200), "PNG"),
        "jpeg": saved(rgb, "JPEG", exif=exif, progressive=True),
        "jpeg cmyk": saved(rgb.convert("CMYK"), "JPEG"),
        "gif": saved(palette, "GIF", save_all=True, append_images=[palette.rotate(90)], transparency=3),
        "webp": saved(alpha, "WEBP", lossless=True, exif=exif.tobytes()),
        "webp animated": saved(rgb, "WEBP", save_all=True, append_images=[rgb.rotate(90)]),
        "tiff": saved(rgb, "TIFF", compression="tiff_lzw", exif=exif),
        "tiff float": saved(rgb.convert("F"), "TIFF"),
        "bmp": saved(rgb, "BMP"),
        "bmp palette": saved(palette, "BMP"),
        "ppm": saved(rgb, "PPM"),
        "ico": saved(alpha, "ICO", sizes=[(16, 16), (32, 32)]),
    }


def saved(picture: Image.Image, kind: str, **settings: Any) -> bytes:
    """Return a picture as a file."""
    file = io.BytesIO()
    picture.save(file, kind, **settings)
    return file.getvalue()


FILES = pictures()


def decodes_or_says_why(folder: Path, content: bytes) -> None:
    """Read a picture from its bytes and from a file, and as the picture of a data set."""
    path = folder / "picture"
    path.write_bytes(content)
    for source in (content, path):
        with contained():
            try:
                picture = load_image(source)
            except ImageError as error:
                check_line(error)
            else:
                assert picture.mode == "RGB"
                assert picture.getpixel((0, 0))
    with contained():
        try:
            assert check_pictures(Dataset("", "", (Sample("a", path, (BOX,), (60, 40)),))).samples
        except DatasetError as error:
            check_line(error)


@pytest.mark.parametrize("name", FILES)
def test_the_pictures_themselves_are_sound(name: str, tmp_path: Path) -> None:
    """Without damage each is a picture, so that what the others see is due to the damage."""
    assert load_image(FILES[name]).size in {(60, 40), (40, 60), (32, 21)}
    decodes_or_says_why(tmp_path, FILES[name])


@pytest.mark.parametrize("name", FILES)
@examples(25)
@given(data=st.data())
def test_other_bytes(name: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Bytes changed, lost and repeated, mostly in the head of the file."""
    content = data.draw(damaged_bytes(FILES[name], head=64))
    decodes_or_says_why(tmp_path_factory.getbasetemp(), content)


SIZES = st.sampled_from([0, 1, 255, 4000, 9999, 10000, 16383, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1])


@pytest.mark.parametrize("name", FILES)
@examples(20)
@given(data=st.data())
def test_other_sizes(name: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """The bytes that say width or height say something else, up to what its field can hold."""
    content = bytearray(FILES[name])
    for side in data.draw(st.sampled_from([(60,), (40,), (60, 40), (59, 39), (16, 32), (32,)])):
        for written, field in fields(side, data.draw(SIZES)):
            if (place := content.find(written)) >= 0:
                content[place : place + len(written)] = field
                break
    decodes_or_says_why(tmp_path_factory.getbasetemp(), bytes(content))


def fields(old: int, new: int) -> list[tuple[bytes, bytes]]:
    """Return how formats write a size, and how another one in its place: 4 and 2 bytes of either order, digits, 1."""
    widths = [(form, 2 ** (8 * struct.calcsize(form)) - 1) for form in (">I", "<I", ">H", "<H", "B")]
    written = [(struct.pack(form, old), struct.pack(form, min(new, most))) for form, most in widths]
    return [*written[:4], (b"%d" % old, b"%d" % new), written[4]]
