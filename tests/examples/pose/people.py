"""People with COCO labels, as annotations and as `Photographs`, and a model with known answers."""

import json

import numpy as np
import tensorflow as tf

from examples.pose.datasets import in_memory
from examples.pose.datasets.stick_figures.figure import draw_figure
from examples.pose.images.image_files import read_image
from tests.data_folder import DATA_DIR

COCO_MINI = DATA_DIR / "coco_mini"


def drawn_coco(count=12, seed=0):
    """Draws figures with random COCO labels. Three people share an image id.

    Returns:
        The annotations as in COCO's files, and the images.
    """
    rng = np.random.default_rng(seed)
    annotations, images = [], []
    for i in range(count):
        height, width = rng.integers(50, 200, 2)
        image = np.asarray(draw_figure(seed, "coco", i, size=128).image)[:height, :width]
        height, width = image.shape[:2]
        visibility = rng.integers(0, 3, 17)
        visibility[rng.integers(17)] = 2
        joints = rng.uniform(0, (width - 1, height - 1), (17, 2)).round(1)
        joints[visibility == 0] = 0
        area = float(rng.choice([900.0, 5000.0, 20000.0]))
        images.append(image)
        annotations.append(_annotation(i, 10 + i // 3, joints, visibility, image, area))
    return annotations, images


def coco_mini():
    """Returns annotations and images of the photographs in coco_mini. Image ids are distinct."""
    content = json.loads((COCO_MINI / "annotations.json").read_text())
    annotations, images = [], []
    for i, entry in enumerate(content["annotations"]):
        image = read_image(COCO_MINI / entry["file"])
        labels = np.array(entry["joints"], float)
        area = 0.5 * image.shape[0] * image.shape[1]
        images.append(image)
        annotations.append(
            _annotation(i, 100 + i, labels[:, :2], labels[:, 2].astype(int), image, area)
        )
    return annotations, images


def _annotation(number, image_id, joints, visibility, image, area):
    keypoints = np.column_stack([joints, visibility]).ravel().tolist()
    return {
        "id": 1000 + number,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "num_keypoints": int((visibility > 0).sum()),
        "keypoints": keypoints,
        "bbox": [0.0, 0.0, float(image.shape[1]), float(image.shape[0])],
        "area": area,
    }


def as_dataset(annotations, images):
    """Converts annotations and images to examples with the features of `pose_features`."""

    def generate():
        for annotation, image in zip(annotations, images, strict=True):
            labels = np.array(annotation["keypoints"], np.float32).reshape(17, 3)
            x, y, width, height = annotation["bbox"]
            yield {
                "image": image,
                "joints": labels[:, :2],
                "visibility": labels[:, 2].astype(np.uint8),
                "person": {
                    "origin": np.zeros(2, np.float32),
                    "box": np.float32([x, y, x + width, y + height]),
                    "area": np.float64(annotation["area"]),
                    "is_crowd": np.bool_(False),
                    "image_id": np.int64(annotation["image_id"]),
                    "person_id": np.int64(annotation["id"]),
                },
            }

    person = {
        "origin": tf.TensorSpec([2]),
        "box": tf.TensorSpec([4]),
        "area": tf.TensorSpec([], tf.float64),
        "is_crowd": tf.TensorSpec([], tf.bool),
        "image_id": tf.TensorSpec([], tf.int64),
        "person_id": tf.TensorSpec([], tf.int64),
    }
    signature = {
        "image": tf.TensorSpec([None, None, 3], tf.uint8),
        "joints": tf.TensorSpec([17, 2]),
        "visibility": tf.TensorSpec([17], tf.uint8),
        "person": person,
    }
    return tf.data.Dataset.from_generator(generate, output_signature=signature)


def model_with_known_answers(photographs, noise, seed=0):
    """Makes a model that finds the labelled joints, moved by random `noise` in pixels.

    The first pixel of each photograph is overwritten with its index, by which the model recognizes
    the photograph.

    Returns:
        The model, and its answers, `[n, J, 2]` in pixels of the letterboxed photographs.
    """
    rng = np.random.default_rng(seed)
    moves = rng.normal(0, noise, photographs.joints.shape)
    answers = np.clip(photographs.joints + moves, 0, photographs.size - 1)
    photographs.images[:, 0, 0, 0] = np.arange(len(photographs))
    cells = np.arange(photographs.size // 2) * 2 + 0.5
    squares = [(cells - answers[..., axis, None]) ** 2 / 4 for axis in (0, 1)]
    logits = -(squares[1][..., :, None] + squares[0][..., None, :]) / (2 * 1.5**2)
    logits = tf.constant(np.moveaxis(logits, 1, -1), tf.float32)

    def model(images, training=False):
        return tf.gather(logits, tf.cast(images[:, 0, 0, 0], tf.int32))

    return model, answers


def photographs_of(annotations, images, size=64):
    return in_memory.read_photographs(as_dataset(annotations, images), size, "reading")
