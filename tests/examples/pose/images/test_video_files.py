"""Tests of reading and writing videos."""

import struct
from fractions import Fraction

import numpy as np
import pytest

from examples.pose.images import video_files
from examples.pose.images.video_files import VideoError
from tests.examples.pose import moving_figures

pytest.importorskip("av")


def read(path):
    with video_files.reading(path) as video:
        return video.count, video.rate, list(video.frames)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_frames_and_times_survive(tmp_path, suffix):
    path = tmp_path / f"clip{suffix}"
    drawn = moving_figures.write(path)
    count, rate, frames = read(path)
    assert count == len(frames) == len(drawn) and rate == 10
    for index, (frame, (image, _)) in enumerate(zip(frames, drawn, strict=True)):
        assert frame.image.dtype == np.uint8
        # The codec is lossy, above all in colour.
        assert np.abs(frame.image.astype(int) - image).mean() < 3
        assert abs(frame.time - Fraction(index, 10)) < Fraction(1, 500)


def test_uneven_times_are_kept(tmp_path):
    times = [Fraction(t, 1000) for t in (0, 33, 100, 400)]
    with video_files.Writer(tmp_path / "clip.mp4", Fraction(10)) as writer:
        for (image, _), time in zip(moving_figures.frames(4), times, strict=True):
            writer.add(image, time + 7)
    _, _, frames = read(tmp_path / "clip.mp4")
    assert [round(frame.time, 3) for frame in frames] == times


def write_avi(path, count=12):
    """An AVI file whose frames are not stored in the order in which they are shown."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 160, 90, "yuv420p"
        for image, _ in moving_figures.frames(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def test_times_increase_even_if_the_file_has_others(tmp_path):
    write_avi(tmp_path / "clip.avi")
    _, rate, frames = read(tmp_path / "clip.avi")
    times = [frame.time for frame in frames]
    assert len(times) == 12 and times == sorted(set(times))
    with video_files.Writer(tmp_path / "copy.mp4", rate) as writer:
        for frame in frames:
            writer.add(frame.image, frame.time)
    assert len(read(tmp_path / "copy.mp4")[2]) == 12


@pytest.mark.parametrize("encoder", video_files._ENCODERS)
def test_every_encoder_works(tmp_path, monkeypatch, encoder):
    import av

    if encoder not in av.codecs_available:
        pytest.skip(f"PyAV has no {encoder}")
    monkeypatch.setattr(av, "codecs_available", {encoder})
    moving_figures.write(tmp_path / "clip.mp4")
    _, _, frames = read(tmp_path / "clip.mp4")
    assert [round(frame.time, 3) for frame in frames] == [Fraction(i, 10) for i in range(6)]


def test_odd_sides_lose_a_row_and_a_column(tmp_path):
    moving_figures.write(tmp_path / "clip.mp4", count=1, width=161, height=91)
    (frame,) = read(tmp_path / "clip.mp4")[2]
    assert frame.image.shape == (90, 160, 3)


def test_a_rotated_video_is_read_as_players_show_it(tmp_path):
    """Phones store pictures unrotated. The matrix of the track says how to turn them."""
    path = tmp_path / "clip.mp4"
    (image, _), *_ = moving_figures.write(path, count=2)
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    clockwise = (0, 1, 0, -1, 0, 0, 90, 0, 1)  # The last column has 30 fractional bits, not 16.
    units = [value * 2 ** (30 if i % 3 == 2 else 16) for i, value in enumerate(clockwise)]
    data[matrix : matrix + 36] = struct.pack(">9i", *units)
    path.write_bytes(data)
    frame = read(path)[2][0]
    assert frame.image.shape == (160, 90, 3)
    assert np.abs(frame.image.astype(int) - np.rot90(image, -1)).mean() < 3


def test_pixels_that_are_not_square_stay_so(tmp_path):
    for number, aspect in enumerate([Fraction(4, 3), None]):
        path = tmp_path / f"{number}.mp4"
        options = {} if aspect is None else {"pixel_aspect": aspect}
        with video_files.Writer(path, Fraction(10), **options) as writer:
            for index, (image, _) in enumerate(moving_figures.frames(3)):
                writer.add(image, Fraction(index, 10))
        with video_files.reading(path) as video:
            assert video.pixel_aspect == (aspect or 1)


def test_a_video_without_frames_is_an_error(tmp_path):
    moving_figures.write(tmp_path / "whole.mkv", count=3)
    data = (tmp_path / "whole.mkv").read_bytes()
    first_frame = data.index(b"\x1f\x43\xb6\x75") + 200  # Within it, in the first cluster.
    (tmp_path / "clip.mkv").write_bytes(data[:first_frame])
    with pytest.raises(VideoError, match=r"clip\.mkv: holds no frames\."):
        read(tmp_path / "clip.mkv")


def test_errors_are_one_line(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    for name in ("text.mp4", "missing.mp4"):
        with pytest.raises(VideoError, match=f"{name}: cannot be read: ") as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(VideoError, match="cannot be written: "):
        moving_figures.write(tmp_path / "no_folder" / "clip.mp4")


def test_without_the_library_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(VideoError, match=r"Videos need PyAV.*\[video\]"):
        read(tmp_path / "clip.mp4")
