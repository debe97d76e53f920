"""`box_conv2d` in TensorFlow: graphs, shape inference, threads."""

import os
from pathlib import Path

import numpy as np
import pytest

import tf_boxconv
from tests import tolerances
from tests.backend import tensorflow_only
from tests.images import DATA_FORMATS, image_shape
from tests.new_process import run_python
from tests.ops.problems import output_and_gradients, random_problem, second_order_gradients

tf = pytest.importorskip("tensorflow")
ROOT = Path(__file__).resolve().parents[2]
pytestmark = tensorflow_only


@pytest.mark.parametrize("seed", [12])
def test_same_bits_in_a_graph_with_unknown_shapes(seed):
    problem = random_problem(seed, "float32")
    spec = tf.TensorSpec([None, None, None, None], tf.float32)
    signature = [spec, tf.TensorSpec([None, None, 4], tf.float32), spec]

    @tf.function(input_signature=signature)
    def graph(x, boxes, output_grad):
        with tf.GradientTape() as tape:
            tape.watch([x, boxes])
            out = tf_boxconv.box_conv2d(x, boxes, **problem.options)
        return out, *tape.gradient(out, [x, boxes], output_gradients=output_grad)

    eager = output_and_gradients(tf_boxconv.box_conv2d, problem)
    traced = graph(problem.x, tf.constant(problem.boxes), problem.output_grad)
    for a, b in zip(eager, traced, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("seed", [2003])
def test_second_order_in_a_graph(seed):
    problem = random_problem(seed, "float64")

    def gradients():
        return second_order_gradients(tf_boxconv.box_conv2d, problem, ("input", "boxes"))

    for a, b in zip(gradients(), tf.function(gradients)(), strict=True):
        np.testing.assert_allclose(a, b, **tolerances.VALUES["float64"])


@pytest.mark.parametrize("data_format", DATA_FORMATS)
def test_graphs_know_as_much_of_the_output_shape_as_they_can(data_format):
    def traced_shape(shape):
        @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32)])
        def function(x):
            return tf_boxconv.box_conv2d(x, tf.zeros([3, 5, 4]), (2, 3), "area", data_format)

        return tuple(function.get_concrete_function().output_shapes)

    def shape(batch, height, width, channels):
        return image_shape(data_format, height, width, channels, batch)

    assert traced_shape(shape(None, 7, 7, 3)) == shape(None, 4, 3, 15)
    assert traced_shape(shape(2, None, 6, None)) == shape(2, None, 2, 15)


# Prints a hash of the output and both gradients of a few problems. The argument is the number of
# threads.
HASH_ON_THREADS = """
import hashlib, sys
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
import tf_boxconv
from tests.boxes import boxes_anywhere
from tests.images import images
digest = hashlib.sha256()
for shape, per_channel in [((3, 40, 33, 20), 2), ((1, 300, 1200, 9), 1), ((7, 5, 6, 70), 1)]:
    x = tf.constant(images(shape))
    boxes = tf.constant(boxes_anywhere(shape[-1], per_channel, reach=20), tf.float32)
    for normalization in ("area", "valid"):
        with tf.GradientTape() as tape:
            tape.watch([x, boxes])
            out = tf_boxconv.box_conv2d(x, boxes, normalization=normalization)
        for tensor in [out, *tape.gradient(out, [x, boxes], output_gradients=out)]:
            digest.update(tensor.numpy().tobytes())
print("HASH", digest.hexdigest())
"""


def test_same_bits_on_any_number_of_threads():
    hashes = set()
    for threads in (1, 2, 4):
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
        done = run_python(HASH_ON_THREADS, threads, cwd=ROOT, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
        hashes.update(line for line in done.stdout.splitlines() if line.startswith("HASH"))
    assert len(hashes) == 1


def test_graphs_know_the_shape_of_the_integral_image():
    @tf.function(input_signature=[tf.TensorSpec([None, 4, None, 2], tf.float32)])
    def function(x):
        return tf_boxconv.integral_image(x)

    assert tuple(function.get_concrete_function().output_shapes) == (None, 5, None, 2)
