"""The operators in PyTorch: registration, gradients, `torch.compile`, memory formats, threads."""

import concurrent.futures

import keras
import numpy as np
import pytest

import tf_boxconv
from tests import reference, tolerances
from tests.backend import BACKEND, to_float64
from tests.boxes import boxes_anywhere, boxes_around_pixel
from tests.images import DATA_FORMATS, images
from tests.layers.cases import LAYERS, make
from tests.ops.problems import DTYPES
from tests.seeds import seed_weights
from tf_boxconv.layers import BoxBottleneck, BoxConv2D, DepthwiseBoxConv2D

if BACKEND != "torch":
    pytest.skip(f"needs PyTorch; Keras's backend is {BACKEND}", allow_module_level=True)

import torch
from torch.utils._python_dispatch import TorchDispatchMode

X = images((2, 7, 9, 3), dtype=np.float64)
BOXES = boxes_around_pixel(3, 2, reach=4, seed=1)
OPTIONS = [
    {"strides": (1, 1), "normalization": "area", "data_format": "channels_last"},
    {"strides": (2, 1), "normalization": "valid", "data_format": "channels_first"},
    {"strides": (1, 3), "normalization": None, "data_format": "channels_last"},
]
each_option_set = pytest.mark.parametrize("options", OPTIONS)
operators = torch.ops.tf_boxconv


