"""Saves and loads models under the backend of this process.

`test_across_backends.py` runs it as `python -m tests.layers.across_backends ACTION FOLDER`.
"""

import sys
from pathlib import Path

import keras
import numpy as np

FRAMEWORKS = ("tensorflow", "jax", "torch")
BACKEND = keras.config.backend()
# Keras 3.15 imports JAX if it is installed, whatever the backend.
IMPORTED_BY_KERAS = {name for name in FRAMEWORKS if sys.modules.get(name) is not None}

from tests.images import images  # noqa: E402
from tf_boxconv.layers import BoxBottleneck, BoxConv2D, DepthwiseBoxConv2D  # noqa: E402

# By name: the size of the input, and the shapes of the batches to predict.
MODELS = {
    "fixed": ((9, 11), [(3, 9, 11, 8)]),
    "dynamic": ((None, None), [(3, 9, 11, 8), (1, 30, 4, 8), (2, 1, 1, 8)]),
}


def trained_model(name: str) -> keras.Model:
    """A model of all three layers, trained for a few steps."""
    size, _ = MODELS[name]
    max_size = (10, 12) if None in size else None
    inputs = keras.Input((*size, 8))
    x = BoxBottleneck(4, max_size=max_size, name="bottleneck")(inputs)
    x = BoxConv2D(
        5, depth_multiplier=3, strides=2, activation="relu", max_size=max_size, name="box_conv2d"
    )(x)
    x = DepthwiseBoxConv2D(
        2, normalization="valid", use_bias=True, max_size=max_size, name="depthwise"
    )(x)
    model = keras.Model(inputs, x)
    model.compile(keras.optimizers.Adam(0.02), "mse")
    x, y = images((4, 9, 11, 8), seed=1), images((4, 5, 6, 10), seed=2)
    for _ in range(4):
        model.train_on_batch(x, y)
    return model


def outputs_of(model: keras.Model, name: str) -> list[np.ndarray]:
    """The outputs on the batches that `MODELS` lists under this name."""
    return [model.predict(images(shape), verbose=0) for shape in MODELS[name][1]]


def save(folder: Path) -> None:
    """Saves each model and its outputs."""
    for name in MODELS:
        model = trained_model(name)
        model.save(folder / f"{name}-{BACKEND}.keras")
        np.savez(folder / f"{name}-{BACKEND}.npz", *outputs_of(model, name))


def load(folder: Path) -> None:
    """Loads every model in the folder and saves its outputs under this backend."""
    for file in folder.glob("*.keras"):
        name = file.stem.split("-")[0]
        model = keras.models.load_model(file)
        np.savez(folder / f"{file.stem}-in-{BACKEND}.npz", *outputs_of(model, name))


def use_alone(folder: Path) -> None:
    """Trains, saves and loads a model, then checks that no other framework was imported."""
    model = trained_model("fixed")
    model.save(folder / "model.keras")
    loaded = keras.models.load_model(folder / "model.keras")
    for saved, again in zip(*(outputs_of(m, "fixed") for m in (model, loaded)), strict=True):
        np.testing.assert_array_equal(saved, again)
    imported = {name for name in FRAMEWORKS if sys.modules.get(name) is not None}
    assert BACKEND in imported and imported == IMPORTED_BY_KERAS | {BACKEND}, imported


if __name__ == "__main__":
    {"save": save, "load": load, "use_alone": use_alone}[sys.argv[1]](Path(sys.argv[2]))
