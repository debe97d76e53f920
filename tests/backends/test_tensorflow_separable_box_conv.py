"""`separable_box_conv2d` in TensorFlow: graphs, shape inference, exports, machines with a GPU."""

import numpy as np
import pytest

import tf_boxconv
from tests import tolerances
from tests.backend import tensor, tensorflow_only, value_and_gradients
from tests.images import DATA_FORMATS, image_shape, images
from tests.ops.problems import DTYPES
from tests.ops.separable_problems import (
    check_against_reference,
    output_and_gradients,
    random_separable_problem,
    second_order_gradients,
)
from tf_boxconv import separable_box_conv2d

tf = pytest.importorskip("tensorflow")
pytestmark = [tensorflow_only, pytest.mark.usefixtures("fused_on_all_planes")]

from tf_boxconv.backends.tensorflow import separable_box_conv as implementation  # noqa: E402

MIN_PIXELS = implementation.MIN_PIXELS
ALL = ("input", "boxes", "kernel", "bias")
FUSED = "BoxConv>SeparableBoxConv2D"


def custom_ops(function, *specs):
    """Returns the types of the custom ops in a function's graph."""
    operations = tf.function(function).get_concrete_function(*specs).graph.get_operations()
    return [op.type for op in operations if op.type.startswith("BoxConv>")]


@pytest.mark.parametrize("seed", [12, 14])
def test_same_bits_in_a_graph_with_unknown_shapes(seed):
    problem = random_separable_problem(seed, "float32")
    image, two, one = (tf.TensorSpec([None] * rank, tf.float32) for rank in (4, 2, 1))
    signature = [image, tf.TensorSpec([None, None, 4], tf.float32), two, one, image]

    @tf.function(input_signature=signature)
    def graph(x, boxes, kernel, bias, output_grad):
        arguments = [x, boxes, kernel, bias]
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            out = separable_box_conv2d(*arguments, **problem.options)
        return out, *tape.gradient(out, arguments, output_gradients=output_grad)

    eager = output_and_gradients(separable_box_conv2d, problem)
    traced = graph(*problem.arguments, problem.output_grad)
    for a, b in zip(eager, traced, strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_unknown_number_of_filters_without_a_bias():
    kernel = images((6, 4))
    boxes = np.tile(np.float32([-1.5, -1.5, 1.5, 1.5]), (3, 2, 1))
    x = images((2, 6, 5, 3))

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32)])
    def graph(kernel):
        return separable_box_conv2d(x, boxes, kernel)

    np.testing.assert_array_equal(graph(kernel), separable_box_conv2d(x, boxes, kernel))


