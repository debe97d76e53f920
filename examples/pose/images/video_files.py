"""Reads and writes videos frame by frame, by PyAV (the extra `video`).

PyAV is imported inside functions only, because everything else works without it.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from examples.pose.cli.errors import UserError

WRITTEN = (".mp4", ".mov", ".m4v", ".mkv")
READ = (*WRITTEN, ".webm", ".avi")
# A video that is shorter than its file says counts as cut off from this difference on.
_MISSING_SECONDS = 1
# Encoders in order of preference, because builds of FFmpeg may lack x264, and the unit of time of
# each, in parts of a second. MPEG-4 allows at most 65,535 parts.
_ENCODERS = {"libx264": 90_000, "libopenh264": 90_000, "mpeg4": 60_000}
_QUALITY = "20"  # CRF of x264: smaller is better and larger. 18 to 23 are usual.


class VideoError(UserError):
    """A video cannot be read or written; the message names the file and the reason."""


class VideoWriteError(VideoError):
    """A video cannot be written."""


def is_video_name(path) -> bool:
    """Whether a path ends like the name of a video that can be read."""
    return Path(path).suffix.lower() in READ


def is_written_name(path) -> bool:
    """Whether `Writer` can write a video with the suffix of this path."""
    return Path(path).suffix.lower() in WRITTEN


@dataclasses.dataclass(frozen=True)
class Frame:
    """A frame of a video.

    Attributes:
        image: uint8 RGB `[height, width, 3]`, as players show it: rotated as the file says.
        time: The time at which it is shown, in seconds. It is later than that of the frame before.
    """

    image: np.ndarray
    time: Fraction


@dataclasses.dataclass(frozen=True)
class Video:
    """A video that is being read.

    Attributes:
        frames: Yields the frames in order. Raises a `VideoError` at a damaged frame, and at the end
            if there are no frames or if the file says that there are more.
        count: Number of frames as the file says or its length suggests; None if unknown.
        rate: Mean number of frames per second.
        pixel_aspect: Width of a pixel divided by its height, as shown. Images are not scaled by it.
    """

    frames: Iterator[Frame]
    count: int | None
    rate: Fraction
    pixel_aspect: Fraction


@contextlib.contextmanager
def reading(path) -> Iterator[Video]:
    """Opens a video for reading.

    Raises:
        VideoError: The file is missing or is no video, or PyAV is not installed.
    """
    av = _import_av()
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise VideoError(f"{path}: holds no pictures.")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
            if stream.duration:
                seconds = stream.duration * stream.time_base
            else:  # Of all streams together.
                seconds = Fraction(container.duration or 0, av.time_base)
            count = stream.frames or round(seconds * rate) or None
            frames = _frames(path, container, stream, rate, seconds)
            aspect = Fraction(stream.sample_aspect_ratio or 1)
            yield Video(frames, count, rate, aspect)
    except av.error.FFmpegError as error:
        raise _unreadable(path, error) from None


def _frames(path, container, stream, rate: Fraction, seconds: Fraction) -> Iterator[Frame]:
    first = last = None
    try:
        for frame in container.decode(stream):
            image = frame.to_ndarray(format="rgb24")
            if frame.rotation:  # In degrees, anticlockwise.
                image = np.rot90(image, round(frame.rotation / 90))
            time = 0 if last is None else last + 1 / rate
            # Some containers store no times, and AVI not those of frames that are stored in another
            # order than shown.
            if frame.pts is not None and frame.time_base:
                stored = frame.pts * frame.time_base
                time = stored if last is None or stored > last else time
            last = Fraction(time)
            first = last if first is None else first
            # PyAV 14.0 has no durations.
            duration = getattr(frame, "duration", None) or 0
            shown = max(1 / rate, duration * (frame.time_base or 0))
            yield Frame(np.ascontiguousarray(image), last)
    except _import_av().error.FFmpegError as error:
        raise _unreadable(path, error) from None
    if last is None:
        raise VideoError(f"{path}: holds no frames.")
    length = last + shown - first
    if length < seconds - _MISSING_SECONDS:
        raise VideoError(
            f"{path}: ends after {float(length):.1f} of {float(seconds):.1f} seconds: a part of "
            "the file is missing."
        )


class Writer:
    """Writes a video without sound, in H.264 if possible. Frames keep their times.

    Args:
        path: The file. Its suffix names the container.
        rate: Mean number of frames per second.
        name: The name of the file in messages; `path` if None.
        pixel_aspect: Width of a pixel divided by its height, as shown.

    Raises:
        VideoWriteError: The file cannot be written.
        VideoError: PyAV is not installed.
    """

    def __init__(self, path, rate: Fraction, name=None, pixel_aspect: Fraction = Fraction(1)):
        self._av = _import_av()
        self._name = name or path
        self._rate, self._pixel_aspect = rate, pixel_aspect
        self._stream = None
        self._start = None
        with self._explained():
            self._container = self._av.open(str(path), "w")

    def add(self, image: np.ndarray, time: Fraction) -> None:
        """Adds a frame: uint8 RGB `[height, width, 3]`, shown from `time` on, in seconds.

        `time` must be later than that of the frame before.
        """
        with self._explained():
            if self._stream is None:
                self._start = time
                self._stream = self._add_stream(*image.shape[1::-1])
            # H.264 needs even sides: the last row or column may be cut.
            image = np.ascontiguousarray(image[: self._stream.height, : self._stream.width])
            frame = self._av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.time_base = self._stream.codec_context.time_base
            frame.pts = round((time - self._start) / frame.time_base)
            self._container.mux(self._stream.encode(frame))

    def _add_stream(self, width: int, height: int):
        encoder = next(name for name in _ENCODERS if name in self._av.codecs_available)
        options = {"crf": _QUALITY} if encoder == "libx264" else {}
        stream = self._container.add_stream(encoder, rate=self._rate, options=options)
        stream.width, stream.height = max(2, width // 2 * 2), max(2, height // 2 * 2)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.sample_aspect_ratio = self._pixel_aspect
        stream.codec_context.time_base = Fraction(1, _ENCODERS[encoder])
        return stream

    def close(self) -> None:
        """Writes the end of the file."""
        with self._explained():
            if self._stream is not None:
                self._container.mux(self._stream.encode())
            self._container.close()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except self._av.error.FFmpegError as error:
            raise VideoWriteError(f"{self._name}: cannot be written: {_reason(error)}.") from None


def _import_av():
    try:
        import av
        import av.error
    except ImportError:
        raise VideoError('Videos need PyAV: run `pip install -e ".[video]"`.') from None
    return av


def _unreadable(path, error: Exception) -> VideoError:
    return VideoError(f"{path}: cannot be read: {_reason(error)}.")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
