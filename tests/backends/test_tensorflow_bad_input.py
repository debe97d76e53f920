"""Bad input that only TensorFlow's graphs and raw ops allow gives an error, never a crash."""

import numpy as np
import pytest

import tf_boxconv
from tests import reference, tolerances
from tests.backend import tensorflow_only
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


def test_raw_ops_refuse_bad_attributes_and_shapes():
    from tf_boxconv.backends.tensorflow.library import compiled_ops

    with pytest.raises(tf.errors.InvalidArgumentError, match="`strides`"):
        compiled_ops.box_conv_box_conv2d(input=X, boxes=BOXES, strides=[0, 1])
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match="normalization"):
        compiled_ops.box_conv_box_conv2d(input=X, boxes=BOXES, normalization="mean")
    with pytest.raises(tf.errors.InvalidArgumentError, match="`output_grad` must have"):
        compiled_ops.box_conv_box_conv2d_grad(input=X, boxes=BOXES, output_grad=X)
