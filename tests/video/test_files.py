"""Frames of video files and of folders of pictures."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import f2edge
from f2edge.errors import ImageError, InputError, MissingExtraError, VideoError
from f2edge.image import load_image
from tests.support.videos import cut, damage, grey, levels, save_video, turn

if TYPE_CHECKING:
    from pathlib import Path

CORNERS = {"top left": (2, 2), "top right": (2, -3), "bottom left": (-3, 2), "bottom right": (-3, -3)}


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Write a video of 20 frames, ten a second, each lighter than the one before it."""
    return save_video(tmp_path / "clip.mp4", levels(20))


def noise(count: int) -> list[f2edge.Frame]:
    """Return frames of noise, which fill a file with data."""
    rng = np.random.default_rng(0)
    return [f2edge.Frame(rng.integers(0, 256, (96, 128, 3), np.uint8), number, None) for number in range(count)]


def open_descriptors() -> int:
    """Return how many files this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def test_a_file_gives_every_frame(clip: Path) -> None:
    """Frames are whole, in their order and colours, with their index and time, and none is dropped."""
    frames = list(f2edge.frames(clip))
    assert [frame.index for frame in frames] == list(range(20))
    assert [frame.seconds for frame in frames] == pytest.approx([number / 10 for number in range(20)])
    assert {frame.dropped for frame in frames} == {0}
    assert {(frame.array.shape, frame.array.dtype.name, frame.size) for frame in frames} == {
        ((48, 64, 3), "uint8", (64, 48))
    }
    assert [frame.array.mean() for frame in frames] == pytest.approx([20 + 10 * number for number in range(20)], abs=5)


@pytest.mark.parametrize("name", ["clip.mkv", "clip.avi", "clip.ts", "clip.mov"])
def test_formats(tmp_path: Path, name: str) -> None:
    """Other containers give the same; the time begins at 0 wherever the clock of the file begins."""
    frames = list(f2edge.frames(str(save_video(tmp_path / name, levels(9), "mpeg2video"))))
    assert [frame.seconds for frame in frames] == pytest.approx([number / 10 for number in range(9)])


def test_colours_are_red_green_blue(tmp_path: Path) -> None:
    """A red picture is red."""
    red = grey(0)
    red[..., 0] = 200
    (frame,) = f2edge.frames(save_video(tmp_path / "red.mp4", [red]))
    assert frame.array.mean((0, 1)) == pytest.approx([200, 0, 0], abs=6)


def test_a_frame_is_a_picture(clip: Path) -> None:
    """A frame is taken wherever a picture is, and by NumPy; it cannot be changed."""
    frame = next(f2edge.frames(clip))
    assert np.asarray(load_image(frame)).tobytes() == frame.array.tobytes()
    assert np.asarray(frame) is frame.array
    assert np.array(frame) is not frame.array
    assert np.asarray(frame, np.float32).dtype == np.float32
    with pytest.raises(AttributeError):
        frame.index = 3  # type: ignore[misc]


def test_frames_are_answered(tiny_bundle: Path, clip: Path) -> None:
    """A model answers about a frame what it answers about the array of it, and draws on it."""
    frame = next(f2edge.frames(clip))
    model = f2edge.load(tiny_bundle)
    result = model.run(frame, "od")
    assert result.token_ids == model.run(frame.array, "od").token_ids
    assert f2edge.draw(frame, result).size == (64, 48)
    assert [one.token_ids for one in model.run_many([f2edge.Ask(frame, "od")])] == [result.token_ids]


@pytest.mark.parametrize(("every", "expected"), [(0.1, range(20)), (0.25, (0, 3, 5, 8, 10, 13, 15, 18)), (9, (0,))])
def test_every_thins_out(clip: Path, every: float, expected: range | tuple[int, ...]) -> None:
    """``every`` leaves frames out on a grid of steps, without a drift; the others keep their index."""
    assert [frame.index for frame in f2edge.frames(clip, every=every)] == list(expected)


@pytest.mark.parametrize(
    ("matrix", "corner"),
    [
        ((1, 0, 0, 1), "top left"),
        ((0, 1, -1, 0), "top right"),
        ((-1, 0, 0, -1), "bottom right"),
        ((0, -1, 1, 0), "bottom left"),
        ((-1, 0, 0, 1), "top right"),
        ((1, 0, 0, -1), "bottom left"),
    ],
)
def test_videos_of_phones_are_upright(tmp_path: Path, matrix: tuple[int, int, int, int], corner: str) -> None:
    """The light corner at the top left goes where the file says that it is shown, turned or mirrored."""
    picture = grey(20)
    picture[:16, :16] = 220
    turn(save_video(path := tmp_path / "turned.mp4", [picture]), matrix)
    array = next(f2edge.frames(path)).array
    assert array.shape == ((64, 48, 3) if matrix[1] else (48, 64, 3))
    assert {name: bool(array[place].mean() > 120) for name, place in CORNERS.items()} == {
        name: name == corner for name in CORNERS
    }


def test_a_slanted_video_is_refused(tmp_path: Path) -> None:
    """A turn by another angle than a multiple of 90 degrees is refused rather than ignored."""
    turn(save_video(path := tmp_path / "slanted.mp4", [grey(9)]), (1, 1, -1, 1))
    with pytest.raises(VideoError, match=r"slanted\.mp4 has frames that are turned by no multiple of 90 degrees"):
        next(f2edge.frames(path))


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_what_was_read_of_a_file_that_is_cut_off_is_kept(tmp_path: Path, name: str) -> None:
    """The frames that are there come first, then an error says that the end is missing, then nothing."""
    options = {"options": {"movflags": "faststart"}} if name == "clip.mp4" else {}
    cut(save_video(path := tmp_path / name, [frame.array for frame in noise(40)], **options), 0.5)
    frames, read = f2edge.frames(path), []
    with pytest.raises(
        VideoError, match=rf"{name} breaks off after frame \d+ \(\d\.\d s\): it has been cut off, .* of 4"
    ):
        read.extend(iter(lambda: next(frames), None))
    assert list(frames) == []


def test_frames_before_and_behind_damage_are_kept(tmp_path: Path) -> None:
    """Damaged data in the middle of a file cost frames, which are counted, and no others."""
    path = save_video(tmp_path / "damaged.mp4", [frame.array for frame in noise(30)])
    damage(path, 0.5, 4000)
    frames = list(f2edge.frames(path))
    assert 20 < len(frames) < 30
    assert len(frames) + sum(frame.dropped for frame in frames) == 30
    assert (frames[0].index, frames[-1].index) == (0, 29)


def test_pictures_of_a_folder(tmp_path: Path) -> None:
    """Pictures come by their names, in which numbers count; other files and folders are left out."""
    for number in (10, 9, 1):
        Image.fromarray(grey(number)).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "more.png").mkdir()
    frames = list(f2edge.frames(tmp_path))
    assert [(frame.index, frame.seconds, frame.array.max()) for frame in frames] == [
        (0, None, 1),
        (1, None, 9),
        (2, None, 10),
    ]


def test_a_damaged_picture_of_a_folder_does_not_end_it(tmp_path: Path) -> None:
    """A picture that cannot be read is an error of its own; the next call goes on behind it."""
    (tmp_path / "1.png").write_bytes(b"damaged")
    Image.fromarray(grey(7)).save(tmp_path / "2.png")
    frames = f2edge.frames(tmp_path)
    with pytest.raises(ImageError, match=r"1\.png is not a picture"):
        next(frames)
    assert [frame.index for frame in frames] == [1]


def test_what_is_no_video(tmp_path: Path) -> None:
    """Each thing that gives no frames is refused in one line that names it, at the call."""
    (tmp_path / "letter.txt").write_text("Dear reader,\n" * 50)
    (tmp_path / "letter.mp4").write_text("Dear reader,\n" * 50)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "nothing").mkdir()
    save_video(tmp_path / "part.mp4", [frame.array for frame in noise(9)])
    cut(tmp_path / "part.mp4", 0.5)
    faults = {
        "letter.txt": "has no video",
        "letter.mp4": "cannot be opened: FFmpeg reads no video there",
        "empty.mp4": "is empty",
        "nothing": "has no pictures",
        "part.mp4": "(has no video|cannot be opened: FFmpeg reads no video there)",
        "nowhere.mp4": "is not there: no such file, folder or camera",
    }
    for name, fault in faults.items():
        with pytest.raises(VideoError, match=f"{name} {fault}"):
            f2edge.frames(tmp_path / name)


def test_sources_that_cannot_be() -> None:
    """An address of an unknown kind, a camera that is not there and other objects are refused; passwords are hidden."""
    with pytest.raises(VideoError, match=r"^ftp://me:\*\*\*@host/x is of no known kind: give .* rtsp://"):
        f2edge.frames("ftp://me:secret@host/x")
    with pytest.raises(VideoError, match="None is no source of frames"):
        f2edge.frames(None)  # type: ignore[arg-type]
    with pytest.raises(VideoError, match="no such camera" if sys.platform == "linux" else "on Linux only"):
        f2edge.frames(99)


@pytest.mark.parametrize(
    ("argument", "value", "fault"),
    [
        ("every", 0, "`every` is 0; give a positive number of seconds"),
        ("every", True, "`every` is True"),
        ("timeout", "1", "`timeout` is '1'"),
        ("live", True, "is a file, which takes no `live`"),
        ("options", {"a": "b"}, "is a file, which takes no `options`"),
    ],
)
def test_arguments_that_cannot_be(clip: Path, argument: str, value: object, fault: str) -> None:
    """Arguments of the wrong kind, or for another kind of source, are refused in one line that names them."""
    with pytest.raises(InputError, match=fault):
        f2edge.frames(clip, **{argument: value})  # type: ignore[arg-type]


def test_a_folder_has_no_times(tmp_path: Path) -> None:
    """``every`` is refused for a folder of pictures."""
    Image.fromarray(grey(7)).save(tmp_path / "1.png")
    with pytest.raises(InputError, match="have no times: leave `every` out"):
        f2edge.frames(tmp_path, every=1)


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    """A file that names others is no way to them: a playlist that FFmpeg would follow is refused."""
    save_video(tmp_path / "secret.ts", levels(9), "mpeg2video")
    playlist = tmp_path / "playlist.mp4"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\nsecret.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(VideoError, match=r"playlist\.mp4 cannot be opened"):
        f2edge.frames(playlist)


def test_without_pyav(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PyAV the extra is named; pictures of a folder need none."""
    for name in [
        name for name in sys.modules if name.partition(".")[0] == "av" or name.startswith("f2edge.video.cont")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"av is not installed; run: pip install 'f2edge\[video\]'"):
        f2edge.frames(clip)
    Image.fromarray(grey(7)).save(tmp_path / "1.png")
    assert len(list(f2edge.frames(tmp_path))) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files in /proc")
