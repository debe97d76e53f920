"""`box_conv2d` in TensorFlow's graphs, shape inference and threads."""

import os
import subprocess
import sys

import numpy as np
import pytest

import tf_boxconv
from tests.backend import tensorflow_only
from tests.ops.problems import random_problem
from tests.ops.test_box_conv import run
from tests.ops.test_box_conv_gradients import second_order

tf = pytest.importorskip("tensorflow")
pytestmark = tensorflow_only


def test_same_in_a_graph_with_unknown_shapes():
    problem = random_problem(12, "float32")
    spec = tf.TensorSpec([None, None, None, None], tf.float32)
    signature = [spec, tf.TensorSpec([None, None, 4], tf.float32), spec]

    @tf.function(input_signature=signature)
    def graph(x, boxes, output_grad):
        with tf.GradientTape() as tape:
            tape.watch([x, boxes])
            out = tf_boxconv.box_conv2d(x, boxes, **problem.options)
        return out, *tape.gradient(out, [x, boxes], output_gradients=output_grad)

    eager = run(tf_boxconv.box_conv2d, problem)
    traced = graph(problem.x, tf.constant(problem.boxes), problem.output_grad)
    for a, b in zip(eager, traced, strict=True):
        np.testing.assert_array_equal(a, b)


def test_second_order_in_a_graph():
    problem = random_problem(2003, "float64")

    def both(through=("input", "boxes")):
        return second_order(tf_boxconv.box_conv2d, problem, through)

    for a, b in zip(both(), tf.function(both)(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_static_shapes(data_format):
    last = data_format == "channels_last"

    def traced_shape(shape):
        @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32)])
        def function(x):
            return tf_boxconv.box_conv2d(x, tf.zeros([3, 5, 4]), (2, 3), "area", data_format)

        return tuple(function.get_concrete_function().output_shapes)

    if last:
        assert traced_shape([None, 7, 7, 3]) == (None, 4, 3, 15)
        assert traced_shape([2, None, 6, None]) == (2, None, 2, 15)
    else:
        assert traced_shape([None, 3, 7, 7]) == (None, 15, 4, 3)
        assert traced_shape([2, None, 6, None]) == (2, 15, 3, None)


# Prints a hash of the output and both gradients of a few problems on as many threads as it is told.
HASH_ON_THREADS = """
import hashlib, sys
import numpy as np, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
import tf_boxconv
found = hashlib.sha256()
for shape, per_channel in [((3, 40, 33, 20), 2), ((1, 300, 1200, 9), 1), ((7, 5, 6, 70), 1)]:
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=shape), tf.float32)
    boxes = np.sort(rng.uniform(-20, 20, (shape[-1], per_channel, 2, 2)), axis=2)
    boxes = tf.constant(boxes.reshape(shape[-1], per_channel, 4), tf.float32)
    for normalization in ("area", "valid"):
        with tf.GradientTape() as tape:
            tape.watch([x, boxes])
            out = tf_boxconv.box_conv2d(x, boxes, normalization=normalization)
        for tensor in [out, *tape.gradient(out, [x, boxes], output_gradients=out)]:
            found.update(tensor.numpy().tobytes())
print("HASH", found.hexdigest())
"""


def test_same_bits_on_any_number_of_threads():
    hashes = set()
    for threads in (1, 2, 4):
        done = subprocess.run(
            [sys.executable, "-c", HASH_ON_THREADS, str(threads)],
            capture_output=True,
            text=True,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        hashes.update(line for line in done.stdout.splitlines() if line.startswith("HASH"))
    assert len(hashes) == 1


def test_static_shape_of_the_integral_image():
    @tf.function(input_signature=[tf.TensorSpec([None, 4, None, 2], tf.float32)])
    def function(x):
        return tf_boxconv.integral_image(x)

    assert tuple(function.get_concrete_function().output_shapes) == (None, 5, None, 2)
