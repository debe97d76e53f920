"""Box layers work like other Keras layers: kinds of models, dtype policies, errors."""

import keras
import numpy as np
import pytest
from keras import ops

from tests import tolerances
from tests.backend import BACKEND, dtype_name, tensor, to_float64, value_and_gradients
from tests.boxes import boxes_anywhere
from tests.images import DATA_FORMATS, image_shape, images
from tests.layers.cases import LAYERS, inner_box_layer, make
from tf_boxconv.layers import BoxBottleneck, BoxConv2D, DepthwiseBoxConv2D

each_layer = pytest.mark.parametrize("name", LAYERS)
both_formats = pytest.mark.parametrize("data_format", DATA_FORMATS)


def unknown_size(data_format, channels=8):
    shape = image_shape(data_format, None, None, channels)[1:]
    return keras.Input(shape)


@each_layer
@both_formats
def test_unknown_sizes_in_a_functional_model(name, data_format):
    """One model takes planes of any size, even larger than `max_size`."""
    inputs = unknown_size(data_format)
    layer = make(name, data_format=data_format, max_size=(9, 11))
    outputs = layer(inputs)
    expected = layer.compute_output_shape(inputs.shape)
    assert outputs.shape == expected
    assert [expected[0], *expected[-2:]].count(None) >= 2
    model = keras.Model(inputs, outputs)
    for height, width, batch in ((9, 11, 1), (30, 4, 3), (1, 1, 2)):
        x = images(image_shape(data_format, height, width, 8, batch))
        got = model.predict(x, verbose=0)
        assert got.shape == layer.compute_output_shape(x.shape)
        np.testing.assert_allclose(got, to_float64(layer(x)), **tolerances.VALUES["float32"])


@each_layer
@both_formats
def test_an_unknown_size_needs_max_size(name, data_format):
    with pytest.raises(
        ValueError, match=r"`max_size` must be given.*max_size=\(height.*stride of 2"
    ):
        make(name, data_format=data_format)(unknown_size(data_format))


@each_layer
def test_functional_sequential_and_subclassed_models_agree(name):
    x = images(image_shape("channels_last"))
    layer = make(name)

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def call(self, inputs, training=False):
            return self.layer(inputs, training=training)

    inputs = keras.Input(x.shape[1:])
    functional = keras.Model(inputs, layer(inputs))
    sequential = keras.Sequential([keras.Input(x.shape[1:]), layer])
    wanted = to_float64(layer(x))
    for model in (functional, sequential, Subclassed()):
        np.testing.assert_allclose(
            model.predict(x, verbose=0), wanted, **tolerances.VALUES["float32"]
        )
        assert model.count_params() == layer.count_params()


@each_layer
def test_summary_counts_boxes_as_trainable_parameters(name):
    layer = make(name)
    inputs = keras.Input((9, 11, 8))
    model = keras.Model(inputs, layer(inputs))
    lines = []
    model.summary(print_fn=lines.append)
    scale = 4  # the numbers of the scale weight
    counts = {
        "depthwise": (8 * 2 * 4, scale),
        "box_conv2d": (8 * 3 * 4 + 8 * 3 * 5 + 5, scale),
        "bottleneck": (8 * 2 + 2 * 4 * 4 + 2 * 2 + 2 * 8, 2 * 2 + 2 * 8 + scale),
    }[name]
    text = "\n".join(lines)
    assert f"Trainable params: {counts[0]} " in text
    assert f"Non-trainable params: {counts[1]} " in text