def test_a_source_is_closed(clip: Path) -> None:
    """A file is closed at its end, at the end of a block, when the loop is left, and after an error at the call."""
    gc.collect()  # what other tests left behind
    before = open_descriptors()
    frames = f2edge.frames(clip)
    assert open_descriptors() == before + 1
    assert len(list(frames)) == 20
    assert open_descriptors() == before
    with f2edge.frames(clip) as frames:
        next(frames)
    assert list(frames) == []
    for frame in f2edge.frames(clip):
        assert frame.index == 0
        break
    gc.collect()
    assert open_descriptors() == before
    with pytest.raises(InputError, match="options"):
        f2edge.frames(clip, options={"a": "b"})
    assert open_descriptors() == before


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi", "clip.ts", "clip.mpg", "clip.flv"])
def test_a_video_that_is_given_as_a_picture(tmp_path: Path, name: str) -> None:
    """A video in place of a picture is called what it is, whatever its name says, from a file and from memory."""
    codec = "flv1" if name == "clip.flv" else "mpeg2video"
    path = save_video(tmp_path / name, levels(9), codec)
    renamed = tmp_path / "photo.jpg"
    renamed.write_bytes(path.read_bytes())
    for source in (path, path.read_bytes(), renamed):
        with pytest.raises(ImageError, match=r"is a video, not a picture: read its frames with f2edge\.frames"):
            load_image(source)
