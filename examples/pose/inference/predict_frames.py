"""Predicts a video frame by frame, and writes it with the poses drawn."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from examples.pose.cli import progress
from examples.pose.cli.errors import UserError
from examples.pose.files.atomic_write import atomic_write
from examples.pose.files.growing_json import GrowingJson
from examples.pose.images import video_files
from examples.pose.inference import people
from examples.pose.inference.person_boxes import Box, Boxes
from examples.pose.inference.predict_files import add_results, find_people
from examples.pose.inference.smoothing import OneEuroFilter


def predict_frames(
    predictor,
    path,
    output: Path,
    min_score: float,
    boxes: Sequence[Box] | Boxes | None = None,
    smooth: bool = False,
    json: GrowingJson | None = None,
) -> tuple[int, int]:
    """Predicts a video.

    Args:
        predictor: See `examples.pose.inference.predictor`.
        path: The video.
        output: The video to write. It appears when all is done, or with the frames before a stop or
            an error.
        min_score: Joints with a lower score are drawn as uncertain.
        boxes: The people in every frame; or `Boxes`, whose image ids are numbers of frames,
            counted from 0. Boxes outside of their frame are left out. If None, the whole picture
            is one person.
        smooth: Whether to smooth the joints over time. The people must be the same in all frames.
        json: Receives the poses in COCO's results format; image ids are numbers of frames.

    Returns:
        The number of frames, and the number of boxes that were left out.

    Raises:
        VideoError: The video cannot be read, or the output cannot be written.
        ImageError: A box for every frame lies outside, the network's output is not finite, or
            `json` cannot be written.
        KeyboardInterrupt: The command was stopped.

    The message of an error, or of a stop, says what was kept.
    """
    done, left_out, stopped = 0, 0, None
    with contextlib.ExitStack() as stack:
        video = stack.enter_context(video_files.reading(path))
        temporary = stack.enter_context(atomic_write(output))
        writer = stack.enter_context(
            video_files.Writer(temporary, video.rate, output, video.pixel_aspect)
        )
        smoothed = None
        try:
            for frame in progress.track(video.frames, "predicting, frames", total=video.count):
                image = frame.image
                in_frame, outside = _in_frame(boxes, done, image)
                left_out += outside
                joints, scores = find_people(predictor, f"{path}, frame {done}", image, in_frame)
                if smooth:
                    smoothed = smoothed or OneEuroFilter([_size(box) for box in in_frame])
                    joints = smoothed(joints, float(frame.time))
                drawn = people.draw(image, in_frame, joints, scores, predictor.skeleton, min_score)
                if json is not None:
                    results = people.results(path, in_frame, joints, scores)
                    add_results(json, [{**result, "image_id": done} for result in results])
                writer.add(drawn, frame.time)
                done += 1
        except video_files.VideoWriteError as error:
            if json is not None and json.is_written:
                error.args = (f"{error} Joints and scores before that are in {json.path}.",)
            raise
        except (KeyboardInterrupt, UserError) as stop:
            if not done:
                raise
            stopped = stop
    if stopped is not None:
        stopped.args = (f"{stopped} The first {done} frames are finished: {output}.".strip(),)
        raise stopped
    if json is not None and not json.is_written:
        json.write_empty()  # An earlier file would look like the results of this video.
    if isinstance(boxes, Boxes):
        left_out += boxes.count_from(done)
    return done, left_out


def _in_frame(boxes, index: int, image: np.ndarray) -> tuple[list[Box], int]:
    """The boxes of the people in a frame, and the number of boxes outside of it."""
    height, width = image.shape[:2]
    if boxes is None:
        return [Box((0.0, 0.0, float(width), float(height)))], 0
    if not isinstance(boxes, Boxes):
        return list(boxes), 0
    of_frame = boxes.of_frame(index)
    inside = [box for box in of_frame if box.overlaps(width, height)]
    return inside, len(of_frame) - len(inside)


def _size(box: Box) -> float:
    """The longer side of a box."""
    return max(box.bbox[2:])
