"""Bad input that only TensorFlow's graphs and raw ops allow gives an error, never a crash."""

import numpy as np
import pytest

import tf_boxconv
from tests import reference, tolerances
from tests.backend import tensorflow_only
from tests.images import images
from tests.ops.test_box_conv_bad_input import BOXES, X

tf = pytest.importorskip("tensorflow")
pytestmark = tensorflow_only


def test_bad_shapes_found_at_run_time_are_refused():
    """In a graph of unknown shapes, as in a server, only the kernel sees the shapes."""
    spec = tf.TensorSpec(None, tf.float32)

    @tf.function(input_signature=[spec, spec])
    def graph(x, boxes):
        return tf_boxconv.box_conv2d(x, boxes)

    np.testing.assert_allclose(
        graph(X, BOXES), reference.box_conv2d(X, BOXES), **tolerances.VALUES["float32"]
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="`input` must have rank 4"):
        graph(X[0], BOXES)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"`boxes` must have shape"):
        graph(X, BOXES[..., :3])
    with pytest.raises(tf.errors.InvalidArgumentError, match="one row per channel"):
        graph(X[..., :2], BOXES)


def test_bad_kernels_and_biases_found_at_run_time_are_refused():
    spec = tf.TensorSpec(None, tf.float32)

    @tf.function(input_signature=[spec] * 4)
    def graph(*arguments):
        return tf_boxconv.separable_box_conv2d(*arguments)

    kernel, bias = images((6, 4), seed=1), images((4,), seed=2)
    np.testing.assert_allclose(
        graph(X, BOXES, kernel, bias),
        reference.separable_box_conv2d(X, BOXES, kernel, bias),
        **tolerances.VALUES["float32"],
    )
    for arguments, message in (
        ((X[0], BOXES, kernel, bias), r"`input` must have rank 4, got shape \[6,5,3\]"),
        ((X, BOXES[..., :3], kernel, bias), r"`boxes` must have shape \[C, M, 4\]"),
        ((X, BOXES, kernel[0], bias), r"`kernel` must have shape \[C \* M, filters\], got \[4\]"),
        ((X, BOXES, kernel[:5], bias), r"one row per box, got kernel \[5,4\] and boxes \[3,2,4\]"),
        ((X, BOXES, kernel, bias[:3]), r"`bias` must have shape .*: \[4\], got \[3\]"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            graph(*arguments)


def test_raw_ops_refuse_bad_attributes_and_shapes():
    from tf_boxconv.backends.tensorflow.library import compiled_ops

    with pytest.raises(tf.errors.InvalidArgumentError, match="`strides`"):
        compiled_ops.box_conv_box_conv2d(input=X, boxes=BOXES, strides=[0, 1])
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match="normalization"):
        compiled_ops.box_conv_box_conv2d(input=X, boxes=BOXES, normalization="mean")
    with pytest.raises(tf.errors.InvalidArgumentError, match="`output_grad` must have"):
        compiled_ops.box_conv_box_conv2d_grad(input=X, boxes=BOXES, output_grad=X)
    arguments = {"input": X, "boxes": BOXES, "kernel": images((6, 4))}
    run, gradients = (
        compiled_ops.box_conv_separable_box_conv2d,
        compiled_ops.box_conv_separable_box_conv2d_grad,
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="`strides`"):
        run(**arguments, bias=images((4,)), strides=[1, 0])
    with pytest.raises(tf.errors.InvalidArgumentError, match="`output_grad` must have"):
        gradients(**arguments, output_grad=X)


def test_shape_inference_refuses_bad_kernels_and_biases():
    """The shapes are known when the graph is traced."""
    from tf_boxconv.backends.tensorflow.library import compiled_ops

    def trace(kernel, bias):
        shapes = (X.shape, BOXES.shape, kernel, bias)
        arguments = dict(
            zip(("input", "boxes", "kernel", "bias"), map(tf.zeros, shapes), strict=True)
        )
        return compiled_ops.box_conv_separable_box_conv2d(**arguments)

    for kernel, bias, message in (
        ([6], [4], r"`kernel` must have shape \[C \* M, filters\], got \[6\]"),
        ([5, 4], [4], r"one row per box, got kernel \[5,4\] and boxes \[3,2,4\]"),
        ([6, 4], [3], r"`bias` must have shape .* got bias \[3\] and kernel \[6,4\]"),
    ):
        with pytest.raises(ValueError, match=message):
            tf.function(trace).get_concrete_function(kernel, bias)
