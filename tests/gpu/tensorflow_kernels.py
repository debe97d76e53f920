"""Checks TensorFlow's OpKernels on a GPU against the float64 reference.

python -m tests.gpu.tensorflow_kernels

Needs TensorFlow with CUDA and tf_boxconv built with CUDA kernels; says so if they are missing.
"""

import sys

import numpy as np

from tests import reference, tolerances

BOXES = np.float32([[[-2.25, -9, 3.5, 1.5]], [[-40, -0.5, 0.25, 30.75]], [[-0.5, -0.5, 0.5, 0.5]]])


def check(tf, tf_boxconv, data_format: str, normalization: str | None) -> None:
    """Compares the output and both gradients of a small problem."""
    rng = np.random.default_rng(0)
    shape = (2, 21, 19, 3) if data_format == "channels_last" else (2, 3, 21, 19)
    x, g = (rng.normal(1, 1, shape).astype(np.float32) for _ in range(2))
    options = {"normalization": normalization, "data_format": data_format}
    with tf.device("/GPU:0"):
        tensors = tf.constant(x), tf.constant(BOXES)
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            out = tf_boxconv.box_conv2d(*tensors, **options)
            loss = tf.reduce_sum(out * g)
        found = [out, *tape.gradient(loss, tensors)]
    if "GPU" not in out.device:
        raise AssertionError(f"the output is on {out.device}")
    expected = [reference.box_conv2d(x, BOXES, **options)]
    expected += reference.box_conv2d_gradients(x, BOXES, g, **options)
    magnitudes = [reference.box_conv2d(abs(x), BOXES, **options)]
    magnitudes += reference.box_conv2d_gradients(abs(x), BOXES, abs(g), **options, magnitudes=True)
    for name, got, want, magnitude in zip(
        ("output", "input gradient", "box gradient"), found, expected, magnitudes, strict=True
    ):
        bound = tolerances.OPERATOR["float32"] * magnitude + tolerances.UNDERFLOW["float32"]
        if not np.all(np.abs(got.numpy() - want) <= bound):
            raise AssertionError(f"{data_format}, {normalization}: wrong {name}")


def main() -> int:
    """The command `python -m tests.gpu.tensorflow_kernels`."""
    try:
        import tensorflow as tf

        import tf_boxconv
    except ImportError as error:
        print(f"NOT run: {error}")
        return 0
    if not tf.config.list_physical_devices("GPU"):
        print("NOT run: TensorFlow sees no GPU")
        return 0
    if tf_boxconv.build_info()["cuda"] is None:
        print("NOT run: tf_boxconv was built without CUDA kernels")
        return 0
    for data_format in ("channels_last", "channels_first"):
        for normalization in (None, "area", "valid"):
            check(tf, tf_boxconv, data_format, normalization)
    print("TensorFlow's GPU kernels agree with the reference")
    return 0


if __name__ == "__main__":
    sys.exit(main())
