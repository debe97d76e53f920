"""Converts the data set `flic` of `tfds` to the features of the other pose data sets.

FLIC stands for Frames Labeled in Cinema.
"""

from __future__ import annotations

import contextlib
import os
import textwrap
from collections.abc import Iterator
from typing import Any

import requests
import tensorflow as tf
import tensorflow_datasets as tfds

from examples.pose.datasets import FLIC_CONFIGS, official_files
from examples.pose.datasets.skeletons import NOT_LABELLED, VISIBLE

# FLIC's arrays have 29 joints, of which eleven are labelled. These are their indices.
_JOINT_INDICES = {
    "left_shoulder": 0,
    "left_elbow": 1,
    "left_wrist": 2,
    "right_shoulder": 3,
    "right_elbow": 4,
    "right_wrist": 5,
    "left_hip": 6,
    "right_hip": 9,
    "left_eye": 12,
    "right_eye": 13,
    "nose": 16,
}
# Frames are cropped to a square around the torso's box, this many times as large.
_CROP_SIZE = 3.0


def builder(name: str, prepared_dir: str | None) -> tfds.core.DatasetBuilder:
    """Returns the builder of `tfds`, changed to fail quickly and with an error of one line.

    Args:
        name: One of `FLIC_CONFIGS`.
        prepared_dir: Folder of the prepared records.
    """
    tfds_builder = tfds.builder(FLIC_CONFIGS[name], data_dir=prepared_dir)
    prepare = tfds_builder.download_and_prepare

    def prepare_or_explain(download_config: tfds.download.DownloadConfig) -> None:
        try:
            with _few_retries():
                prepare(download_config=download_config)
        except Exception as error:  # From tfds, requests, zipfile, scipy or Pillow.
            if fault := official_files.disk_fault(error):
                raise fault from None
            reason = f"{type(error).__name__}: {textwrap.shorten(str(error), 200)}"
            raise _explanation(name, tfds_builder.builder_config, download_config, reason) from None

    tfds_builder.download_and_prepare = prepare_or_explain
    return tfds_builder


def _explanation(name, builder_config, download_config, reason: str) -> Exception:
    archive = f"{builder_config.dir}.zip"
    manual_dir = download_config.manual_dir
    if manual_dir and os.path.exists(os.path.join(manual_dir, archive)):
        return ValueError(
            f"{os.path.join(manual_dir, archive)} is not the complete official {archive} "
            f"({reason}). Remove it and get it again."
        )
    return FileNotFoundError(
        f"The data set {name!r} was not found. Expected in `data_dir`"
        f"{f', {manual_dir}' if manual_dir else ''}: the official {archive}. Downloading "
        f"{builder_config.url} failed too ({reason})."
    )


@contextlib.contextmanager
def _few_retries() -> Iterator[None]:
    """Limits `requests` to one retry. By default, `tfds` tries a missing server for minutes."""
    adapter = requests.adapters.HTTPAdapter
    send = adapter.send

    def send_with_one_retry(self, *args, **kwargs):
        self.max_retries = requests.adapters.Retry(1, backoff_factor=0.2)
        return send(self, *args, **kwargs)

    adapter.send = send_with_one_retry
    try:
        yield
    finally:
        adapter.send = send


def convert(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Converts the examples of `tfds.load("flic")`, one by one.

    Coordinates then count from 0 instead of 1, and frames are cropped to the labelled person. FLIC
    does not record whether a joint is occluded, so labelled joints are marked as visible.

    Args:
        dataset: Examples with `image`, `xcoords`, `ycoords`, `torsobox`, `moviename`, `currframe`.

    Returns:
        Examples with `pose_features(FLIC_SKELETON, ("origin", "box"))`, where `box` is the torso's.
    """
    return dataset.map(_convert, num_parallel_calls=tf.data.AUTOTUNE)


def _convert(example: dict[str, Any]) -> dict[str, Any]:
    image = example["image"]
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    y_min, x_min, y_max, x_max = tf.unstack(example["torsobox"] * tf.tile(sides, [2]))
    box = tf.stack([x_min, y_min, x_max, y_max])
    half = _CROP_SIZE / 2 * tf.maximum(y_max - y_min, x_max - x_min)
    middle = tf.stack([y_min + y_max, x_min + x_max]) / 2
    low = tf.clip_by_value(tf.floor(middle - half), 0, sides - 1)
    high = tf.clip_by_value(tf.math.ceil(middle + half), low + 1, sides)
    top, left = tf.unstack(tf.cast(low, tf.int32))
    bottom, right = tf.unstack(tf.cast(high, tf.int32))
    origin = low[::-1]

    points = tf.stack([example["xcoords"], example["ycoords"]], axis=-1)
    joints = tf.cast(tf.gather(points, list(_JOINT_INDICES.values())), tf.float32) - 1 - origin
    labelled = tf.reduce_all(tf.math.is_finite(joints), axis=-1)
    frame = tf.strings.as_string(tf.cast(example["currframe"], tf.int64), width=8, fill="0")
    return {
        "image": image[top:bottom, left:right],
        "joints": tf.where(labelled[:, None], joints, 0.0),
        "visibility": tf.where(labelled, tf.constant(VISIBLE, tf.uint8), NOT_LABELLED),
        "id": tf.strings.join([example["moviename"], frame], "-"),
        "person": {"origin": origin, "box": box - tf.tile(origin, [2])},
    }
