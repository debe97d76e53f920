"""Arguments of every type: integers, pairs, and the arguments of Keras's convolutions."""

import json

import keras
import numpy as np
import pytest

import tf_boxconv
from tests import tolerances
from tests.backend import tensor, to_float64
from tests.images import images
from tests.layers.cases import LAYERS, make
from tf_boxconv.constraints import BoxConstraint
from tf_boxconv.initializers import RandomBoxes
from tf_boxconv.layers import BoxBottleneck, BoxConv2D, DepthwiseBoxConv2D

LAYER_CLASSES = [BoxBottleneck, BoxConv2D, DepthwiseBoxConv2D]
INTEGERS = {
    "int": int,
    "int8": np.int8,
    "uint8": np.uint8,
    "int64": np.int64,
    "array of rank 0": np.array,
    "tensor": tensor,
}
PAIRS = {
    "tuple": tuple,
    "list": list,
    "array": np.array,
    "integers of NumPy": lambda pair: [np.int32(n) for n in pair],
    "tensors": lambda pair: [tensor(n) for n in pair],
}
NOT_INTEGERS = [True, np.True_, 2.0, np.float32(2), np.array(2.0), np.array([2]), "2", b"2", 2j]
# Arguments that must be an integer.
COUNTS = {
    "filters": lambda n: BoxConv2D(n).filters,
    "depth_multiplier": lambda n: BoxConv2D(4, depth_multiplier=n).depth_multiplier,
    "depth_multiplier, depthwise": lambda n: DepthwiseBoxConv2D(n).depth_multiplier,
    "depth_multiplier, bottleneck": lambda n: BoxBottleneck(n).depth_multiplier,
}
# Arguments that may be an integer or a pair of integers.
SIZES = {
    "strides": lambda n: BoxConv2D(4, strides=n).strides,
    "strides, depthwise": lambda n: DepthwiseBoxConv2D(strides=n).strides,
    "max_size": lambda n: BoxConv2D(4, max_size=n).max_size,
    "max_size, depthwise": lambda n: DepthwiseBoxConv2D(max_size=n).max_size,
    "max_size, bottleneck": lambda n: BoxBottleneck(max_size=n).box_conv.max_size,
    "max_size, constraint": lambda n: BoxConstraint(max_size=n).max_size,
    "max_size, initializer": lambda n: RandomBoxes(max_size=n).max_size,
}


@pytest.mark.parametrize("argument", [*COUNTS, *SIZES])
@pytest.mark.parametrize("kind", INTEGERS)
def test_integers_of_every_type_are_accepted(argument, kind):
    make_argument = COUNTS.get(argument) or SIZES[argument]
    got = make_argument(INTEGERS[kind](2))
    assert json.dumps(got) == json.dumps(make_argument(2))


@pytest.mark.parametrize("argument", SIZES)
@pytest.mark.parametrize("kind", PAIRS)
def test_pairs_of_every_type_are_accepted(argument, kind):
    assert json.dumps(SIZES[argument](PAIRS[kind]((2, 3)))) == "[2, 3]"


@pytest.mark.parametrize("argument", [*COUNTS, *SIZES])
@pytest.mark.parametrize("value", NOT_INTEGERS)
def test_other_values_are_refused(argument, value):
    name = argument.split(",")[0]
    make_argument = COUNTS.get(argument) or SIZES[argument]
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integer.*Received: {name}="):
        make_argument(value)
    if argument in SIZES:
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            make_argument((2, value))


@pytest.mark.parametrize("strides", [np.int64(2), np.array(2), np.array([2, 2]), [np.int32(2)] * 2])
def test_the_operator_accepts_strides_of_every_type(strides):
    x, boxes = images((1, 7, 8, 1)), np.float32([[[-1, -1, 1, 1]]])
    wanted = to_float64(tf_boxconv.box_conv2d(x, boxes, strides=2))
    for implementation in ("native", "portable"):
        got = tf_boxconv.box_conv2d(x, boxes, strides=strides, implementation=implementation)
        np.testing.assert_allclose(to_float64(got), wanted, **tolerances.VALUES["float32"])


@pytest.mark.parametrize("value", [True, 2.0, np.float32(2)])
def test_the_operator_refuses_other_strides(value):
    with pytest.raises(ValueError, match="`strides` must be a positive integer"):
        tf_boxconv.box_conv2d(images((1, 7, 8, 1)), np.zeros((1, 1, 4)), strides=value)


@pytest.mark.parametrize("min_size", [True, "1", None, 1j])
def test_min_size_must_be_a_number(min_size):
    for cls in (BoxConstraint, RandomBoxes):
        with pytest.raises(ValueError, match="`min_size` must be"):
            cls(max_size=9, min_size=min_size)