@pytest.mark.parametrize("data_format", DATA_FORMATS)
def test_images_of_unknown_rank(data_format):
    x, kernel = images(image_shape(data_format, 6, 5, 3)), images((6, 4))
    boxes = np.tile(np.float32([-1.5, -1.5, 1.5, 1.5]), (3, 2, 1))

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32)])
    def graph(x):
        return separable_box_conv2d(x, boxes, kernel, data_format=data_format)

    expected = separable_box_conv2d(x, boxes, kernel, data_format=data_format)
    np.testing.assert_allclose(graph(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", [2003])
@pytest.mark.parametrize("through", [ALL, ("kernel",)], ids="+".join)
def test_second_order_in_a_graph(through, seed):
    problem = random_separable_problem(seed, "float64")

    def gradients():
        return second_order_gradients(separable_box_conv2d, problem, through)

    for a, b in zip(gradients(), tf.function(gradients)(), strict=True):
        np.testing.assert_allclose(a, b, **tolerances.VALUES["float64"])


@pytest.mark.parametrize("data_format", DATA_FORMATS)
def test_graphs_know_as_much_of_the_shapes_as_they_can(data_format):
    def traced_shapes(x_shape, kernel_shape, bias_shape):
        specs = [tf.TensorSpec(shape) for shape in (x_shape, kernel_shape, bias_shape)]

        @tf.function(input_signature=specs)
        def function(x, kernel, bias):
            arguments = [x, tf.zeros([3, 5, 4]), kernel, bias]
            out, gradients = value_and_gradients(
                lambda *a: separable_box_conv2d(*a, (2, 3), "area", data_format), arguments
            )
            return out, *gradients

        return [tuple(shape) for shape in function.get_concrete_function().output_shapes]

    def shape(batch, height, width, channels):
        return image_shape(data_format, height, width, channels, batch)

    boxes = (3, 5, 4)
    x = shape(None, 7, 7, 3)
    out = shape(None, 4, 3, 8)
    assert traced_shapes(x, (15, 8), (8,)) == [out, x, boxes, (15, 8), (8,)]
    assert traced_shapes(x, (None, 8), (None,)) == [out, x, boxes, (15, 8), (8,)]
    # The gradient op has no bias, so only the output knows the number of filters.
    assert traced_shapes(x, (None, None), (8,))[0] == out


def test_gradients_run_one_fused_op():
    spec = tf.TensorSpec(image_shape("channels_last", channels=3))
    boxes, kernel = tf.zeros([3, 2, 4]), tf.zeros([6, 4])

    def loss(x):
        arguments = [x, boxes, kernel, tf.zeros([4])]
        return value_and_gradients(separable_box_conv2d, arguments)[1]

    assert custom_ops(loss, spec) == [FUSED, f"{FUSED}Grad"]


@pytest.fixture
def compose_small_planes(monkeypatch):
    """Undoes `fused_on_all_planes`."""
    monkeypatch.setattr(implementation, "MIN_PIXELS", MIN_PIXELS)


@pytest.mark.parametrize("data_format", DATA_FORMATS)
@pytest.mark.parametrize(
    ("height", "width", "op"),
    [(31, 33, "BoxConv>BoxConv2D"), (32, 32, FUSED), (16, 64, FUSED), (None, 8, FUSED)],
)
def test_small_planes_are_composed(height, width, op, data_format, compose_small_planes):
    boxes, kernel = tf.zeros([3, 2, 4]), tf.zeros([6, 4])
    spec = tf.TensorSpec(image_shape(data_format, height, width, 3, None))
    for bias in (None, tf.zeros([4])):
        assert custom_ops(
            lambda x, bias=bias: separable_box_conv2d(
                x, boxes, kernel, bias, data_format=data_format
            ),
            spec,
        ) == [op]


@pytest.mark.parametrize("seed", range(5000, 5004))
@pytest.mark.parametrize("dtype", DTYPES)
def test_composition_on_random_problems(dtype, seed, compose_small_planes):
    """Random problems have small planes."""
    check_against_reference(separable_box_conv2d, random_separable_problem(seed, dtype))


@pytest.mark.parametrize("seed", [21, 22])
def test_a_machine_with_a_gpu_runs_the_composition(seed, monkeypatch):
    """The fused op has no GPU kernel. On such a machine, it would copy the images to the CPU."""
    problem = random_separable_problem(seed, "float64")
    expected = output_and_gradients(separable_box_conv2d, problem)
    monkeypatch.setattr(implementation, "_HAS_CUDA_KERNELS", True)
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [kind])
    actual = output_and_gradients(separable_box_conv2d, problem)
    for a, e in zip(actual, expected, strict=True):
        scale = 1 + np.max(np.abs(e), initial=0)
        np.testing.assert_allclose(a / scale, e / scale, **tolerances.VALUES["float64"])

    def run():
        return separable_box_conv2d(*problem.arguments, **problem.options)

    assert custom_ops(run) == ["BoxConv>BoxConv2D"]
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [])
    assert custom_ops(run) == [FUSED]


@pytest.mark.parametrize("use_bias", [True, False])
def test_exports_add_no_bias_of_zeros(use_bias, tmp_path):
    from tf_boxconv.exporting import saved_model_graph

    layer = tf_boxconv.layers.BoxConv2D(4, use_bias=use_bias, bias_initializer="random_normal")
    inputs = tf.keras.Input((9, 8, 3))
    model = tf.keras.Model(inputs, layer(inputs))
    tf_boxconv.export(model, tmp_path / "exported", "saved_model_portable")
    nodes = list(saved_model_graph.nodes(tmp_path / "exported"))
    assert any(node.op == "AddV2" for node in nodes) == use_bias
    assert not saved_model_graph.custom_ops(tmp_path / "exported")
    x = tensor(images((2, 9, 8, 3)))
    loaded = tf.saved_model.load(tmp_path / "exported")
    np.testing.assert_allclose(loaded.serve(x), model(x), **tolerances.MODELS["float32"])
