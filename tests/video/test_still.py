"""Frames that show what an earlier one showed are told from those in which something moves."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from PIL import Image

import f2edge
from f2edge.errors import InputError, VideoError
from f2edge.video.still import largest_difference
from tests.support.videos import levels, save_video

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.arrays import ByteArray

THRESHOLD = 8
"""The levels that the documentation recommends."""

SIDE = 256


def camera(moving: int = 0, noise: float = 5, count: int = 12) -> list[ByteArray]:
    """Film a room with noise, as H.264 keeps it, and shrink the frames to SIDE pixels.

    Args:
        moving: by how many pixels of the camera an object of 12 x 12, 40 levels lighter, moves in each frame.
        noise: standard deviation in levels.
        count: frames.
    """
    rng, file = np.random.default_rng(0), io.BytesIO()
    room = np.asarray(Image.fromarray(rng.integers(60, 190, (6, 8, 3), np.uint8)).resize((640, 480)))
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "23", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        for number in range(count):
            frame = room.astype(np.float64)
            frame[200:212, 300 + number * moving : 312 + number * moving] += 40
            seen = np.clip(frame + rng.normal(0, noise, frame.shape), 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(seen, format="rgb24")))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file, "r") as recorded:
        pictures = [frame.to_image().resize((SIDE, SIDE)) for frame in recorded.decode(video=0)]
    return [np.asarray(picture) for picture in pictures]


def test_noise_is_no_change() -> None:
    """A still camera with noise of 5 levels stays below the threshold, though single pixels differ by more."""
    first, *others = camera()
    assert max(np.abs(first.astype(int) - other).max() for other in others) > THRESHOLD
    assert max(largest_difference(first, other) for other in others) <= THRESHOLD


@pytest.mark.parametrize("noise", [0, 5])
def test_a_small_object_that_moves_slowly_is_a_change(noise: float) -> None:
    """An object of 5 x 6 pixels of the model, moving by less than half of one a frame, is a change soon.

    The mean over all pixels would not tell: it differs no more than between two frames of a still camera.
    """
    first, *others = camera(moving=1, noise=noise)
    differences = [largest_difference(first, other) for other in others]
    assert all(difference > THRESHOLD for difference in differences[4:])
    assert np.abs(first.astype(float) - others[-1]).mean() < 2


def test_blocks_at_the_edge_count() -> None:
    """A change in the last row or column, beyond the last whole block, is as large as one in the middle."""
    first = np.full((10, 14, 3), 100, np.uint8)
    for place in ((slice(8, 10), slice(12, 14)), (slice(4, 8), slice(4, 8))):
        second = first.copy()
        second[place] = 160
        assert largest_difference(first, second) == largest_difference(second, first) == pytest.approx(60)


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> f2edge.Florence2:
    """Open the tiny model."""
    return f2edge.load(tiny_bundle)


def scenes(*seeds: int) -> list[ByteArray]:
    """Return a picture of coarse noise for each seed."""
    return [
        np.asarray(Image.fromarray(np.random.default_rng(seed).integers(0, 256, (3, 4, 3), np.uint8)).resize((80, 60)))
        for seed in seeds
    ]


def test_every_frame_is_answered(model: f2edge.Florence2, tmp_path: Path) -> None:
    """By default the model is asked about each frame of a source, also about those that are the same."""
    path = save_video(tmp_path / "clip.mp4", levels(3))
    seen = list(model.run_frames(path, "caption", num_beams=1, max_new_tokens=5))
    assert [one.reused for one in seen] == [False] * 3
    frames = list(f2edge.frames(path))
    for one, frame in zip(seen, frames, strict=True):
        assert one.result.token_ids == model.run(frame, "caption", num_beams=1, max_new_tokens=5).token_ids
    assert not any(one.reused for one in model.run_frames([frames[0]] * 2, "od", max_new_tokens=5))


def test_unchanged_frames_have_the_answer_of_the_one_that_was_asked_about(model: f2edge.Florence2) -> None:
    """A frame like the one that was asked about has its answer; one that went back is a change again."""
    a, b = scenes(1, 2)
    seen = list(model.run_frames([a, a ^ 1, b, a], "od", max_new_tokens=5, unchanged=THRESHOLD))
    assert [one.reused for one in seen] == [False, True, False, False]
    assert seen[1].result is seen[0].result
    assert np.array_equal(seen[1].frame, a ^ 1)
    assert [one.frame.index for one in seen] == [0, 1, 2, 3]


def test_slow_changes_add_up(model: f2edge.Florence2) -> None:
    """Frames are compared with the one that was asked about, so that slow dusk is seen in the end."""
    dusk = [np.full((60, 80, 3), 200 - 3 * number, np.uint8) for number in range(7)]
    seen = model.run_frames(dusk, "od", max_new_tokens=5, unchanged=THRESHOLD)
    assert [one.reused for one in seen] == [False, True, True, False, True, True, False]


def test_another_size_is_a_change(model: f2edge.Florence2) -> None:
    """Boxes belong to a size: a frame of another size is asked about, though the model would see the same."""
    (scene,) = scenes(1)
    twice = scene.repeat(2, 0).repeat(2, 1)
    seen = list(model.run_frames([scene, twice], "od", max_new_tokens=5, unchanged=100))
    assert [one.result.image_size for one in seen] == [(80, 60), (160, 120)]


def test_faults_of_frames_and_of_the_threshold(model: f2edge.Florence2, tmp_path: Path) -> None:
    """A source that is not there and a threshold that is none are refused at the call."""
    with pytest.raises(VideoError, match="is not there"):
        model.run_frames(tmp_path / "nowhere.mp4", "od")
    for picture in (scenes(1)[0], b"picture"):
        with pytest.raises(InputError, match=r"one picture is no source of frames"):
            model.run_frames(picture, "od")
    with pytest.raises(VideoError, match="None is no source"):
        model.run_frames(None, "od")  # type: ignore[arg-type]
    for value in (0, -1, True, "8"):
        with pytest.raises(InputError, match=r"`unchanged` is .*; give a positive number of levels"):
            model.run_frames([], "od", unchanged=value)  # type: ignore[arg-type]
