"""What the box convolution layers share: the box weight, its unit, its checks."""

from __future__ import annotations

import numbers

import keras
import numpy as np
from keras import activations, initializers, ops, regularizers

from tf_boxconv import backends
from tf_boxconv import constraints as box_constraints
from tf_boxconv import initializers as box_initializers
from tf_boxconv.ops import stock_ops_scope
from tf_boxconv.ops.arguments import (
    dtype_name,
    standardize_data_format,
    standardize_implementation,
    standardize_normalization,
    standardize_strides,
)
from tf_boxconv.ops.box_conv import box_conv2d

# Box weights are stored as pixels / (COORDINATE_SCALE * max_size), so that one step of an optimizer
# moves an edge by about learning_rate * COORDINATE_SCALE * max_size pixels (Adam; plain gradient
# descent goes by its square). Chosen by measurement: docs/notes/coordinate_scale.md. Layers read it
# when they are built, and weight files record it, so that changing it harms no saved model.
COORDINATE_SCALE = 1.0


class BaseBoxConv2D(keras.layers.Layer):
    """Abstract layer that owns boxes `[channels, depth_multiplier, 4]` (private).

    Subclasses call `_build_boxes` from `build` and `_convolve_boxes` from `call`. The arguments
    are described in `DepthwiseBoxConv2D`.
    """

    def __init__(
        self,
        depth_multiplier,
        strides=1,
        data_format=None,
        normalization="area",
        max_size=None,
        activation=None,
        use_bias=True,
        boxes_initializer="random_boxes",
        bias_initializer="zeros",
        boxes_regularizer=None,
        bias_regularizer=None,
        activity_regularizer=None,
        boxes_constraint="box_constraint",
        bias_constraint=None,
        implementation="native",
        **kwargs,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.depth_multiplier = standardize_count(depth_multiplier, "depth_multiplier")
        self.strides = standardize_strides(strides)
        self.data_format = standardize_data_format(data_format)
        self.normalization = standardize_normalization(normalization)
        self.max_size = box_constraints.standardize_max_size(max_size)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.boxes_initializer = box_initializers.get(boxes_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.boxes_regularizer = regularizers.get(boxes_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.boxes_constraint = box_constraints.get(boxes_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.input_spec = keras.layers.InputSpec(ndim=4)
        self.implementation = standardize_implementation(implementation)
        self.supports_jit = self.implementation == "portable" or backends.native_supports_jit()
        self._scale = None

    @property
    def boxes(self):
        """The boxes as a tensor `[channels, depth_multiplier, 4]`, in pixels.

        The last axis is `(y_min, x_min, y_max, x_max)`, relative to the centre of the output
        pixel. The dtype is float32, or float64 where the layer computes in float64.
        """
        self._check_built("boxes")
        return self._to_pixels(self._boxes)

    def set_boxes(self, boxes):
        """Sets the boxes.

        They are taken as they are: `boxes_constraint` acts after the next step of an optimizer.

        Args:
            boxes: array `[channels, depth_multiplier, 4]` of `(y_min, x_min, y_max, x_max)` in
                pixels, relative to the centre of the output pixel.
        """
        self._check_built("set_boxes")
        boxes = ops.convert_to_tensor(boxes, self._boxes.dtype)
        if tuple(boxes.shape) != tuple(self._boxes.shape):
            raise ValueError(
                "`boxes` must have shape [channels, depth_multiplier, 4], here "
                f"{tuple(self._boxes.shape)}. Received: boxes.shape={tuple(boxes.shape)}"
            )
        self._boxes.assign(self._to_stored(boxes))

    @property
    def scale(self):
        """Pixels per unit of the stored box weight, `(scale_y, scale_x)`.

        It is `max_size` (a constant factor aside), so that the learning rates that suit other
        weights move edges at a useful speed whatever the size of the plane.
        """
        self._check_built("scale")
        return self._scale

    def _check_built(self, name):
        if self._scale is None:
            # PyTorch, where layers are modules, puts a message of its own in this one's place.
            raise AttributeError(f"You must build the layer before accessing `{name}`.")

    # By the tensors' own operators: several of Keras's, `ops.maximum` and `ops.matmul` among them,
    # give float32 for float64 on backends other than TensorFlow (Keras 3.15).

    def _to_pixels(self, stored):
        stored = ops.convert_to_tensor(stored)
        return stored * self._scale_tensor(stored)

    def _to_stored(self, pixels):
        pixels = ops.convert_to_tensor(pixels)
        return pixels / self._scale_tensor(pixels)

    def _scale_tensor(self, like):
        return ops.convert_to_tensor(self._scale * 2, dtype_name(like))

    def _build_boxes(self, input_shape):
        """Creates the box weight for an input of this shape; returns the number of channels."""
        channels, *size = self.check_input_shape(input_shape, channels_required=True)
        max_size = self.max_size
        if max_size is None:
            if None in size:
                raise ValueError(
                    f"`max_size` must be given to layer '{self.name}', because the spatial size "
                    f"of its input is unknown when it is built. Received: "
                    f"input_shape={tuple(input_shape)}, max_size=None. Pass "
                    "max_size=(height, width), the size in pixels of the planes the layer will "
                    "typically see; larger and smaller ones work as well."
                )
            max_size = tuple(max(1, length) for length in size)
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={self._channel_axis: channels})
        self._scale = tuple(float(COORDINATE_SCALE * length) for length in max_size)
        self._boxes = self.add_weight(
            name="boxes",
            shape=(channels, self.depth_multiplier, 4),
            initializer=self._stored_initializer(max_size),
            regularizer=self._stored_regularizer(),
            constraint=self._stored_constraint(max_size),
            trainable=True,
            # Half types cannot hold a coordinate, under whatever dtype policy.
            dtype="float64" if self.compute_dtype == "float64" else "float32",
            autocast=False,
        )
        return channels

    def _build_bias(self, size):
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(size,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                trainable=True,
                dtype=self.dtype,
            )

    # The initializer, the regularizer and the constraint all see pixels; the weight is stored in
    # other units. These three translate.

    def _stored_initializer(self, max_size):
        initializer = with_max_size(self.boxes_initializer, max_size)

        def initialize(shape, dtype=None):
            return self._to_stored(ops.cast(initializer(shape, dtype=dtype), dtype))

        return initialize

    def _stored_regularizer(self):
        if self.boxes_regularizer is None:
            return None
        return lambda stored: self.boxes_regularizer(self._to_pixels(stored))

    def _stored_constraint(self, max_size):
        if self.boxes_constraint is None:
            return None
        constraint = with_max_size(self.boxes_constraint, max_size)

        def constrain(stored):
            stored = ops.convert_to_tensor(stored)
            pixels = self._to_pixels(stored)
            projected = constraint(pixels)
            # Boxes that the constraint accepts are not rounded on the way to pixels and back.
            return ops.where(projected == pixels, stored, self._to_stored(projected))

        return constrain

    def _convolve_boxes(self, inputs):
        return box_conv2d(
            ops.cast(inputs, self.compute_dtype),
            stock_ops_scope.current_value(lambda: self.boxes),
            strides=self.strides,
            normalization=self.normalization,
            data_format=self.data_format,
            implementation=self.implementation,
        )

    def _add_bias_and_activate(self, outputs):
        if self.bias is not None:
            shape = [1, 1, 1, 1]
            shape[self._channel_axis] = self.bias.shape[0]
            # Not `ops.add`: with the TensorFlow backend it takes a bias for one of the last axis
            # when the width happens to equal the number of channels (Keras 3.15).
            outputs = outputs + ops.reshape(self.bias, shape)
        return outputs if self.activation is None else self.activation(outputs)

    @property
    def _channel_axis(self):
        return 3 if self.data_format == "channels_last" else 1

    def check_input_shape(self, input_shape, channels_required=False):
        """Returns `(channels, height, width)` of `input_shape` or raises a `ValueError`."""
        shape = tuple(input_shape)
        if len(shape) != 4:
            layout = "[N, H, W, C]" if self.data_format == "channels_last" else "[N, C, H, W]"
            raise ValueError(
                f"The input of layer '{self.name}' must have rank 4, {layout}. Received: "
                f"input_shape={shape}"
            )
        channels = shape[self._channel_axis]
        if channels is None and channels_required:
            raise ValueError(
                f"The channels of the input of layer '{self.name}' (axis {self._channel_axis} "
                f"with data_format='{self.data_format}') must be defined when it is built. "
                f"Received: input_shape={shape}"
            )
        height, width = shape[1:3] if self.data_format == "channels_last" else shape[2:]
        return channels, height, width

    def _output_shape(self, input_shape, channels):
        _, *size = self.check_input_shape(input_shape)
        size = [
            None if length is None else -(-length // stride)
            for length, stride in zip(size, self.strides, strict=True)
        ]
        batch = input_shape[0]
        if self.data_format == "channels_last":
            return (batch, *size, channels)
        return (batch, channels, *size)

    def save_own_variables(self, store):
        """Saves the weights and, beside them, the scale of the boxes."""
        super().save_own_variables(store)
        if self.built:
            store["scale"] = np.array(self._scale)

    def load_own_variables(self, store):
        """Loads the weights; the boxes keep their size in pixels if the scales differ."""
        store = {key: store[key] for key in store.keys()}  # noqa: SIM118 (not a mapping)
        saved_scale = store.pop("scale", None)
        super().load_own_variables(store)
        if saved_scale is not None and tuple(np.array(saved_scale)) != self._scale:
            ratio = np.tile(np.array(saved_scale) / self._scale, 2)
            boxes = ops.convert_to_tensor(self._boxes)
            self._boxes.assign(boxes * ops.convert_to_tensor(ratio, self._boxes.dtype))

    def get_config(self):
        """Returns the arguments of the constructor."""
        config = super().get_config()
        config.update(
            {
                "depth_multiplier": self.depth_multiplier,
                "strides": self.strides,
                "data_format": self.data_format,
                "normalization": self.normalization,
                "max_size": self.max_size,
                "activation": activations.serialize(self.activation),
                "use_bias": self.use_bias,
                "boxes_initializer": initializers.serialize(self.boxes_initializer),
                "bias_initializer": initializers.serialize(self.bias_initializer),
                "boxes_regularizer": regularizers.serialize(self.boxes_regularizer),
                "bias_regularizer": regularizers.serialize(self.bias_regularizer),
                "activity_regularizer": regularizers.serialize(self.activity_regularizer),
                "boxes_constraint": keras.constraints.serialize(self.boxes_constraint),
                "bias_constraint": keras.constraints.serialize(self.bias_constraint),
                "implementation": self.implementation,
            }
        )
        return config


def standardize_count(value, name):
    """Returns `value` if it is a positive integer, or raises a `ValueError` that names it."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value <= 0:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}")
    return int(value)


def with_max_size(rule, max_size):
    """Returns an initializer or constraint, one that knows `max_size` if it is of that kind."""
    return rule.with_max_size(max_size) if hasattr(rule, "with_max_size") else rule
