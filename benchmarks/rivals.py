"""The box convolution and its rivals, each as a call that can be timed.

A rival of some size computes means or weighted sums over about `size` x `size` pixels around each
pixel, in the way a user of TensorFlow or OpenCV would.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

import tf_boxconv
from benchmarks import opencv
from benchmarks.cases import (
    DEPTHWISE_3,
    FORWARD,
    Candidate,
    Case,
    centred_boxes,
    random_boxes,
)

# A function of images and parameters, and these parameters. Both are differentiated.
Operation = tuple[Callable[..., tf.Tensor], list[tf.Tensor]]

FLOAT_TYPES = ("float16", "bfloat16", "float32", "float64")
# A call with more multiply-adds takes seconds.
MAX_MULTIPLY_ADDS = 5e9


class Inputs:
    """The images of a case and the gradient of its output."""

    def __init__(self, case: Case, seed: int = 0):
        rng = np.random.default_rng(seed)
        channel_axis = 1 if case.data_format == "channels_first" else -1
        out_shape = list(case.shape)
        out_shape[channel_axis] *= case.multiplier
        self.x = tf.cast(rng.standard_normal(case.shape, np.float32), case.dtype)
        self.output_grad = tf.cast(rng.standard_normal(out_shape, np.float32), case.dtype)


@dataclasses.dataclass(frozen=True)
class Rival:
    """An operator in TensorFlow.

    Attributes:
        operation: Builds the operator for a case and a size.
        multiply_adds: Multiply-adds per output for a case and a size. `None` if they do not depend
            on the size.
        backward_cost: Cost of the backward pass relative to the forward pass. `None` if the
            operator has no gradient.
        channels_last_only: The operator gets channels-last images even in channels-first cases,
            because TensorFlow implements it only for this data format on CPUs.
        one_per_channel: The operator cannot have several filters a channel.
        dtypes: The types in which the operator can compute.
    """

    operation: Callable[[Case, int | None], Operation]
    multiply_adds: Callable[[Case, int], float] | None = None
    backward_cost: float | None = 2
    channels_last_only: bool = False
    one_per_channel: bool = False
    dtypes: tuple[str, ...] = FLOAT_TYPES

    def refusal(self, case: Case, pass_name: str) -> str | None:
        """Returns why the operator cannot be timed, or `None` if it can."""
        if pass_name != FORWARD and self.backward_cost is None:
            return "has no gradient"
        if case.dtype not in self.dtypes:
            return f"does not compute in {case.dtype}"
        if self.one_per_channel and case.multiplier > 1:
            return "has one filter per channel"
        return None

    def call(self, case: Case, size: int | None, inputs: Inputs, pass_name: str) -> Callable:
        """Compiles a call that returns the output, or the output and all gradients."""
        function, parameters = self.operation(case, size)
        if pass_name == FORWARD:
            arguments = [inputs.x, *parameters]
            traced = tf.function(function)
        else:
            arguments = [inputs.output_grad, inputs.x, *parameters]
            # Also return the output; otherwise TensorFlow would skip the forward pass.
            traced = tf.function(_with_gradients(function))
        concrete = traced.get_concrete_function(*arguments)
        return lambda: concrete(*arguments)


@dataclasses.dataclass(frozen=True)
class CopyRival(Rival):
    """Copies the images once, in both passes: the cost of reading and writing them."""

    def call(self, case: Case, size: int | None, inputs: Inputs, pass_name: str) -> Callable:
        """Compiles a call that returns the copy."""
        return super().call(case, size, inputs, FORWARD)


@dataclasses.dataclass(frozen=True)
class OpenCvRival(Rival):
    """A function of OpenCV that takes one HWC array; it is called for each image."""

    backward_cost: float | None = None
    channels_last_only: bool = True
    one_per_channel: bool = True
    dtypes: tuple[str, ...] = ("float32", "float64")

    def refusal(self, case: Case, pass_name: str) -> str | None:
        """Returns why the function cannot be timed, or `None` if it can."""
        if not opencv.available():
            return "opencv-python-headless is not installed"
        return super().refusal(case, pass_name)

    def call(self, case: Case, size: int | None, inputs: Inputs, pass_name: str) -> Callable:
        """Returns a call that returns a list of arrays, image by image."""
        function, _ = self.operation(case, size)
        arrays = opencv.arrays_of(inputs.x.numpy())
        return lambda: [function(array) for array in arrays]


def _with_gradients(function: Callable[..., tf.Tensor]) -> Callable:
    def both(output_grad, *arguments):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            out = function(*arguments)
        return out, *tape.gradient(out, arguments, output_gradients=output_grad)

    return both


def _box(operator: Callable, make_boxes: Callable) -> Callable[[Case, int | None], Operation]:
    def operation(case: Case, size: int | None) -> Operation:
        boxes = make_boxes(case) if size is None else make_boxes(case, size)
        dtype = "float64" if case.dtype == "float64" else "float32"
        options = {"data_format": case.data_format, "normalization": case.normalization}
        return lambda x, b: operator(x, b, **options), [tf.cast(boxes, dtype)]

    return operation


def _depthwise(case: Case, size: int) -> Operation:
    filters = np.random.default_rng(0).normal(size=(size, size, case.channels, case.multiplier))
    return (
        lambda x, f: tf.nn.depthwise_conv2d(x, f, (1, 1, 1, 1), "SAME"),
        [tf.cast(filters, case.dtype)],
    )


def _average_pool(case: Case, size: int) -> Operation:
    return lambda x: tf.nn.avg_pool2d(x, size, 1, "SAME"), []


def _cumsum_gather(case: Case, size: int) -> Operation:
    reach = size // 2
    axes = (1, 2) if case.data_format == "channels_last" else (2, 3)
    padding = [[int(axis in axes), 0] for axis in range(4)]

    def between_edges(table, axis):
        length = table.shape[axis] - 1
        pixels = tf.range(length)
        high = tf.gather(table, tf.minimum(pixels + reach + 1, length), axis=axis)
        return high - tf.gather(table, tf.maximum(pixels - reach, 0), axis=axis)

    def box_mean(x):
        table = tf.cumsum(tf.cumsum(tf.pad(x, padding), axes[0]), axes[1])
        return between_edges(between_edges(table, axes[0]), axes[1]) / size**2

    return box_mean, []


def _copy(case: Case, size: int | None) -> Operation:
    # In half types 1.0001 rounds to 1, and TensorFlow would skip the multiplication.
    factor = 1.0001 if case.dtype in ("float32", "float64") else 1.01
    return lambda x: x * tf.cast(factor, x.dtype), []


def _area(case: Case, size: int) -> float:
    return size**2


_portable = functools.partial(tf_boxconv.box_conv2d, implementation="portable")

RIVALS: dict[str, Rival] = {
    "box": Rival(_box(tf_boxconv.box_conv2d, centred_boxes)),
    "box, random": Rival(_box(tf_boxconv.box_conv2d, random_boxes)),
    # The cost of the backward pass reflects how slowly TensorFlow computes it.
    "depthwise": Rival(_depthwise, _area, backward_cost=20, channels_last_only=True),
    "average pool": Rival(_average_pool, _area, channels_last_only=True, one_per_channel=True),
    "portable": Rival(
        _box(_portable, centred_boxes),
        multiply_adds=lambda case, size: case.height + case.width,
    ),
    # In half types the sums of a plane overflow or lose all precision.
    "cumsum+gather": Rival(_cumsum_gather, one_per_channel=True, dtypes=("float32", "float64")),
    "OpenCV boxFilter": OpenCvRival(lambda case, size: (opencv.box_filter(size), [])),
    "OpenCV integral": OpenCvRival(lambda case, size: (opencv.integral, [])),
    "copy": CopyRival(_copy),
}

SKIP_RULE = (
    "Depthwise convolution, average pooling and the portable path are not timed where they need "
    f"more than {MAX_MULTIPLY_ADDS / 1e9:.0f} billion multiply-adds: outputs times size x size "
    "(portable: height + width), times 1 + cost of the backward pass (depthwise 20, others 2) for "
    f"forward+backward. {DEPTHWISE_3} is always timed."
)


def reason_to_skip(case: Case, candidate: Candidate, pass_name: str) -> str | None:
    """Returns why a candidate is not timed, or `None` if it is."""
    rival = RIVALS[candidate.operator]
    refusal = rival.refusal(case, pass_name)
    if refusal or candidate == DEPTHWISE_3 or rival.multiply_adds is None:
        return refusal
    passes = 1 if pass_name == FORWARD else 1 + rival.backward_cost
    count = case.outputs * rival.multiply_adds(case, candidate.size) * passes
    return f"{count:.1e} multiply-adds" if count > MAX_MULTIPLY_ADDS else None