@pytest.mark.parametrize("name", LAYERS)
def test_configurations_with_numpy_values_can_be_written_as_json(name):
    arguments = {"max_size": np.array([9, 11])}
    if name == "bottleneck":
        arguments |= {
            "rate": np.float32(0.25),
            "momentum": np.float32(0.5),
            "epsilon": np.float64(1),
        }
    else:
        arguments |= {"strides": np.array([2, 1]), "use_bias": np.True_}
    layer = make(name, **arguments)
    config = json.loads(json.dumps(layer.get_config()))
    revived = type(layer).from_config(config)
    assert revived.get_config() == layer.get_config()


CONVOLUTIONS = [
    keras.layers.Conv2D(1, 1),
    keras.layers.DepthwiseConv2D(1),
    keras.layers.SeparableConv2D(1, 1),
]
CONVOLUTION_ARGUMENTS = sorted(
    {name for layer in CONVOLUTIONS for name in layer.get_config()} | {"groups"}
)


@pytest.mark.parametrize("cls", LAYER_CLASSES)
@pytest.mark.parametrize("name", CONVOLUTION_ARGUMENTS)
def test_arguments_of_keras_convolutions_work_or_are_explained(cls, name):
    required = {"filters": 4} if cls is BoxConv2D else {}
    values = {
        **keras.layers.DepthwiseConv2D(3).get_config(),
        **keras.layers.SeparableConv2D(4, 3).get_config(),
        **keras.layers.Conv2D(4, 3).get_config(),
        "padding": "same",
    }
    arguments = {**required, name: values[name]}
    if name in cls(**required).get_config():
        cls(**arguments)
    else:
        with pytest.raises(ValueError, match=rf"`{cls.__name__}` .*`{name}`: .*Received: {name}="):
            cls(**arguments)


def test_one_error_names_all_arguments_that_do_not_apply():
    with pytest.raises(
        ValueError, match=r"`kernel_size`: .*`padding`: .*kernel_size=7, padding='same'"
    ):
        BoxConv2D(32, kernel_size=7, padding="same")
    with pytest.raises(ValueError, match="no_such_argument"):
        BoxConv2D(32, no_such_argument=1)


@pytest.mark.parametrize(
    ("cls", "arguments", "message"),
    [
        (
            BoxConv2D,
            (32, 3),
            "sizes of boxes are learned.*depth_multiplier=4 for.*Received after `filters`: 3",
        ),
        (BoxConv2D, (32, (3, 3), 2), r"`filters`: \(3, 3\), 2"),
        (DepthwiseBoxConv2D, (2, 2), "pass all others by name.*after `depth_multiplier`: 2"),
        (BoxBottleneck, (4, "channels_last"), "after `depth_multiplier`: 'channels_last'"),
    ],
)
def test_all_arguments_after_the_first_are_keyword_only(cls, arguments, message):
    with pytest.raises(TypeError, match=message):
        cls(*arguments)


def test_the_error_about_a_kernel_size_says_what_to_write():
    with pytest.raises(TypeError, match=r"leave out the kernel_size.*depth_multiplier=4 for four"):
        BoxConv2D(32, (3, 3))


@pytest.mark.parametrize("cls", [BoxBottleneck, DepthwiseBoxConv2D])
def test_a_kernel_size_is_not_taken_for_the_number_of_boxes(cls):
    with pytest.raises(ValueError, match=r"a positive integer, .*not a kernel size.*\(7, 7\)"):
        cls((7, 7))
    with pytest.raises(ValueError, match="argument is `depth_multiplier`, not a kernel size"):
        cls(7, padding="same")


def test_the_first_argument_of_box_conv2d_is_that_of_conv2d():
    with pytest.raises(ValueError, match="`padding`: ") as raised:
        BoxConv2D(32, padding="same")
    assert "first argument" not in str(raised.value)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("data_format", ["CHANNELS_LAST", "Channels_First"])
def test_data_formats_may_be_in_upper_case(name, data_format):
    assert make(name, data_format=data_format).data_format == data_format.lower()


def test_a_subclass_without_arguments_gets_the_advice():
    class Layer(BoxConv2D):
        def __init__(self):
            super().__init__(8, kernel_size=3)

    with pytest.raises(ValueError, match="`kernel_size`: leave it out"):
        Layer()


def test_no_initializer_means_the_default():
    layer = BoxConv2D(8, boxes_initializer=None)
    layer.build((None, 9, 9, 3))
    assert isinstance(layer.boxes_initializer, RandomBoxes)
