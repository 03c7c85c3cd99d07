"""Images of every kind and source give transformers' pixels; anything else is refused in one line."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from f2edge.errors import ImageError
from f2edge.image import MAX_PIXELS, load_image, pixel_values
from f2edge.processing import ImageProcessing
from tests.support.oracles import load

if TYPE_CHECKING:
    from pathlib import Path

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@pytest.fixture(scope="module")
def oracle(oracles_dir: Path) -> dict[str, Any]:
    """Return the description of the recorded images."""
    described: dict[str, Any] = load(oracles_dir / "preprocess.json")
    return described


def opened(oracles_dir: Path, entry: dict[str, Any]) -> Image.Image:
    """Open the image of an entry and do what the entry says is done before."""
    image: Image.Image = Image.open(oracles_dir / entry["file"])
    if entry["before"] == "exif_transpose":
        return ImageOps.exif_transpose(image)
    if entry["before"] == "convert_rgb":
        return image.convert("RGB")
    return image


def png(width: int, height: int) -> bytes:
    """Return a PNG whose header claims a size and whose data are 64 bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress(b"\0" * 64))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rows + chunk(b"IEND", b"")


def test_every_entry_has_the_stated_rgb_bytes(oracles_dir: Path, oracle: dict[str, Any]) -> None:
    """All 15 recorded images convert to the recorded RGB bytes."""
    assert len(oracle["images"]) == 15
    for entry in oracle["images"]:
        rgb = np.asarray(load_image(opened(oracles_dir, entry)))
        assert list(rgb.shape) == entry["rgb_shape"], entry["name"]
        assert hashlib.sha256(rgb.tobytes()).hexdigest() == entry["rgb_sha256"], entry["name"]


@pytest.mark.parametrize("size", [768, 192])
def test_every_entry_has_the_stated_values(oracles_dir: Path, oracle: dict[str, Any], size: int) -> None:
    """All 15 recorded images give the recorded pixel values within 1e-6, at 768 and at 192 pixels."""
    expected = load(oracles_dir / "preprocess.npz")
    checked = 0
    for entry in oracle["images"]:
        values = pixel_values(load_image(opened(oracles_dir, entry)), (size, size), MEAN, STD)
        assert values.shape == (1, 3, size, size)
        assert values.dtype == np.float32
        some = values.ravel()[expected[f"index_{size}"]]
        np.testing.assert_allclose(some, expected[f"{entry['name']}_{size}"], rtol=0, atol=1e-6)
        stats = entry["stats"][str(size)]
        np.testing.assert_allclose(values.mean((0, 2, 3)), stats["channel_means"], atol=1e-4)
        checked += 1
    assert checked == 15


def test_rgb_of_a_path_has_its_rotation_applied(oracles_dir: Path, oracle: dict[str, Any]) -> None:
    """The EXIF rotation of a path or of bytes is applied; that of a PIL image is not."""
    hashes = {entry["name"]: entry["rgb_sha256"] for entry in oracle["images"]}
    path = oracles_dir / "preprocess_images" / "exif.jpg"
    for image in (load_image(path), load_image(str(path)), load_image(path.read_bytes())):
        assert hashlib.sha256(image.tobytes()).hexdigest() == hashes["exif_applied"]
    assert hashlib.sha256(load_image(Image.open(path)).tobytes()).hexdigest() == hashes["exif"]


def test_height_and_width_are_not_mixed_up() -> None:
    """The size is given as height, then width."""
    assert pixel_values(Image.new("RGB", (5, 4)), (2, 3), MEAN, STD).shape == (1, 3, 2, 3)


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 3), (3, 4, 4)])
def test_arrays(shape: tuple[int, ...]) -> None:
    """Grey, RGB and RGBA arrays are images; transparent pixels become white."""
    array = np.zeros(shape, np.uint8)
    image = load_image(array)
    assert image.size == (4, 3)
    assert image.mode == "RGB"
    assert image.getpixel((0, 0)) == ((255, 255, 255) if shape[-1] == 4 and len(shape) == 3 else (0, 0, 0))


def test_non_contiguous_array() -> None:
    """A flipped view (BGR to RGB) is read in the order of the view."""
    array = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)[..., ::-1]
    np.testing.assert_array_equal(np.asarray(load_image(array)), array)