@each_layer
@both_formats
@pytest.mark.parametrize(
    "policy",
    ["float32", "float64", "mixed_float16", "mixed_bfloat16", "float16", "bfloat16"],
)
def test_dtype_policies(name, data_format, policy):
    """Policies of half types change the dtype of the output. Boxes stay float32."""
    output = policy.removeprefix("mixed_")
    x = images(image_shape(data_format))
    layer = make(name, data_format=data_format, dtype=policy)
    float32_layer = make(name, data_format=data_format, dtype="float32")
    got = layer(x)
    assert dtype_name(got) == output
    boxes_dtype = "float64" if policy == "float64" else "float32"
    box_layer = inner_box_layer(layer)
    assert dtype_name(box_layer.boxes) == boxes_dtype
    assert dtype_name(box_layer.weights[0]) == boxes_dtype
    with keras.src.backend.AutocastScope("float16"):
        assert dtype_name(box_layer.boxes) == boxes_dtype
    # The dtype is the same in a functional model, and the values are those of float32.
    inputs = keras.Input(x.shape[1:], dtype=output)
    assert dtype_name(layer(inputs)) == output
    float32_layer.build(x.shape)
    float32_layer.set_weights([np.asarray(w, np.float32) for w in layer.get_weights()])
    got, wanted = to_float64(got), to_float64(float32_layer(x))
    # The float64 layer is compared with a float32 one.
    tolerance = tolerances.MODELS["float32" if output == "float64" else output]
    np.testing.assert_allclose(got, wanted, **tolerance)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_global_mixed_policy_does_not_round_boxes(policy):
    """Half types cannot hold -300.3."""
    keras.config.set_dtype_policy(policy)
    try:
        layer = DepthwiseBoxConv2D(max_size=1000)
        layer.build((None, None, None, 1))
        layer.set_boxes([[[-300.3, -0.5, 300.4, 0.5]]])
        box = to_float64(layer.boxes)[0, 0]
        np.testing.assert_allclose(box, [-300.3, -0.5, 300.4, 0.5], **tolerances.EDGES["float32"])
        inputs = keras.Input((9, 9, 1))
        model = keras.Model(inputs, layer(inputs))
        assert dtype_name(model.output) == policy.removeprefix("mixed_")
    finally:
        keras.config.set_dtype_policy("float32")


@each_layer
@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_integer_images_are_converted(name, dtype):
    x = np.random.default_rng(0).integers(0, 200, image_shape("channels_last")).astype(dtype)
    layer = make(name)
    np.testing.assert_array_equal(to_float64(layer(x)), to_float64(layer(x.astype("float32"))))
    assert dtype_name(layer(tensor(x))) == "float32"


