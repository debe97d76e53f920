"""The box convolution and what it is compared with, each a call to time.

Every rival of a size computes means or weighted sums over about `size` x `size` pixels around each
pixel, as a user of TensorFlow or OpenCV would ask for them.
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

# A function of the images and the parameters, and the parameters, which are differentiated as well.
Operation = tuple[Callable[..., tf.Tensor], list[tf.Tensor]]

FLOAT_TYPES = ("float16", "bfloat16", "float32", "float64")
# More multiply-adds than these take seconds a call.
MOST_MULTIPLY_ADDS = 5e9


class Inputs:
    """The images of a case and the gradient that reaches its output."""

    def __init__(self, case: Case, seed: int = 0):
        rng = np.random.default_rng(seed)
        channel_axis = 1 if case.data_format == "channels_first" else -1
        out_shape = list(case.shape)
        out_shape[channel_axis] *= case.multiplier
        self.x = tf.cast(rng.standard_normal(case.shape, np.float32), case.dtype)
        self.output_grad = tf.cast(rng.standard_normal(out_shape, np.float32), case.dtype)


@dataclasses.dataclass(frozen=True)
class Rival:
    """An operator made of TensorFlow ops.

    Attributes:
        operation: Builds it for a case and a size.
        multiply_adds: For one output, from the case and the size; `None` where the size does not
            matter.
        backward_cost: How many times the forward pass the backward pass costs; `None`: it has none.
        channels_last_only: It gets channels-last images in channels-first cases too, because that
            is the layout stock TensorFlow has it for on CPUs.
        one_per_channel: It cannot have several filters a channel.
        dtypes: What it computes in.
    """

    operation: Callable[[Case, int | None], Operation]
    multiply_adds: Callable[[Case, int], float] | None = None
    backward_cost: float | None = 2
    channels_last_only: bool = False
    one_per_channel: bool = False
    dtypes: tuple[str, ...] = FLOAT_TYPES

    def refusal(self, case: Case, pass_name: str) -> str | None:
        """Why it cannot take part, if so."""
        if pass_name != FORWARD and self.backward_cost is None:
            return "has no gradient"
        if case.dtype not in self.dtypes:
            return f"does not compute in {case.dtype}"
        if self.one_per_channel and case.multiplier > 1:
            return "has one filter a channel"
        return None

    def call(self, case: Case, size: int | None, inputs: Inputs, pass_name: str) -> Callable:
        """A compiled call: it returns the output, or the output and all gradients."""
        function, parameters = self.operation(case, size)
        if pass_name == FORWARD:
            arguments = [inputs.x, *parameters]
            traced = tf.function(function)
        else:
            arguments = [inputs.output_grad, inputs.x, *parameters]
            # The output is asked for too: without it TensorFlow would leave the forward pass out.
            traced = tf.function(_with_gradients(function))
        concrete = traced.get_concrete_function(*arguments)
        return lambda: concrete(*arguments)


@dataclasses.dataclass(frozen=True)
class CopyRival(Rival):
    """Copying the images once, in either pass: what touching them costs."""

    def call(self, case: Case, size: int | None, inputs: Inputs, pass_name: str) -> Callable:
        """A compiled call that returns the copy."""
        return super().call(case, size, inputs, FORWARD)


@dataclasses.dataclass(frozen=True)
class OpenCvRival(Rival):
    """A function of OpenCV, called for each image; the operation takes one HWC array."""

    backward_cost: float | None = None
    channels_last_only: bool = True
    one_per_channel: bool = True
    dtypes: tuple[str, ...] = ("float32", "float64")

    def refusal(self, case: Case, pass_name: str) -> str | None:
        """Why it cannot take part, if so."""
        if not opencv.available():
            return "opencv-python-headless is not installed"
        return super().refusal(case, pass_name)

    def call(self, case: Case, size: int | None, inputs: Inputs, pass_name: str) -> Callable:
        """A call that returns a list of arrays, those of one image after those of another."""
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
        return lambda x, b: operator(x, b, data_format=case.data_format), [tf.cast(boxes, dtype)]

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
    # In half types 1.0001 is 1, a multiplication that TensorFlow would leave out.
    factor = 1.0001 if case.dtype in ("float32", "float64") else 1.01
    return lambda x: x * tf.cast(factor, x.dtype), []


def _area(case: Case, size: int) -> float:
    return size**2


_portable = functools.partial(tf_boxconv.box_conv2d, implementation="portable")

RIVALS: dict[str, Rival] = {
    "box": Rival(_box(tf_boxconv.box_conv2d, centred_boxes)),
    "box, random": Rival(_box(tf_boxconv.box_conv2d, random_boxes)),
    # Its backward pass is counted for how slowly TensorFlow computes it.
    "depthwise": Rival(_depthwise, _area, backward_cost=20, channels_last_only=True),
    "average pool": Rival(_average_pool, _area, channels_last_only=True, one_per_channel=True),
    "portable": Rival(
        _box(_portable, centred_boxes),
        multiply_adds=lambda case, size: case.height + case.width,
    ),
    # Sums of a plane overflow or drown in half types.
    "cumsum+gather": Rival(_cumsum_gather, one_per_channel=True, dtypes=("float32", "float64")),
    "OpenCV boxFilter": OpenCvRival(lambda case, size: (opencv.box_filter(size), [])),
    "OpenCV integral": OpenCvRival(lambda case, size: (opencv.integral, [])),
    "copy": CopyRival(_copy),
}

SKIP_RULE = (
    f"Where depthwise convolution, average pooling and the portable form need more than "
    f"{MOST_MULTIPLY_ADDS / 1e9:.0f} billion multiply-adds they take no part: outputs times "
    "size x size (portable: height + width), and for forward+backward times 1 + what the "
    f"backward pass costs (depthwise 20, others 2). {DEPTHWISE_3} always takes part."
)


def reason_to_skip(case: Case, candidate: Candidate, pass_name: str) -> str | None:
    """Why a candidate does not take part, if so."""
    rival = RIVALS[candidate.operator]
    refusal = rival.refusal(case, pass_name)
    if refusal or candidate == DEPTHWISE_3 or rival.multiply_adds is None:
        return refusal
    passes = 1 if pass_name == FORWARD else 1 + rival.backward_cost
    count = case.outputs * rival.multiply_adds(case, candidate.size) * passes
    return f"{count:.1e} multiply-adds" if count > MOST_MULTIPLY_ADDS else None