def test_palette_with_transparency_lies_on_white(tmp_path: Path) -> None:
    """A transparent palette entry becomes white, from a path and from a PIL image, without a warning."""
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putpixel((1, 0), 1)
    picture.save(tmp_path / "p.png", transparency=bytes([0, 255]))
    for source in (tmp_path / "p.png", Image.open(tmp_path / "p.png")):
        image = load_image(source)
        assert [image.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (0, 0, 255)]


@pytest.mark.parametrize("mode", ["I", "F", "I;16"])
def test_deep_grey_is_clipped(mode: str) -> None:
    """Values above 255 become 255 in every deep grey mode."""
    image = Image.new(mode, (1, 1), 300)
    assert load_image(image).getpixel((0, 0)) == (255, 255, 255)


def test_bomb_is_refused_before_decoding(tmp_path: Path) -> None:
    """Images above the limit of pixels are refused in one line before they are decoded, without Pillow's warning."""
    limit = Image.MAX_IMAGE_PIXELS
    for width, height in [(30000, 30000), (MAX_PIXELS // 10000 + 1, 10000)]:
        (tmp_path / "bomb.png").write_bytes(png(width, height))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ImageError, match=r"^\S*bomb\.png has .*million.*: scale it down$"):
                load_image(tmp_path / "bomb.png")
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_a_header_that_claims_more_than_the_file_holds(mode: str) -> None:
    """A small JPEG that claims 100 million pixels is refused; libjpeg would fill them with grey, 800 MB in all."""
    file = io.BytesIO()
    Image.new(mode, (60, 40)).save(file, "JPEG")
    content = file.getvalue().replace(struct.pack(">HH", 40, 60), struct.pack(">HH", 9999, 9999))
    with pytest.raises(ImageError, match=r"claims 9999x9999 pixels in \d+ bytes, it seems damaged: save or fetch"):
        load_image(content)


def test_a_large_picture_of_one_colour() -> None:
    """It has few bytes for its pixels, and is sound."""
    file = io.BytesIO()
    Image.new("L", (5000, 5000)).save(file, "PNG")
    assert load_image(file.getvalue()).size == (5000, 5000)


def test_largest_picture_passes_without_a_warning() -> None:
    """An image between Pillow's warning and the limit is decoded: no warning, and no refusal for its size."""
    with pytest.raises(ImageError, match="damaged"):
        load_image(png(10000, 9999))


def test_file_faults_are_one_line(tmp_path: Path, oracles_dir: Path) -> None:
    """A missing, foreign, empty or truncated file and a directory are refused in one line that names them."""
    jpeg = (oracles_dir / "preprocess_images" / "photo.jpg").read_bytes()
    faults = {
        "missing.jpg": (None, "no such file"),
        "text.jpg": (b"hello", "not a picture"),
        "empty.png": (b"", "not a picture"),
        "cut.jpg": (jpeg[: len(jpeg) // 2], "damaged"),
    }
    for name, (data, reason) in faults.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageError, match=reason) as caught:
            load_image(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(ImageError, match="cannot be opened"):
        load_image(tmp_path)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 2), np.float32),
        np.zeros((2, 2, 2), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 4), np.uint8),
    ],
)
def test_arrays_that_are_no_pictures(array: Any) -> None:
    """Arrays of another type or number of channels, or without pixels, are refused."""
    with pytest.raises(ImageError):
        load_image(array)


def test_other_things_are_no_pictures() -> None:
    """None, numbers, closed images, damaged bytes and images without pixels raise the package's own error."""
    closed = Image.open(io.BytesIO(png(3, 3)))
    closed.close()
    for source in (None, 3, closed, b"\xff\xd8\xff", Image.new("RGB", (0, 3))):
        with pytest.raises(ImageError):
            load_image(source)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(1, 100_000), (100_000, 1)])
def test_a_picture_that_would_grow_too_large(size: tuple[int, int]) -> None:
    """A line of pixels whose shorter side is enlarged is refused before memory is taken."""
    processing = ImageProcessing(shortest_edge=224, do_center_crop=True)
    with pytest.raises(ImageError, match=r"resized, has .* pixels, more than 100 million"):
        pixel_values(Image.new("RGB", size), (224, 224), MEAN, STD, processing)


def test_a_picture_that_would_vanish() -> None:
    """A line of pixels that is made to fit into little has no pixel left."""
    processing = ImageProcessing(largest=(32, 32), do_center_crop=True)
    with pytest.raises(ImageError, match="resized, is empty"):
        pixel_values(Image.new("RGB", (1, 1000)), (32, 32), MEAN, STD, processing)
