"""A backbone bundle on its engines: maps of any size, pictures of any kind, and what is refused."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import f2edge
from f2edge.backbone import nearest_side
from f2edge.bundle.golden_maps import load_golden_maps
from f2edge.bundle.manifest import GOLDEN, sha256
from f2edge.compile.build import build
from f2edge.compile.checkpoint.load import load_checkpoint
from f2edge.compile.options import Options
from f2edge.compile.reference.backbone import Backbone as ReferenceBackbone
from f2edge.compile.reference.backbone import reference_maps
from f2edge.errors import BundleError, DeviceError, ImageError, InputError
from f2edge.runtimes.openvino.backbone import KEPT_SIZES
from f2edge.targets import TARGETS
from f2edge.verify import verify_maps
from tests.support.checkpoints import TINY

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.arrays import FloatArray

BUNDLES = ("tiny_backbone", "tiny_onnx_backbone")
NAMES, STRIDES = ["c2", "c3", "c4", "c5"], [4, 8, 16, 32]
RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (90, 130, 3), dtype=np.uint8)


@pytest.fixture(scope="module", params=BUNDLES)
def backbone(request: pytest.FixtureRequest) -> f2edge.Backbone:
    """Return the tiny backbone opened with each engine."""
    return f2edge.load_backbone(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def reference(tiny_checkpoint: Path) -> ReferenceBackbone:
    """Return the float reference."""
    return ReferenceBackbone(load_checkpoint(tiny_checkpoint).model.vision_tower)


def worst(maps: dict[str, FloatArray], expected: dict[str, FloatArray]) -> float:
    """Return the largest difference of all values, divided by the largest expected value of the level."""
    assert list(maps) == list(expected)
    return max(float(np.abs(maps[name] - expected[name]).max() / np.abs(expected[name]).max()) for name in maps)


@pytest.mark.parametrize("size", [(224, 224), (480, 640), (800, 1024), (32, 96)], ids=str)
def test_maps_equal_the_reference(
    size: tuple[int, int], backbone: f2edge.Backbone, reference: ReferenceBackbone
) -> None:
    """Every value of every level is within 1e-4 of the reference's, at sizes of all kinds."""
    pixels = RNG.standard_normal((1, 3, *size)).astype(np.float32)
    maps = backbone.features(pixels)
    assert {name: each.shape[2:] for name, each in maps.items()} == {
        name: (size[0] // stride, size[1] // stride) for name, stride in zip(NAMES, STRIDES, strict=True)
    }
    assert all(each.dtype == np.float32 for each in maps.values())
    assert worst(maps, reference_maps(reference, pixels)) < 1e-4


def test_the_sources_of_a_picture(backbone: f2edge.Backbone, tmp_path: Path) -> None:
    """A path, a PIL image and an array give the same maps; each side went to the nearest multiple of 32."""
    image = Image.fromarray(PICTURE)
    image.save(tmp_path / "picture.png")
    of_array = backbone.features(PICTURE)
    assert backbone.pixels(PICTURE).shape == (1, 3, 96, 128)
    assert of_array["c2"].shape == (1, 16, 24, 32)
    for source in (image, tmp_path / "picture.png", (tmp_path / "picture.png").read_bytes()):
        assert worst(backbone.features(source), of_array) == 0
    prepared = backbone.features(backbone.pixels(PICTURE))
    assert worst(prepared, of_array) == 0


def test_pixels_are_normalised_as_the_model_was_trained(backbone: f2edge.Backbone) -> None:
    """At a size that needs no resizing, pixels are (level / 255 - mean) / std."""
    picture = RNG.integers(0, 256, (64, 32, 3), dtype=np.uint8)
    expected = (picture / 255 - np.array(TINY.image_mean)) / np.array(TINY.image_std)
    np.testing.assert_allclose(backbone.pixels(picture)[0].transpose(1, 2, 0), expected, atol=1e-6)


@pytest.mark.parametrize(("side", "nearest"), [(1, 32), (47, 32), (48, 64), (64, 64), (79, 64), (1000, 992)])
def test_the_nearest_side(side: int, nearest: int) -> None:
    """A side is rounded to a multiple of 32, halves go up, and none is below 32."""
    assert nearest_side(side) == nearest


def test_several_prepared_pictures(backbone: f2edge.Backbone) -> None:
    """An array of several pictures gives maps of all of them, and half precision is widened."""
    pixels = RNG.standard_normal((3, 3, 64, 96)).astype(np.float16)
    maps = backbone.features(pixels)
    assert maps["c5"].shape == (3, 64, 2, 3)
    assert worst({name: each[1:2] for name, each in maps.items()}, backbone.features(pixels[1:2])) == 0


def test_maps_stay_as_they_are(backbone: f2edge.Backbone) -> None:
    """A later picture, of the same size or another, changes no map that was given before."""
    first = backbone.features(PICTURE)
    kept = {name: each.copy() for name, each in first.items()}
    backbone.features(255 - PICTURE)
    backbone.features(PICTURE[:40])
    assert worst(first, kept) == 0


def test_threads_share_a_backbone(backbone: f2edge.Backbone) -> None:
    """Threads with pictures of more sizes than stay compiled get the maps of a single thread."""
    pictures = [PICTURE[:32, : 32 * columns] for columns in range(1, KEPT_SIZES + 2)]
    expected = [backbone.features(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        maps = list(pool.map(backbone.features, pictures))
    assert max(map(worst, maps, expected)) == 0


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (np.zeros((1, 3, 64, 70), np.float32), InputError, "64x70: both sides must be multiples of 32"),
        (np.zeros((1, 1, 64, 64), np.float32), InputError, "no prepared pixels"),
        (np.zeros((3, 64, 64), np.float32), InputError, "no prepared pixels"),
        (np.zeros((0, 3, 64, 64), np.float32), InputError, "no prepared pixels"),
        (np.zeros((1, 3, 64, 64), np.uint8), InputError, "no prepared pixels"),
        (np.full((1, 3, 64, 64), np.nan, np.float32), InputError, "not finite"),
        ("none.png", ImageError, "no such file"),
    ],
)
def test_what_is_no_picture(source: Any, error: type[Exception], message: str, backbone: f2edge.Backbone) -> None:
    """Arrays of another shape, type or size, and pictures that cannot be opened, are refused in one line."""
    with pytest.raises(error, match=message) as raised:
        backbone.features(source)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", BUNDLES)
def test_closing(name: str, request: pytest.FixtureRequest) -> None:
    """A backbone closes itself at the end of its block, may be closed again, and gives nothing afterwards."""
    with f2edge.load_backbone(request.getfixturevalue(name), "CPU", threads=1) as backbone:
        backbone.features(PICTURE)
        assert backbone.runtime.device == "CPU"
        assert backbone.runtime.threads == 1
    backbone.close()
    with pytest.raises(DeviceError, match="this backbone is closed"):
        backbone.features(PICTURE)


@pytest.mark.parametrize(
    ("name", "device", "message"),
    [
        ("tiny_backbone", "GPU.7", "OpenVINO has no device GPU.7"),
        ("tiny_backbone", "vision=CPU", "a backbone is one graph"),
        ("tiny_onnx_backbone", "NPU", "has no device NPU"),
    ],
)
def test_devices_that_are_not_there(name: str, device: str, message: str, request: pytest.FixtureRequest) -> None:
    """An unknown device is refused when the bundle is opened."""
    with pytest.raises(DeviceError, match=message):
        f2edge.load_backbone(request.getfixturevalue(name), device)


def test_each_kind_of_bundle_has_its_opener(tiny_bundle: Path, tiny_backbone: Path) -> None:
    """A backbone answers nothing, and a bundle that answers gives no maps; the line names the right function."""
    with pytest.raises(BundleError, match=r"gives feature maps; open it with f2edge\.load_backbone"):
        f2edge.load(tiny_backbone)
    with pytest.raises(BundleError, match=r"gives answers; open it with f2edge\.load"):
        f2edge.load_backbone(tiny_bundle)


def test_golden_maps(backbone: f2edge.Backbone) -> None:
    """Two drawn pictures, a square and a rectangle, are recorded and far within their tolerance."""
    bundle = backbone.bundle
    pictures = load_golden_maps(bundle.path / GOLDEN, NAMES)
    assert [golden.picture.shape[:2] for golden in pictures] == [TINY.image_size, (160, 224)]
    verified = verify_maps(backbone)
    assert verified.passed
    assert verified.answers == ()
    assert list(verified.components) == NAMES
    assert all(0 < (level.relative_error or 0) < 1e-5 for level in verified.components.values())
    assert bundle.verified
    assert bundle.verified.components.keys() == verified.components.keys()


def test_wrong_maps_are_noticed(tiny_onnx_backbone: Path, tmp_path: Path) -> None:
    """If golden values of one level are changed, that level does not pass, and the others do."""
    path = shutil.copytree(tiny_onnx_backbone, tmp_path / "bundle")
    with np.load(path / GOLDEN) as data:
        arrays = dict(data)
    arrays["c3_values_1"] = arrays["c3_values_1"] * 1.001
    np.savez_compressed(path / GOLDEN, **arrays)
    rehash(path)
    verified = verify_maps(f2edge.load_backbone(path))
    assert not verified.passed
    assert list(verified.failed()) == ["c3"]


@pytest.mark.parametrize("content", [b"", b"PK", None])
def test_damaged_golden_maps(content: bytes | None, tiny_onnx_backbone: Path, tmp_path: Path) -> None:
    """A golden file that is damaged, or that lacks a level, is named in one line."""
    path = shutil.copytree(tiny_onnx_backbone, tmp_path / "bundle")
    if content is None:
        np.savez(path / GOLDEN, picture_0=PICTURE)
    else:
        (path / GOLDEN).write_bytes(content)
    rehash(path)
    with pytest.raises(BundleError, match=r"golden\.npz is damaged"):
        verify_maps(f2edge.load_backbone(path))


def rehash(path: Path) -> None:
    """Give the golden file of a bundle its present hash."""
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"][GOLDEN] = sha256(path / GOLDEN)
    (path / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture(scope="module")
def fixed(tiny_checkpoint: Path, stages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a backbone of some levels for a device of fixed shapes."""
    path = tmp_path_factory.mktemp("fixed") / "tiny.npu"
    options = Options(TARGETS["npu"], "fp32", image_size=64, graph="backbone", levels=(2, 4), stages=stages)
    build(tiny_checkpoint, path, options)
    return path


def test_a_fixed_size(fixed: Path, reference: ReferenceBackbone) -> None:
    """A bundle of a fixed size resizes every picture to it, and takes prepared pixels of no other."""
    with f2edge.load_backbone(fixed, "CPU") as backbone:
        assert backbone.levels.image_size == (64, 64)
        assert backbone.levels.names == ("c3", "c5")
        maps, pixels = backbone.features(PICTURE), backbone.pixels(PICTURE)
        assert pixels.shape == (1, 3, 64, 64)
        expected = reference_maps(reference, pixels)
        assert worst(maps, {name: expected[name] for name in backbone.levels.names}) < 1e-4
        with pytest.raises(InputError, match="pixels of 96x64: this bundle takes 64x64"):
            backbone.features(np.zeros((1, 3, 96, 64), np.float32))


def test_half_precision(tiny_checkpoint: Path, stages: Path, tmp_path: Path) -> None:
    """Weights in fp16 halve the bundle of either engine, and change the maps by at most 1e-2."""
    for target in ("cpu", "onnx"):
        options = Options(TARGETS[target], "fp16", graph="backbone", stages=stages)
        bundle = build(tiny_checkpoint, tmp_path / target, options)
        assert bundle.recipe.precision == {"backbone": "fp16"}
        assert bundle.verified
        assert all(1e-5 < (level.relative_error or 0) < 1e-2 for level in bundle.verified.components.values())
