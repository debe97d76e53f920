"""The base class of the box convolution layers. It owns the boxes and their scale.

The layers store boxes as `pixels / scale`; the public API takes and returns pixels.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import activations, initializers, ops, regularizers

from tf_boxconv import backends
from tf_boxconv import constraints as box_constraints
from tf_boxconv import initializers as box_initializers
from tf_boxconv.layers.box_scale import BoxScale
from tf_boxconv.layers.conv2d_arguments import refuse_arguments_of_convolutions
from tf_boxconv.layers.moving_averages import average_constrained_boxes
from tf_boxconv.layers.stored_units import StoredConstraint, StoredInitializer, StoredRegularizer
from tf_boxconv.ops.arguments import (
    channel_axis,
    dtype_name,
    standardize_count,
    standardize_data_format,
    standardize_implementation,
    standardize_normalization,
    standardize_strides,
)


class BaseBoxConv2D(keras.layers.Layer):
    """Abstract layer that owns boxes `[channels, depth_multiplier, 4]` (private).

    Subclasses call `_build_boxes` in `build` and `_operator_arguments` in `call`. See
    `DepthwiseBoxConv2D` for the arguments.
    """

    def __init__(
        self,
        *,
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
        refuse_arguments_of_convolutions(type(self), kwargs)
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.depth_multiplier = standardize_count(depth_multiplier, "depth_multiplier")
        self.strides = standardize_strides(strides)
        self.data_format = standardize_data_format(data_format)
        self.normalization = standardize_normalization(normalization)
        self.max_size = box_constraints.standardize_max_size(max_size)
        self.activation = activations.get(activation)
        self.use_bias = bool(use_bias)
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
        pixel. The dtype is float64 if the layer computes in float64, and float32 otherwise.
        """
        self._check_built("boxes")
        return self._scale.to_pixels(ops.convert_to_tensor(self._boxes))

    def set_boxes(self, boxes):
        """Sets the boxes.

        This does not apply `boxes_constraint`, which acts after the next update by an optimizer.

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
        self._boxes.assign(self._scale.to_stored(boxes))

    @property
    def scale(self):
        """A pair of floats `(scale_y, scale_x)`; the trainable weight holds `boxes / scale`.

        The scale of a new layer is `max_size`. Learning rates that suit other weights then move
        edges at a useful speed, whatever the size of the planes. The scale is a non-trainable
        weight, which is saved, loaded and copied together with the boxes.
        """
        self._check_built("scale")
        return self._scale.as_floats()

    def _check_built(self, name):
        if self._scale is None:
            # On PyTorch, `torch.nn.Module` replaces this message by one of its own.
            raise AttributeError(f"You must build the layer before accessing `{name}`.")

    def _build_boxes(self, input_shape):
        """Creates the boxes for inputs of this shape. Returns the number of channels."""
        channels, *size = self.check_input_shape(input_shape, channels_required=True)
        max_size = self.max_size
        if max_size is None:
            if None in size:
                raise ValueError(
                    f"`max_size` must be given to layer '{self.name}', because the spatial size "
                    f"of its input is unknown. Received: input_shape={tuple(input_shape)}, "
                    "max_size=None. Pass max_size=(height, width), the typical size of this "
                    "layer's input in pixels: (32, 32) for 64x64 images behind a stride of 2. "
                    "Inputs of other sizes work as well."
                )
            max_size = tuple(max(1, length) for length in size)
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={self._channel_axis: channels})
        self._plane_size = max_size
        shape = (channels, self.depth_multiplier, 4)
        # Half types cannot represent coordinates, so boxes are float32 under half policies too.
        dtype = "float64" if self.compute_dtype == "float64" else "float32"
        # The scale is `max_size`, so that a step of Adam moves an edge by about
        # learning_rate * max_size pixels. docs/notes/coordinate_scale.md compares other factors.
        scale = BoxScale(self, max_size, shape, dtype)
        self._scale_weight = scale.weight
        initializer = with_max_size(self.boxes_initializer, max_size)
        regularizer = self.boxes_regularizer and StoredRegularizer(self.boxes_regularizer, scale)
        constraint = None
        if self.boxes_constraint is not None:
            constraint = StoredConstraint(with_max_size(self.boxes_constraint, max_size), scale)
            average_constrained_boxes()
        self._boxes = self.add_weight(
            name="boxes",
            shape=shape,
            initializer=StoredInitializer(initializer, scale),
            regularizer=regularizer,
            constraint=constraint,
            trainable=True,
            dtype=dtype,
            autocast=False,
        )
        self._scale = scale
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

    def _operator_arguments(self, inputs):
        """Returns the arguments that `box_conv2d` and `separable_box_conv2d` share."""
        boxes = self._boxes_for_call()
        # The dtype policy may have changed since the layer was built.
        dtype = "float64" if self.compute_dtype == "float64" else "float32"
        return {
            "x": ops.cast(inputs, self.compute_dtype),
            "boxes": boxes if dtype_name(boxes) == dtype else ops.cast(boxes, dtype),
            "strides": self.strides,
            "normalization": self.normalization,
            "data_format": self.data_format,
            "implementation": self.implementation,
        }

    def _boxes_for_call(self):
        """Returns the boxes in pixels. An export replaces this method, to make them constants."""
        return self.boxes

    def _activate(self, outputs):
        return outputs if self.activation is None else self.activation(outputs)

    @property
    def _channel_axis(self):
        return channel_axis(self.data_format)

    def check_input_shape(self, input_shape, channels_required=False):
        """Returns `(channels, height, width)` of `input_shape`, with None for unknown sizes.

        Raises a `ValueError` if the rank is not 4, or if the number of channels is unknown and
        `channels_required`.
        """
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
                f"with data_format='{self.data_format}') must be defined. Received: "
                f"input_shape={shape}"
            )
        height, width = shape[1:3] if self.data_format == "channels_last" else shape[2:]
        return channels, height, width

    def set_weights(self, weights):
        """Sets the weights from a list of arrays in the order of `get_weights`."""
        refuse_weights_without_scale(self, weights)
        super().set_weights(weights)

    def load_own_variables(self, store):
        """Loads the weights. Loads none of them if the shape of one does not match."""
        values = {key: store[key] for key in store.keys()}  # noqa: SIM118 (not a mapping)
        variables = self._trainable_variables + self._non_trainable_variables
        if "scale" in values and self._scale is not None:
            values = self._with_scale_weight(values, variables)
        if len(values) == len(variables):
            for i, variable in enumerate(variables):
                if tuple(values[str(i)].shape) != tuple(variable.shape):
                    raise ValueError(
                        f"Weight '{variable.path}' of layer '{self.name}' has shape "
                        f"{tuple(variable.shape)}. The saved weight has shape "
                        f"{tuple(values[str(i)].shape)}."
                    )
        super().load_own_variables(values)

    def _with_scale_weight(self, values, variables):
        """Inserts the scale among the weights; earlier versions stored it under the key "scale"."""
        values = dict(values)
        scale = self._scale.weight_value(np.array(values.pop("scale")))
        ordered = [values[str(i)] for i in range(len(values))]
        index = next(i for i, variable in enumerate(variables) if variable is self._scale_weight)
        ordered.insert(index, scale)
        return {str(i): value for i, value in enumerate(ordered)}

    def get_config(self):
        """Returns the config of the layer."""
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


def with_max_size(function, max_size):
    """Returns `function` with this `max_size`, or unchanged if it has no method for that."""
    return function.with_max_size(max_size) if hasattr(function, "with_max_size") else function


def refuse_weights_without_scale(layer, weights):
    """Raises a `ValueError` if one array is missing, as in lists of versions without `scale`."""
    if len(weights) == len(layer.weights) - 1:
        raise ValueError(
            f"`weights` must hold {len(layer.weights)} arrays for layer '{layer.name}': "
            f"{', '.join(weight.name for weight in layer.weights)}. Received: {len(weights)} "
            "arrays. Lists from earlier versions of tf_boxconv have no `scale`. If both layers "
            "were built for inputs of the same size, insert the `scale` weight of this layer."
        )
