"""Predicts picture files one after the other, and writes each result at once."""

import contextlib
import dataclasses
import errno
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rich.console
import rich.table
import tensorflow as tf

from examples.pose.cli.errors import UserError, describe
from examples.pose.files import growing_json, output_paths
from examples.pose.images import drawing
from examples.pose.images.image_files import (
    ImageError,
    ImageWriteError,
    is_image_name,
    read_image,
    write_image,
)
from examples.pose.inference import people
from examples.pose.inference.person_boxes import Box, BoxError

# Smaller pictures are enlarged to this many pixels on their longer side before a pose is drawn.
DRAWING_SIZE = 384
# Pages are shrunk to this many pixels on their longer side, the most that WebP files can hold.
MAX_PAGE_SIDE = 16383


class PredictError(UserError):
    """The command cannot predict or write; the message gives the reason."""


@dataclasses.dataclass
class Outputs:
    """Writes the results of `predict`.

    Attributes:
        path: The name of a picture, which shows all drawings on one page and is written at the end;
            or a folder, to which each drawing is written at once.
        json: The file of joints and scores, or None.
        count: The number of pictures of the command.
        done: The number of finished pictures.
        has_page: Whether the page was written.
    """

    path: Path
    json: growing_json.GrowingJson | None
    count: int
    done: int = 0
    has_page: bool = False
    _page_drawings: list[np.ndarray] = dataclasses.field(default_factory=list)

    def add(self, name: str, drawn: np.ndarray, results: Sequence[dict]) -> None:
        """Writes the results of one picture; `name` is the file name of its drawing."""
        if is_image_name(self.path):
            # No larger than on the page, which could otherwise not be held in memory.
            self._page_drawings.append(drawing.shrink(drawn, MAX_PAGE_SIDE // _columns(self.count)))
        else:
            write_image(self.path / name, drawn)
        if self.json is not None:
            add_results(self.json, results)
        self.done += 1

    def write_page(self) -> None:
        """Writes the page of all drawings so far, if `path` is a picture."""
        if self._page_drawings:
            page = drawing.draw_grid(self._page_drawings, _columns(len(self._page_drawings)))
            write_image(self.path, drawing.shrink(page, MAX_PAGE_SIDE))
            self.has_page = True


def _columns(count: int) -> int:
    """The number of drawings in a row of a page of `count` drawings."""
    return math.ceil(math.sqrt(count))


def add_results(json: growing_json.GrowingJson, results: Sequence[dict]) -> None:
    """Adds the results of one picture or frame to a JSON file, all or none of them.

    Raises:
        ImageWriteError: The file cannot be written.
    """
    try:
        json.extend(results)
    except OSError as error:
        reason = error.strerror or error
        raise ImageWriteError(f"{json.path}: cannot be written: {reason}.") from None


def find_people(
    predictor, path, image: np.ndarray, boxes: Sequence[Box] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the person who fills a picture, or the people in boxes.

    Args:
        predictor: See `examples.pose.inference.predictor`.
        path: Name of the picture, for messages.
        image: uint8 `[height, width, 3]`.
        boxes: The boxes of people; None if the whole picture is one person.

    Returns:
        Joints `[people, joints, 2]` in pixels of the picture, and scores `[people, joints]`.

    Raises:
        ImageError: The picture is too large, the output is not finite, or a box lies outside.
    """
    try:
        if boxes is None:
            found = predictor.predict(image)
            joints, scores = (array[np.newaxis] for array in found)
        else:
            joints, scores = people.predict(predictor, image, boxes)
    except (tf.errors.ResourceExhaustedError, MemoryError):
        height, width = image.shape[:2]
        raise ImageError(f"{path}: not enough memory for {width} x {height} pixels.") from None
    except BoxError as error:
        raise ImageError(f"{path}: {error}.") from None
    if not (np.isfinite(joints).all() and (scores > 0).all()):
        raise ImageError(f"{path}: the network's output is NaN or infinite.")
    return joints, scores


def predict_file(
    predictor, path, min_score: float, boxes: Sequence[Box] | None = None
) -> tuple[np.ndarray, list[dict], np.ndarray]:
    """Predicts a picture file.

    Args:
        predictor: See `examples.pose.inference.predictor`.
        path: The file.
        min_score: Joints with a lower score are drawn as uncertain.
        boxes: The boxes of people; None if the whole picture is one person.

    Returns:
        The drawing; the results as JSON values, in COCO's format if there are boxes; and joints
        with scores, `[people, joints, 3]`.

    Raises:
        ImageError: The file cannot be read, or `find_people` cannot predict it.
    """
    image = read_image(path)
    joints, scores = find_people(predictor, path, image, boxes)
    poses = np.concatenate([joints, scores[..., None]], axis=-1)
    skeleton = predictor.skeleton
    if boxes is not None:
        drawn = people.draw(image, boxes, joints, scores, skeleton, min_score, DRAWING_SIZE)
        return drawn, people.results(path, boxes, joints, scores), poses
    visibility = drawing.visibility_of_scores(scores[0], min_score)
    drawn = drawing.draw_pose(image, joints[0], visibility, skeleton, min_size=DRAWING_SIZE)
    result = {
        "file": str(path),
        "height": image.shape[0],
        "width": image.shape[1],
        "joints": joints[0].tolist(),
        "scores": scores[0].tolist(),
    }
    return drawn, [result], poses


def predict_all(
    predictor,
    paths: Sequence[str],
    names: Sequence[str],
    outputs: Outputs,
    min_score: float,
    boxes: Sequence[list[Box] | BoxError] | None = None,
) -> list[str]:
    """Predicts files one after the other.

    Args:
        predictor: See `examples.pose.inference.predictor`.
        paths: The files.
        names: Names of their drawings, see `unique_names`.
        outputs: Receives the results.
        min_score: Joints with a lower score are drawn as uncertain.
        boxes: The boxes or the error of each file, from `Boxes.of_pictures`. If None, each whole
            picture is one person.

    Returns:
        An error message for each file that cannot be read or whose boxes are unknown. Such files
        do not stop the others.

    Raises:
        PredictError: Results cannot be written; the message says what was kept.
        KeyboardInterrupt: The command was stopped; the message says what was kept.
    """
    problems = []

    def keep_and_describe_results() -> str:
        with contextlib.suppress(ImageWriteError):
            outputs.write_page()
        for problem in problems:
            print(f"error: {problem}", file=sys.stderr)
        return _describe_results(outputs, paths, names, len(problems))

    try:
        for path, name, found in zip(paths, names, boxes or [None] * len(paths), strict=True):
            try:
                if isinstance(found, BoxError):
                    raise found
                drawn, results, poses = predict_file(predictor, path, min_score, found)
            except (ImageError, BoxError) as error:
                problems.append(str(error))
                continue
            outputs.add(name, drawn, results)
            _print_poses(path, poses, predictor.skeleton, min_score)
        outputs.write_page()
    except KeyboardInterrupt as stop:
        stop.args = (keep_and_describe_results(),)
        raise
    except (ImageWriteError, OSError) as error:  # An `OSError` comes from printing.
        reason = describe(error).rstrip(".")
        raise PredictError(f"{reason}. {keep_and_describe_results()}") from None
    return problems


def _describe_results(
    outputs: Outputs, paths: Sequence[str], names: Sequence[str], unreadable: int
) -> str:
    """Says which results an interrupted command has written, and how to go on.

    Args:
        outputs: The results so far.
        paths: All files of the command.
        names: Names of their drawings.
        unreadable: Number of files that could not be read so far.
    """
    if not outputs.done:
        return "No picture was finished."
    # A second command would replace these outputs.
    places, replaced = [], []
    if outputs.has_page or not is_image_name(outputs.path):
        places.append(f"drawings in {outputs.path}")
    done, next_index = outputs.done, outputs.done + unreadable
    remaining = paths[next_index:]
    earlier = {output_paths.comparable(name) for name in names[:next_index]}
    if is_image_name(outputs.path) or earlier & set(
        map(output_paths.comparable, unique_names(remaining))
    ):
        replaced.append("--output")
    if outputs.json is not None:
        places.append(f"joints and scores in {outputs.json.path}")
        replaced.append("--json")
    finished = f"{done} of {len(paths)} pictures are finished: {', '.join(places) or 'not kept'}."
    if not remaining:
        return finished
    with_others = f", with another {' and '.join(replaced)}" if replaced else ""
    return f"{finished} To go on, give the pictures from {remaining[0]} on{with_others}."


def unique_names(paths) -> list[str]:
    """Distinct file names for the drawings in one folder, even if pictures share a name."""
    names, taken = [], set()
    for path in paths:
        # Most file systems allow names of 255 bytes.
        stem = os.fsencode(Path(path).stem)[:200].decode(errors="ignore")
        number, name = 1, f"{stem}_pose.png"
        while (key := output_paths.comparable(name)) in taken:
            number += 1
            name = f"{stem}_pose{number}.png"
        taken.add(key)
        names.append(name)
    return names


def _print_poses(path, poses: np.ndarray, skeleton, min_score: float) -> None:
    """Prints a table of joints for each person in a picture; `poses` is `[people, joints, 3]`.

    Raises:
        OSError: Standard output cannot be written. Its `filename` is "standard output".
    """
    try:
        _print_tables(path, poses, skeleton, min_score)
    except SystemExit:  # Rich's way to report that the reader of a pipe has ended.
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE), "standard output") from None
    except OSError as error:
        error.filename = "standard output"
        raise


def _print_tables(path, poses: np.ndarray, skeleton, min_score: float) -> None:
    for number, pose in enumerate(poses, start=1):
        title = printable(path) + (f", person {number}" if len(poses) > 1 else "")
        table = rich.table.Table(title=title, title_justify="left")
        table.add_column("joint")
        for heading in ("x", "y", "score"):
            table.add_column(heading, justify="right")
        for name, (x, y, score) in zip(skeleton.joint_names, pose, strict=True):
            style = None if score >= min_score else "dim"
            cells = (name.replace("_", " "), f"{x:.1f}", f"{y:.1f}", f"{score:.2f}")
            table.add_row(*cells, style=style)
        rich.console.Console(markup=False).print(table)
    if not len(poses):
        print(f"{printable(path)}: no boxes")


def printable(path) -> str:
    """Returns a path as text that can be printed: file names may contain any bytes."""
    return os.fsencode(path).decode(errors="replace")