@pytest.fixture
def threads():
    """Sets PyTorch's number of threads for the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def images_and_boxes(data_format="channels_last", dtype=torch.float64):
    """Returns tensors that require gradients."""
    x = X if data_format == "channels_last" else np.moveaxis(X, -1, 1)
    boxes = torch.tensor(BOXES, dtype=torch.promote_types(dtype, torch.float32))
    return torch.tensor(x, dtype=dtype).requires_grad_(), boxes.requires_grad_()


def value_and_gradients(function, *arguments):
    """Returns the output, and the gradients of the sum of its sine."""
    out = function(*arguments)
    return out, *torch.autograd.grad(torch.sin(out).sum(), arguments)


def assert_same_bits(actual, expected):
    for a, e in zip(actual, expected, strict=True):
        assert torch.equal(a, e) and a.dtype == e.dtype


# Registration and gradients.


@pytest.mark.parametrize(("options", "dtype"), zip(OPTIONS + OPTIONS[:1], DTYPES, strict=True))
def test_operators_pass_opcheck(options, dtype):
    """`opcheck` checks schemas, shape inference and gradients, also in graphs of unknown sizes."""
    x, boxes = images_and_boxes(options["data_format"], getattr(torch, dtype))
    attributes = (
        list(options["strides"]),
        options["normalization"] or "none",
        options["data_format"],
    )
    out = operators.box_conv2d(x, boxes, *attributes)
    grad = torch.randn_like(out).requires_grad_()
    torch.library.opcheck(operators.box_conv2d.default, (x, boxes, *attributes))
    torch.library.opcheck(operators.box_conv2d_grad.default, (x, boxes, grad, *attributes))
    for table_dtype in ("float32", "float64"):
        torch.library.opcheck(
            operators.integral_image.default, (x, options["data_format"], table_dtype)
        )


@each_option_set
def test_gradients_of_both_orders_equal_central_differences(options):
    def function(x, boxes):
        return tf_boxconv.box_conv2d(x, boxes, **options)

    arguments = images_and_boxes(options["data_format"])
    assert torch.autograd.gradcheck(function, arguments)
    assert torch.autograd.gradgradcheck(function, arguments)


@pytest.mark.parametrize("data_format", DATA_FORMATS)
def test_gradients_of_the_integral_image_equal_central_differences(data_format):
    x, _ = images_and_boxes(data_format)
    assert torch.autograd.gradcheck(lambda x: tf_boxconv.integral_image(x, data_format), x)
    assert torch.autograd.gradgradcheck(lambda x: tf_boxconv.integral_image(x, data_format), x)


# `torch.compile`, which runs a C++ compiler: minutes on a busy machine.

compiles = pytest.mark.timeout(900)


@compiles
@each_option_set
def test_the_operator_compiles_to_one_graph(options):
    """The graph serves two batch sizes, and has the right gradients."""

    def function(x, boxes):
        return 2 * tf_boxconv.box_conv2d(torch.tanh(x), boxes, **options)

    compiled = torch.compile(function, fullgraph=True)
    x, boxes = images_and_boxes(options["data_format"])
    for batch in (x, x.detach()[:1].repeat(3, 1, 1, 1).requires_grad_()):
        actual = value_and_gradients(compiled, batch, boxes)
        expected = value_and_gradients(function, batch, boxes)
        for a, e in zip(actual, expected, strict=True):
            torch.testing.assert_close(a, e, **tolerances.DERIVATIVES["float64"])


@compiles
def test_a_model_compiles_to_one_graph():
    """Its gradients to all weights are right."""
    model = keras.Sequential(
        [
            keras.Input((9, 11, 8)),
            BoxBottleneck(),
            BoxConv2D(5, depth_multiplier=3, strides=2, activation="relu"),
            DepthwiseBoxConv2D(2, data_format="channels_first"),
        ]
    )
    # In inference mode, because PyTorch cannot trace Keras's batch normalization in training.
    x = torch.tensor(images((2, 9, 11, 8)), requires_grad=True)
    weights = [variable.value for variable in model.trainable_variables]

    def results(function):
        out = function(x)
        return out, *torch.autograd.grad(torch.sin(out).sum(), [x, *weights])

    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for actual, expected in zip(results(compiled), results(model), strict=True):
        torch.testing.assert_close(actual, expected, **tolerances.MODELS["float32"])


@compiles
def test_jit_compile_gives_the_same_training():
    """`jit_compile=True` applies `torch.compile` to Keras's training step."""
    x, y = images((4, 9, 11, 8)), images((4, 5, 6, 10), seed=1)
    boxes, traced = [], torch._dynamo.utils.counters["stats"]
    for jit_compile in (False, True):
        traced.clear()
        seed_weights(0)
        layers = [BoxConv2D(5, depth_multiplier=3, strides=2), DepthwiseBoxConv2D(2)]
        model = keras.Sequential([keras.Input(x.shape[1:]), *layers])
        model.compile(keras.optimizers.SGD(0.01), "mse", jit_compile=jit_compile)
        assert model.jit_compile is jit_compile
        before = [to_float64(layer.boxes) for layer in layers]
        model.fit(x, y, epochs=3, verbose=0)
        boxes.append([to_float64(layer.boxes) for layer in layers])
        assert (traced["unique_graphs"] > 0) is jit_compile
    for first, eager, compiled in zip(before, *boxes, strict=True):
        assert np.any(eager != first)
        np.testing.assert_allclose(compiled, eager, **tolerances.MODELS["float32"])


# Memory formats.


