"""The operators in functional models, which are trained, saved and exported."""

import keras
import numpy as np
import pytest

import tf_boxconv
from tests import tolerances
from tests.backend import tensor, tensorflow_only, to_float64
from tests.boxes import boxes_anywhere
from tests.images import DATA_FORMATS, image_shape, images

FLOAT32 = tolerances.VALUES["float32"]
BOXES = boxes_anywhere(3, 2, reach=5).astype(np.float32)
both_implementations = pytest.mark.parametrize("implementation", ["native", "portable"])


@both_implementations
@pytest.mark.parametrize("data_format", DATA_FORMATS)
@pytest.mark.parametrize(("strides", "normalization"), [(1, "area"), ((3, 2), None)])
@pytest.mark.parametrize("size_known", [True, False])
def test_box_conv2d(implementation, data_format, strides, normalization, size_known, tmp_path):
    options = {
        "strides": strides,
        "normalization": normalization,
        "data_format": data_format,
        "implementation": implementation,
    }
    x = images(image_shape(data_format, 9, 11, 3))
    size = (9, 11) if size_known else (None, None)
    inputs = keras.Input(image_shape(data_format, *size, 3)[1:])
    outputs = tf_boxconv.box_conv2d(inputs, BOXES, **options)
    wanted = to_float64(tf_boxconv.box_conv2d(x, BOXES, **options))
    expected_shape = (None, *wanted.shape[1:])
    if not size_known:
        spatial = (1, 2) if data_format == "channels_last" else (2, 3)
        expected_shape = tuple(
            None if i in spatial else length for i, length in enumerate(expected_shape)
        )
    assert isinstance(outputs, keras.KerasTensor) and outputs.shape == expected_shape
    model = keras.Model(inputs, outputs)
    np.testing.assert_allclose(model.predict(x, verbose=0), wanted, **FLOAT32)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(x, verbose=0), wanted, **FLOAT32)
    assert loaded.to_json() == model.to_json()


@both_implementations
def test_constants_in_float64(implementation):
    """Arrays without a dtype are float64 in NumPy. They are converted, as in eager calls."""
    boxes, kernel = np.float64(BOXES), np.random.default_rng(0).normal(size=(6, 4))
    x, inputs = tensor(images((2, 9, 11, 3))), keras.Input((9, 11, 3))
    for function, arguments in (
        (tf_boxconv.box_conv2d, (boxes,)),
        (tf_boxconv.separable_box_conv2d, (boxes, kernel, kernel[0])),
    ):
        outputs = function(inputs, *arguments, implementation=implementation)
        wanted = function(x, *arguments, implementation=implementation)
        got = keras.Model(inputs, outputs)(x)
        np.testing.assert_allclose(to_float64(got), to_float64(wanted), **FLOAT32)


@tensorflow_only
@both_implementations
def test_images_of_unknown_rank(implementation):
    import tensorflow as tf

    x = images((2, 9, 11, 3))
    wanted = to_float64(tf_boxconv.box_conv2d(x, BOXES))

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32)])
    def run(x):
        return tf_boxconv.box_conv2d(x, BOXES, implementation=implementation)

    np.testing.assert_allclose(run(x), wanted, **FLOAT32)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"must have rank 4|not compatible"):
        run(x[0])


@both_implementations
def test_constant_images(implementation):
    """Lists and float64 arrays become float32, or what else the framework makes of them."""
    image, inputs = np.float64(images((2, 9, 11, 3))), keras.Input(batch_shape=BOXES.shape)
    for x in (image, image.tolist()):
        outputs = tf_boxconv.box_conv2d(x, inputs, implementation=implementation)
        got = keras.Model(inputs, outputs)(tensor(BOXES))
        assert outputs.dtype == keras.backend.standardize_dtype(got.dtype)
        np.testing.assert_allclose(
            to_float64(got), to_float64(tf_boxconv.box_conv2d(x, BOXES)), **FLOAT32
        )


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float32", pytest.param("float64", marks=tensorflow_only)]
)
@both_implementations
def test_the_output_has_the_dtype_of_the_input(implementation, dtype):
    inputs = keras.Input((9, 11, 3), dtype=dtype)
    outputs = tf_boxconv.box_conv2d(inputs, BOXES, implementation=implementation)
    assert outputs.dtype == dtype
    got = keras.Model(inputs, outputs)(tensor(images((2, 9, 11, 3)), dtype))
    assert keras.backend.standardize_dtype(got.dtype) == dtype
    table = tf_boxconv.integral_image(inputs)
    assert table.dtype == ("float64" if dtype == "float64" else "float32")


@both_implementations
def test_boxes_may_be_an_input(implementation):
    """The images are another input of the model, or a constant."""
    x, boxes = images((2, 9, 11, 3)), BOXES
    inputs, box_input = keras.Input((None, None, 3)), keras.Input(batch_shape=(3, None, 4))
    outputs = tf_boxconv.box_conv2d(inputs, box_input, implementation=implementation)
    assert outputs.shape == (None, None, None, None)
    model = keras.Model([inputs, box_input], outputs)
    wanted = to_float64(tf_boxconv.box_conv2d(x, boxes))
    got = model([tensor(x), tensor(boxes)])
    np.testing.assert_allclose(to_float64(got), wanted, **FLOAT32)
    fixed = tf_boxconv.box_conv2d(tensor(x), box_input, implementation=implementation)
    assert fixed.shape == (2, 9, 11, None)
    got = keras.Model(box_input, fixed)(tensor(boxes))
    np.testing.assert_allclose(to_float64(got), wanted, **FLOAT32)


