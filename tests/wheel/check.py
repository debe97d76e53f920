"""Checks an installed wheel: the operator, gradients, training, model files and XLA.

    python -m tests.wheel.check

Run it where `tf_boxconv` is installed and not in the current folder. The last line that it prints
is a JSON object: versions, whether XLA compiled the operators, and a digest of many results' bits.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import platform
import tempfile
from pathlib import Path

import keras
import numpy as np

import tf_boxconv
from tests.backend import BACKEND, to_float64
from tests.images import images
from tests.ops import problems, separable_problems
from tf_boxconv import backends

SEEDS = range(20)


def digest() -> str:
    """Returns a digest of the bits of outputs and gradients of the operators on random problems."""
    bits = hashlib.sha256()
    for seed in SEEDS:
        for dtype in problems.DTYPES:
            results = (
                *problems.output_and_gradients(
                    tf_boxconv.box_conv2d, problems.random_problem(seed, dtype)
                ),
                *separable_problems.output_and_gradients(
                    tf_boxconv.separable_box_conv2d,
                    separable_problems.random_separable_problem(seed, dtype),
                ),
            )
            for result in results:
                bits.update(to_float64(result).tobytes())
    return bits.hexdigest()[:16]


def check_operators() -> None:
    """Compares the operators with the reference."""
    for seed in SEEDS[:3]:
        problem = problems.random_problem(seed, "float32")
        problems.check_against_reference(tf_boxconv.box_conv2d, problem)
        problem = separable_problems.random_separable_problem(seed, "float32")
        separable_problems.check_against_reference(tf_boxconv.separable_box_conv2d, problem)


def box_model() -> keras.Model:
    """Returns a small model with box layers."""
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((16, 20, 3)),
            tf_boxconv.layers.BoxConv2D(6, activation="relu"),
            tf_boxconv.layers.DepthwiseBoxConv2D(),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )


def check_training_and_files(jit_compile: bool) -> None:
    """Trains a model, and loads it from a file in which it was saved."""
    model = box_model()
    before = [np.array(weight) for weight in model.get_weights()]
    model.compile("adam", "mse", jit_compile=jit_compile)
    x, y = images((8, 16, 20, 3)), images((8, model.output_shape[-1]), seed=1)
    losses = model.fit(x, y, epochs=3, batch_size=4, verbose=0).history["loss"]
    assert np.all(np.isfinite(losses)) and losses[-1] < losses[0], losses
    boxes = [i for i, variable in enumerate(model.weights) if "boxes" in variable.path]
    assert len(boxes) == 2
    for i in boxes:
        assert not np.array_equal(model.get_weights()[i], before[i]), "boxes were not trained"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        loaded = keras.models.load_model(path)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


def main() -> None:
    """Runs all checks and prints the answer."""
    here, package = Path.cwd(), Path(tf_boxconv.__file__).resolve()
    assert here not in package.parents, f"{package} is not installed"
    assert backends.native is not None, "the compiled library was not loaded"
    supports_jit = backends.native_supports_jit()
    check_operators()
    check_training_and_files(jit_compile=False)
    if supports_jit and BACKEND != "torch":  # Keras compiles PyTorch by other means than XLA.
        check_training_and_files(jit_compile=True)
    answer = {
        "python": platform.python_version(),
        "backend": BACKEND,
        "framework": importlib.import_module(BACKEND).__version__,
        "keras": keras.__version__,
        "jit": supports_jit,
        "cuda": tf_boxconv.build_info()["cuda"],
        "digest": digest(),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