class CallRecorder(TorchDispatchMode):
    """Records the operators that run within it, with their arguments."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.calls.append((function, args))
        return function(*args, **(kwargs or {}))


def in_other_memory_order(x, data_format):
    """Returns the same values and shape, stored in the order of the other data format."""
    there, back = ((0, 3, 1, 2), (0, 2, 3, 1))[:: 1 if data_format == "channels_last" else -1]
    return x.permute(there).contiguous().permute(back)


@each_option_set
def test_tensors_stored_in_the_other_format_are_not_copied(options):
    """Keras's convolutions return such tensors, and so does PyTorch's `channels_last` format."""
    x, boxes = images_and_boxes(options["data_format"])
    other = in_other_memory_order(x.detach(), options["data_format"]).requires_grad_()
    assert not other.is_contiguous()
    if options["data_format"] == "channels_first":
        assert other.is_contiguous(memory_format=torch.channels_last)
    with CallRecorder() as record, torch.no_grad():
        tf_boxconv.box_conv2d(other, boxes, **options)
    ran = [str(function) for function, _ in record.calls]
    assert set(ran) == {"aten.permute.default", "tf_boxconv.box_conv2d.default"}
    (given,) = [args[0] for f, args in record.calls if f is operators.box_conv2d.default]
    assert given.is_contiguous() and given.data_ptr() == other.data_ptr()

    def function(x, boxes):
        return tf_boxconv.box_conv2d(x, boxes, **options)

    expected = value_and_gradients(function, x, boxes)
    for a, e in zip(value_and_gradients(function, other, boxes), expected, strict=True):
        assert a.shape == e.shape
        torch.testing.assert_close(a, e, **tolerances.VALUES["float64"])


@each_option_set
def test_tensors_with_any_strides(options):
    """Every second element of larger images, transposed boxes, an expanded upstream gradient."""
    x, boxes = images_and_boxes(options["data_format"])
    large = torch.full([2 * s for s in x.shape], torch.nan, dtype=x.dtype)
    large[::2, ::2, ::2, ::2] = x.detach()
    strided = large[::2, ::2, ::2, ::2].requires_grad_()
    transposed = boxes.detach().mT.contiguous().mT.requires_grad_()
    assert not strided.is_contiguous() and not transposed.is_contiguous()

    def function(x, boxes):
        return tf_boxconv.box_conv2d(x, boxes, **options)

    assert_same_bits(
        value_and_gradients(function, strided, transposed), value_and_gradients(function, x, boxes)
    )
    (expanded,) = torch.autograd.grad(function(strided, transposed).sum(), [transposed])
    ones = torch.ones_like(function(x, boxes))
    (expected,) = torch.autograd.grad(function(x, boxes), [boxes], ones)
    assert_same_bits([expanded], [expected])


# Threads.


@pytest.mark.parametrize(
    "shape", [(3, 40, 33, 20, 2), (1, 300, 1200, 9, 1), (7, 5, 6, 70, 1)], ids=str
)
@pytest.mark.parametrize("normalization", ["area", "valid"])
def test_same_bits_on_any_number_of_threads(shape, normalization, threads):
    *shape, per_channel = shape
    x = torch.tensor(images(shape), requires_grad=True)
    boxes = torch.tensor(boxes_anywhere(shape[-1], per_channel, reach=20), dtype=torch.float32)
    results = []
    for number in (1, 2, 4):
        threads(number)
        out = tf_boxconv.box_conv2d(x, boxes.requires_grad_(), normalization=normalization)
        results.append([out, *torch.autograd.grad(out, [x, boxes], out)])
    for result in results[1:]:
        assert_same_bits(result, results[0])


def test_calls_from_many_threads_give_the_same_bits():
    x, boxes = images_and_boxes(dtype=torch.float32)

    def results(_):
        return value_and_gradients(tf_boxconv.box_conv2d, x, boxes)

    expected = results(0)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for found in pool.map(results, range(32)):
            assert_same_bits(found, expected)


# Layers.


@pytest.mark.parametrize("name", LAYERS)
def test_torch_optimizers_train_layers(name):
    layer = make(name)
    x = torch.tensor(images((2, 9, 11, 8)))
    layer(x)
    parameters = [p for p in layer.parameters() if p.requires_grad]
    assert len(parameters) == len(layer.trainable_variables)
    before = to_float64(layer.boxes)
    optimizer = torch.optim.Adam(parameters, 0.05)
    for _ in range(3):
        optimizer.zero_grad()
        (layer(x) ** 2).mean().backward()
        optimizer.step()
    assert np.abs(to_float64(layer.boxes) - before).max() > 0.5


def test_the_operator_works_beside_torch_functions_without_keras():
    x, boxes = images_and_boxes("channels_first")
    out = torch.nn.functional.relu(tf_boxconv.box_conv2d(x, boxes, data_format="channels_first"))
    wanted = np.maximum(
        reference.box_conv2d(np.moveaxis(X, -1, 1), BOXES, data_format="channels_first"), 0
    )
    np.testing.assert_allclose(out.detach(), wanted, **tolerances.VALUES["float64"])


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_without_a_model_compiles_to_one_graph(name):
    layer = make(name)
    x = torch.tensor(images((2, 6, 7, 8)))
    expected = layer(x)
    torch._dynamo.reset()
    actual = torch.compile(layer, fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(actual, expected, **tolerances.MODELS["float32"])