@each_layer
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth_multiplier": 0}, r"`depth_multiplier` must be.*Received: depth_multiplier=0"),
        ({"depth_multiplier": -2}, "`depth_multiplier` must be"),
        ({"depth_multiplier": 1.5}, "`depth_multiplier` must be"),
        ({"depth_multiplier": None}, "`depth_multiplier` must be"),
        ({"depth_multiplier": True}, "`depth_multiplier` must be"),
        ({"depth_multiplier": 2.0}, "`depth_multiplier` must be"),
        ({"normalization": "batch"}, r"`normalization` must be.*normalization='batch'"),
        ({"data_format": "NHWC"}, r"`data_format` must be.*data_format='NHWC'"),
        ({"max_size": -3}, r"`max_size` must be.*max_size=-3"),
        ({"max_size": (3, 4, 5)}, "`max_size` must be"),
        ({"max_size": 9.0}, "`max_size` must be"),
        ({"max_size": (9, True)}, "`max_size` must be"),
        ({"boxes_initializer": "no_such_thing"}, "no_such_thing"),
        ({"kernel_size": 3}, "kernel_size"),
    ],
)
def test_bad_arguments_are_refused(name, arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make(name, **arguments)


@pytest.mark.parametrize("cls", [DepthwiseBoxConv2D, BoxConv2D])
@pytest.mark.parametrize(
    "strides", [0, -1, (1, 2, 3), (1, 0), 1.5, 2.0, True, (2, 1.0), "2", "22", {1: 2, 3: 4}, None]
)
def test_bad_strides_are_refused(cls, strides):
    with pytest.raises(ValueError, match=r"`strides` must be.*Received: strides="):
        cls(4, strides=strides)


@pytest.mark.parametrize("filters", [0, -1, 2.5, 8.0, True, None, "8"])
def test_bad_filters_are_refused(filters):
    with pytest.raises(ValueError, match=r"`filters` must be.*Received: filters="):
        BoxConv2D(filters)


@each_layer
@both_formats
def test_bad_input_shapes_are_refused(name, data_format):
    def layer():
        return make(name, data_format=data_format, max_size=9)

    with pytest.raises(ValueError, match=r"must have rank 4.*Received: input_shape=\(2, 9, 8\)"):
        layer().build((2, 9, 8))
    with pytest.raises(ValueError, match="must have rank 4"):
        layer().compute_output_shape((2, 9, 9, 9, 8))
    with pytest.raises(ValueError, match=r"channels of the input.*must be defined"):
        layer().build(image_shape(data_format, 9, 9, None))
    with pytest.raises(ValueError, match="expected ndim=4"):
        layer()(images((2, 9, 8)))
    built = layer()
    built(images(image_shape(data_format)))
    with pytest.raises(ValueError, match="expected axis"):
        built(images(image_shape(data_format, channels=12)))


@each_layer
def test_boxes_can_be_read_and_set_once_the_layer_is_built(name):
    layer = make(name)
    message = "You must build the layer before accessing `{}`"
    if BACKEND == "torch":  # PyTorch's modules replace the message by another one
        message = "no attribute '{}'"
    with pytest.raises(AttributeError, match=message.format("boxes")):
        _ = layer.boxes
    with pytest.raises(AttributeError, match=message.format("scale")):
        _ = inner_box_layer(layer).scale
    with pytest.raises(AttributeError, match="build the layer before accessing `set_boxes`"):
        inner_box_layer(layer).set_boxes(np.zeros((1, 1, 4)))
    layer.build((None, 9, 11, 8))
    shape = tuple(layer.boxes.shape)
    assert shape == {"depthwise": (8, 2, 4), "box_conv2d": (8, 3, 4), "bottleneck": (2, 4, 4)}[name]
    with pytest.raises(ValueError, match=r"`boxes` must have shape.*Received: boxes.shape=\(3,"):
        inner_box_layer(layer).set_boxes(np.zeros((3, 1, 4)))


@each_layer
def test_data_format_defaults_to_the_setting_of_keras(name):
    keras.config.set_image_data_format("channels_first")
    try:
        assert make(name).data_format == "channels_first"
    finally:
        keras.config.set_image_data_format("channels_last")
    assert make(name).data_format == "channels_last"


@each_layer
def test_gradients_of_gradients(name):
    """A penalty on gradients to the input has a gradient to every weight that is not zero."""
    layer = make(name)
    if isinstance(layer, BoxBottleneck):  # the second derivative of ReLU is zero
        layer.activation = keras.activations.tanh
    x = images(image_shape("channels_last"))
    layer.build(x.shape)
    inner_box_layer(layer).set_boxes(boxes_anywhere(*layer.boxes.shape[:2], reach=9))
    arguments = {"training": True} if isinstance(layer, BoxBottleneck) else {}

    def penalty(x, *weights):
        fixed = [variable.value for variable in layer.non_trainable_variables]

        def score(x):
            out, _ = layer.stateless_call(list(weights), fixed, x, **arguments)
            return ops.sum(out**2)

        _, (gradient,) = value_and_gradients(score, [x])
        return ops.sum(gradient**2)

    weights = [tensor(variable.value) for variable in layer.trainable_variables]
    _, gradients = value_and_gradients(penalty, [tensor(x), *weights])
    assert len(gradients) == 1 + len(layer.trainable_variables)
    for gradient in map(to_float64, gradients):
        assert np.all(np.isfinite(gradient)) and np.any(gradient != 0)


@each_layer
@pytest.mark.parametrize("built_with", ["float32", "float64", "mixed_float16"])
@pytest.mark.parametrize("policy", ["float32", "float64", "mixed_bfloat16"])
def test_a_dtype_policy_may_be_set_after_the_layer_is_built(name, built_with, policy):
    if BACKEND == "jax" and "float64" in (built_with, policy):
        pytest.skip("JAX has no float64 here")
    kwargs = {} if name == "bottleneck" else {"use_bias": True}
    layer = make(name, dtype=built_with, **kwargs)
    x = images(image_shape("channels_last"))
    wanted = to_float64(layer(x))
    layer.dtype_policy = policy
    got = layer(x)
    assert dtype_name(got) == policy.removeprefix("mixed_")
    np.testing.assert_allclose(to_float64(got), wanted, **tolerances.MODELS["bfloat16"])
