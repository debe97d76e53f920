"""Compares scales of the stored boxes by how well optimizers train boxes divided by them.

    python -m benchmarks.coordinate_scale            # the table of docs/notes/coordinate_scale.md
    python -m benchmarks.coordinate_scale --tasks teacher --seeds 1 --steps 100

A layer stores `pixels / (factor * max_size)`. Each row of a table is one factor: "pixels" is 1 /
max_size, which stores pixels unscaled, and "frozen" does not train the boxes at all. Each column is
one optimizer, which trains boxes and other weights at the same learning rate. A cell shows the
final training loss (geometric mean over seeds, worst seed in brackets), and the median distance
that an edge has moved.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from benchmarks import command_line

FACTORS = ("frozen", "pixels", 0.25, 0.5, 1.0, 2.0, 4.0)
OPTIMIZERS = {
    "adam 1e-3": {"class_name": "Adam", "config": {"learning_rate": 1e-3}},
    "adam 2e-3": {"class_name": "Adam", "config": {"learning_rate": 2e-3}},
    "sgd 1e-2, momentum 0.9": {
        "class_name": "SGD",
        "config": {"learning_rate": 1e-2, "momentum": 0.9},
    },
}
BATCH = 8


def teacher_task(seed: int, size: int = 64):
    """A layer learns the outputs of another layer, its teacher, for images of smooth noise."""
    import keras

    from tf_boxconv.initializers import RandomBoxes
    from tf_boxconv.layers import BoxConv2D

    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(256, size // 8, size // 8, 4))
    noise = rng.normal(size=(256, size, size, 4))
    images = (np.kron(coarse, np.ones((1, 8, 8, 1))) + noise).astype(np.float32)
    teacher = BoxConv2D(
        3, depth_multiplier=2, boxes_initializer=RandomBoxes(seed=1000 + seed), use_bias=False
    )
    targets = np.concatenate([teacher(part).numpy() for part in np.split(images, 8)])
    targets /= targets.std()
    inputs = keras.Input(images.shape[1:])
    model = keras.Model(inputs, BoxConv2D(3, depth_multiplier=4, use_bias=False)(inputs))
    return images, targets, model, keras.losses.MeanSquaredError()


def rectangles_task(seed: int, size: int = 48):
    """A network labels the pixels of rectangles of three shapes in noise."""
    import keras

    from tf_boxconv.layers import BoxConv2D

    rng = np.random.default_rng(seed)
    images = rng.normal(0, 0.7, size=(256, size, size, 1)).astype(np.float32)
    labels = np.zeros((256, size, size), np.int32)
    for image, label in zip(images, labels, strict=True):
        for _ in range(5):
            kind = rng.integers(3)
            height, width = ((5, 21), (21, 5), (11, 11))[kind]
            y, x = rng.integers(size - height), rng.integers(size - width)
            image[y : y + height, x : x + width] += rng.uniform(0.5, 1.5)
            label[y : y + height, x : x + width] = 1 + kind
    x = inputs = keras.Input(images.shape[1:])
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    for _ in range(2):
        x = BoxConv2D(16, depth_multiplier=4, use_bias=False)(x)
        x = keras.layers.Activation("relu")(keras.layers.BatchNormalization()(x))
    model = keras.Model(inputs, keras.layers.Conv2D(4, 1)(x))
    return images, labels, model, keras.losses.SparseCategoricalCrossentropy(from_logits=True)


TASKS = {"teacher": teacher_task, "rectangles": rectangles_task}


def box_layers(model):
    """Returns the layers of `model` that have boxes."""
    from tf_boxconv.layers import BoxConv2D

    return [layer for layer in model.layers if isinstance(layer, BoxConv2D)]


def all_boxes(model) -> np.ndarray:
    """Returns all boxes of `model` in pixels, as a flat array."""
    return np.concatenate([layer.boxes.numpy().ravel() for layer in box_layers(model)])


def multiply_scale(layer, factor: float) -> None:
    """Multiplies the scale that the stored boxes are divided by, and keeps the boxes in pixels."""
    boxes = layer.boxes
    scale = next(weight for weight in layer.weights if weight.name == "scale")
    scale.assign(scale * np.array([factor, factor, 1, 1], np.float32))
    layer.set_boxes(boxes)


def run(task: str, factor, optimizer: str, seed: int, steps: int) -> tuple[float, float]:
    """Trains once; returns the final loss and the median movement of an edge in pixels."""
    import keras

    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    size = TASKS[task].__defaults__[0]
    numeric = {"frozen": 1.0, "pixels": 1.0 / size}.get(factor, factor)
    images, targets, model, loss = TASKS[task](seed)
    for layer in box_layers(model):
        multiply_scale(layer, numeric)
    start = all_boxes(model)
    losses = train(
        model,
        loss,
        keras.optimizers.deserialize(OPTIMIZERS[optimizer]),
        images,
        targets,
        steps,
        factor,
        seed,
    )
    moved = float(np.median(np.abs(all_boxes(model) - start)))
    return float(np.mean(losses[-max(1, steps // 10) :])), moved


def train(model, loss, optimizer, images, targets, steps, factor, seed) -> list[float]:
    """Trains `model` and returns the loss of each step."""
    import tensorflow as tf

    frozen = [layer.weights[0].path for layer in box_layers(model)] if factor == "frozen" else []
    weights = [w for w in model.trainable_weights if w.path not in frozen]
    optimizer.build(weights)

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=True))
        optimizer.apply(tape.gradient(value, [w.value for w in weights]))
        return value

    rng = np.random.default_rng(seed)
    picks = [rng.choice(len(images), BATCH, replace=False) for _ in range(steps)]
    return [float(step(images[pick], targets[pick])) for pick in picks]


def print_header(task: str, optimizers, seeds: int) -> None:
    """Prints the head of a Markdown table."""
    print(f"\n{task}: final loss, worst of {seeds} seeds in brackets, median movement of an edge\n")
    print("| factor | " + " | ".join(optimizers) + " |")
    print("| --- |" + " --- |" * len(optimizers), flush=True)


def cell(runs: list[tuple[float, float]]) -> str:
    """Returns one cell of the table, from the runs of all seeds."""
    losses, moved = zip(*runs, strict=True)
    mean = np.exp(np.mean(np.log(losses)))
    return f"{mean:.4f} ({max(losses):.4f}) {np.mean(moved):.2f} px"


def main(argv: list[str] | None = None) -> None:
    """Runs the measurement and prints a table for each task."""
    parser = command_line.make_parser("coordinate_scale", __doc__)
    parser.add_argument(
        "--tasks", nargs="+", choices=TASKS, default=list(TASKS), help="which tasks"
    )
    parser.add_argument(
        "--optimizers",
        nargs="+",
        choices=OPTIMIZERS,
        default=list(OPTIMIZERS),
        help="which optimizers",
    )
    parser.add_argument("--seeds", type=command_line.positive, default=3, help="runs of each")
    parser.add_argument("--steps", type=command_line.positive, default=500, help="steps of a run")
    arguments = parser.parse_args(argv)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    seeds = range(arguments.seeds)
    for task in arguments.tasks:
        began = time.monotonic()
        print_header(task, arguments.optimizers, arguments.seeds)
        for factor in FACTORS:
            cells = [
                cell([run(task, factor, name, seed, arguments.steps) for seed in seeds])
                for name in arguments.optimizers
            ]
            print(f"| {factor} | " + " | ".join(cells) + " |", flush=True)
        print(f"\n{time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