@both_implementations
@pytest.mark.parametrize("data_format", DATA_FORMATS)
@pytest.mark.parametrize("use_bias", [True, False])
def test_separable_box_conv2d(implementation, data_format, use_bias, tmp_path):
    x = images(image_shape(data_format, 9, 11, 3))
    kernel = images((6, 4), seed=1)
    bias = images((4,), seed=2) if use_bias else None
    options = {"strides": (3, 2), "data_format": data_format, "implementation": implementation}
    inputs = keras.Input(image_shape(data_format, None, None, 3)[1:])
    outputs = tf_boxconv.separable_box_conv2d(inputs, BOXES, kernel, bias, **options)
    assert outputs.shape == image_shape(data_format, None, None, 4, None)
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    wanted = to_float64(tf_boxconv.separable_box_conv2d(x, BOXES, kernel, bias, **options))
    for either in (model, loaded):
        np.testing.assert_allclose(either.predict(x, verbose=0), wanted, **FLOAT32)
    assert loaded.to_json() == model.to_json()


def test_kernel_and_bias_may_be_inputs():
    shapes = [(2, 9, 11, 3), (3, 2, 4), (6, 4), (4,)]
    values = [images(shapes[0]), BOXES, images(shapes[2], seed=1), images(shapes[3], seed=2)]
    inputs = [keras.Input(batch_shape=shape) for shape in shapes]
    outputs = tf_boxconv.separable_box_conv2d(*inputs, name="mix")
    assert outputs.shape == (2, 9, 11, 4)
    got = keras.Model(inputs, outputs)([tensor(value) for value in values])
    wanted = to_float64(tf_boxconv.separable_box_conv2d(*values))
    np.testing.assert_allclose(to_float64(got), wanted, **FLOAT32)


@pytest.mark.parametrize("kind", ["list", "array", "tensor", "variable"])
def test_boxes_may_be_a_constant(kind, tmp_path):
    make = {"list": np.ndarray.tolist, "array": np.asarray, "tensor": tensor}
    boxes = make.get(kind, keras.Variable)(BOXES)
    inputs = keras.Input((9, 11, 3))
    model = keras.Model(inputs, tf_boxconv.box_conv2d(inputs, boxes))
    x = images((2, 9, 11, 3))
    wanted = to_float64(tf_boxconv.box_conv2d(x, BOXES))
    np.testing.assert_allclose(model.predict(x, verbose=0), wanted, **FLOAT32)
    if kind == "variable":
        return  # Keras does not save a variable that belongs to no layer.
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(x, verbose=0), wanted, **FLOAT32)


@pytest.mark.parametrize("data_format", DATA_FORMATS)
@pytest.mark.parametrize("size", [(9, 11), (None, None)])
def test_integral_image(data_format, size, tmp_path):
    x = images(image_shape(data_format, 9, 11, 3))
    inputs = keras.Input(image_shape(data_format, *size, 3)[1:])
    outputs = tf_boxconv.integral_image(inputs, data_format=data_format)
    grown = [None if length is None else length + 1 for length in size]
    assert outputs.shape == image_shape(data_format, *grown, 3, None)
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "model.keras")
    wanted = to_float64(tf_boxconv.integral_image(x, data_format=data_format))
    for either in (model, keras.models.load_model(tmp_path / "model.keras")):
        np.testing.assert_allclose(either.predict(x, verbose=0), wanted, **FLOAT32)


def test_a_model_with_operators_trains():
    """Gradients pass through the operator to the layers before it."""
    inputs = keras.Input((9, 11, 3))
    x = keras.layers.Conv2D(3, 1, name="before")(inputs)
    x = tf_boxconv.box_conv2d(x, BOXES, strides=2, name="boxes")
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1)(x))
    assert any(operation.name == "boxes" for operation in model.operations)
    model.compile("sgd", "mse")
    before = to_float64(model.get_layer("before").kernel)
    model.fit(images((4, 9, 11, 3)), np.ones((4, 5, 6, 1)), verbose=0)
    assert np.abs(to_float64(model.get_layer("before").kernel) - before).max() > 1e-5
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    x = images((2, 9, 11, 3))
    np.testing.assert_array_equal(clone.predict(x, verbose=0), model.predict(x, verbose=0))


@tensorflow_only
def test_a_model_with_operators_can_be_exported(tmp_path):
    import tensorflow as tf

    inputs = keras.Input((9, 11, 3))
    model = keras.Model(inputs, tf_boxconv.box_conv2d(inputs, BOXES))
    x = images((2, 9, 11, 3))
    tf_boxconv.export(model, tmp_path / "portable", "saved_model_portable")
    served = tf.saved_model.load(str(tmp_path / "portable"))
    (got,) = served.signatures["serving_default"](tf.constant(x)).values()
    np.testing.assert_allclose(got.numpy(), model.predict(x, verbose=0), **FLOAT32)


@pytest.mark.parametrize(
    ("shape", "boxes", "error", "message"),
    [
        ((9, 3), BOXES, ValueError, r"`x` must have rank 4.*\(None, 9, 3\)"),
        ((9, 11, 5), BOXES, ValueError, r"one row per channel of `x`, 5"),
        ((9, 11, 3), BOXES[0], ValueError, r"`boxes` must have shape \[C, M, 4\]"),
        ((9, 11, 3), BOXES.astype(np.float16), TypeError, "`boxes` must be float32"),
    ],
)
def test_bad_arguments_are_refused(shape, boxes, error, message):
    with pytest.raises(error, match=message):
        tf_boxconv.box_conv2d(keras.Input(shape), tensor(boxes))
    if len(shape) == 2:
        with pytest.raises(error, match=message):
            tf_boxconv.integral_image(keras.Input(shape))
    with pytest.raises(TypeError, match=r"`x` must be float16.*int32"):
        tf_boxconv.box_conv2d(keras.Input((9, 11, 3), dtype="int32"), BOXES)
