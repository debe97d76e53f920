"""`BoxBottleneck`: a residual block around a depthwise box convolution."""

from __future__ import annotations

import keras
from keras import activations, constraints, initializers, ops, regularizers

from tf_boxconv.layers.base_box_conv import refuse_weights_without_scale
from tf_boxconv.layers.conv2d_arguments import (
    refuse_arguments_of_convolutions,
    refuse_positional_arguments,
)
from tf_boxconv.layers.depthwise_box_conv2d import DepthwiseBoxConv2D
from tf_boxconv.ops.arguments import channel_axis, standardize_count, standardize_data_format
from tf_boxconv.ops.mixing import mix_channels


@keras.saving.register_keras_serializable(package="tf_boxconv")
class BoxBottleneck(keras.layers.Layer):
    """Residual block of a 1x1 convolution and a depthwise box convolution.

    The block computes

        reduced = activation(batch_norm(conv_1x1(inputs)))    # channels / depth_multiplier
        context = dropout(batch_norm(boxes(reduced)))         # channels
        outputs = activation(inputs + context)

    where `boxes` is a `DepthwiseBoxConv2D` with `depth_multiplier` boxes per channel, so that the
    output has as many channels as the input. The 1x1 convolution mixes channels. The boxes gather
    context from any distance.

    See `DepthwiseBoxConv2D` for details of the arguments for boxes.

    Args:
        depth_multiplier: int, the number of boxes for each channel after the 1x1 convolution,
            which divides the number of channels by `depth_multiplier`. The input's channels must
            be divisible by it. All other arguments are keyword-only.
        data_format: string, either `"channels_last"` or `"channels_first"`. Both run on the
            CPU and on GPUs. It defaults to the `image_data_format` value found in your Keras
            config file.
        normalization: The divisor of the sum over a box. `"area"` divides by the area of the box,
            `"valid"` by the area of its part inside the image. `None` does not divide.
            Batch normalization is not affected.
        max_size: int or tuple/list of 2 integers, the typical `(height, width)` of the layer's
            input, in pixels: 32 for 64x64 images behind a stride of 2. The default initializer and
            constraint derive the range of the boxes from it, and the scale of the stored boxes
            starts at it. Inputs of other sizes work too. `None` uses the spatial size of the input
            that the block is built with. If that size is unknown, `max_size` is required.
        activation: Activation function, applied after the 1x1 convolution and to the sum. If
            `None`, no activation is applied.
        rate: float between 0 and 1, the fraction of the context to drop during training.
        momentum: Momentum for the moving averages of both batch normalizations.
        epsilon: Small float added to the variance in both batch normalizations to avoid dividing
            by zero.
        boxes_initializer: Initializer for the boxes, in pixels.
        kernel_initializer: Initializer for the 1x1 convolution.
        boxes_regularizer: Optional regularizer for the boxes, in pixels.
        kernel_regularizer: Optional regularizer for the 1x1 convolution.
        boxes_constraint: Optional projection function to be applied to the boxes, in pixels,
            after being updated by an `Optimizer`.
        kernel_constraint: Optional projection function to be applied to the 1x1 convolution after
            being updated by an `Optimizer`.
        implementation: `"native"` runs the compiled operator, or the portable path if the backend
            or device has none. `"portable"` always runs the portable path: Keras operations that
            compute the same, more slowly. You do not need to set it for an export:
            `tf_boxconv.export` chooses the portable path for every format except
            `"saved_model"`.

    Call arguments:
        inputs: Input tensor.
        training: Python boolean indicating whether the batch normalizations and the dropout
            behave in training mode or in inference mode.

    Attributes:
        boxes: The boxes in pixels, a tensor with shape
            `(channels / depth_multiplier, depth_multiplier, 4)`. Use `box_conv.set_boxes` to
            change them.
        box_conv: The `DepthwiseBoxConv2D`.

    Input shape:
        A 4D tensor with shape `(batch, height, width, channels)` if
        `data_format="channels_last"`, or `(batch, channels, height, width)` if
        `data_format="channels_first"`.

    Output shape:
        Same shape as the input.

    Raises:
        ValueError: For an invalid argument, if the channels are not divisible by
            `depth_multiplier`, or if `max_size` is missing and the spatial size of the input is
            unknown.
        TypeError: If there are positional arguments after `depth_multiplier`.

    Example:
    >>> x = np.random.rand(4, 48, 48, 64)
    >>> y = tf_boxconv.layers.BoxBottleneck(depth_multiplier=4)(x)
    >>> tuple(y.shape)
    (4, 48, 48, 64)

    Reference:
    - Burkov and Lempitsky, "Deep Neural Networks with Box Convolutions" (NeurIPS 2018)
    """

    def __init__(
        self,
        depth_multiplier=4,
        *args,
        data_format=None,
        normalization="area",
        max_size=None,
        activation="relu",
        rate=0.0,
        momentum=0.99,
        epsilon=1e-3,
        boxes_initializer="random_boxes",
        kernel_initializer="glorot_uniform",
        boxes_regularizer=None,
        kernel_regularizer=None,
        boxes_constraint="box_constraint",
        kernel_constraint=None,
        implementation="native",
        **kwargs,
    ):
        refuse_positional_arguments(type(self), "depth_multiplier", args)
        refuse_arguments_of_convolutions(type(self), kwargs)
        super().__init__(**kwargs)
        self.depth_multiplier = standardize_count(depth_multiplier, "depth_multiplier")
        self.data_format = standardize_data_format(data_format)
        self.activation = activations.get(activation)
        self.momentum = float(momentum)
        self.epsilon = float(epsilon)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.box_conv = DepthwiseBoxConv2D(
            self.depth_multiplier,
            data_format=self.data_format,
            normalization=normalization,
            max_size=max_size,
            boxes_initializer=boxes_initializer,
            boxes_regularizer=boxes_regularizer,
            boxes_constraint=boxes_constraint,
            implementation=implementation,
            dtype=self.dtype_policy,
            name="box_conv",
        )
        self.dropout = keras.layers.Dropout(float(rate), dtype=self.dtype_policy, name="dropout")
        self.reduce_norm = self._batch_norm("reduce_norm")
        self.box_norm = self._batch_norm("box_norm")
        self.input_spec = keras.layers.InputSpec(ndim=4)
        self.supports_jit = self.box_conv.supports_jit
        # `Layer.__init__` set `trainable` before the inner layers existed.
        for layer in (self.box_conv, self.dropout, self.reduce_norm, self.box_norm):
            layer.trainable = self.trainable

    def _batch_norm(self, name):
        return keras.layers.BatchNormalization(
            axis=self._channel_axis,
            momentum=self.momentum,
            epsilon=self.epsilon,
            dtype=self.dtype_policy,
            name=name,
        )

    @property
    def _channel_axis(self):
        return channel_axis(self.data_format)

    @property
    def boxes(self):
        """The boxes in pixels, a tensor `[channels / depth_multiplier, depth_multiplier, 4]`."""
        return self.box_conv.boxes

    def build(self, input_shape):
        """Creates the weights of the block."""
        input_shape = tuple(input_shape)
        # Checked here, so that an error shows the shape of the input and not the reduced shape.
        channels, *_ = self.box_conv.check_input_shape(input_shape, channels_required=True)
        if channels % self.depth_multiplier:
            raise ValueError(
                "The channels of the input must be divisible by `depth_multiplier`. Received: "
                f"depth_multiplier={self.depth_multiplier}, input_shape={input_shape} "
                f"({channels} channels)"
            )
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={self._channel_axis: channels})
        reduced = channels // self.depth_multiplier
        reduced_shape = list(input_shape)
        reduced_shape[self._channel_axis] = reduced
        self.kernel = self.add_weight(
            name="kernel",
            shape=(channels, reduced),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.reduce_norm.build(tuple(reduced_shape))
        self.box_conv.build(tuple(reduced_shape))
        self.box_norm.build(input_shape)
        self.dropout.build(input_shape)

    def call(self, inputs, training=False):
        """Applies the block to `inputs`."""
        inputs = ops.cast(inputs, self.compute_dtype)
        reduced = mix_channels(inputs, self.kernel, self.data_format)
        reduced = self._activate(self.reduce_norm(reduced, training=training))
        context = self.box_norm(self.box_conv(reduced), training=training)
        context = self.dropout(context, training=training)
        # The inner layers keep the dtype policy that the block was created with.
        return self._activate(inputs + ops.cast(context, self.compute_dtype))

    def set_weights(self, weights):
        """Sets the weights from a list of arrays in the order of `get_weights`."""
        refuse_weights_without_scale(self, weights)
        super().set_weights(weights)

    def _activate(self, x):
        return x if self.activation is None else self.activation(x)

    def compute_output_shape(self, input_shape):
        """Returns `input_shape`."""
        self.box_conv.check_input_shape(input_shape)
        return tuple(input_shape)

    def get_config(self):
        """Returns the config of the block."""
        config = super().get_config()
        box_conv_config = self.box_conv.get_config()
        box_conv_arguments = (
            "depth_multiplier",
            "data_format",
            "normalization",
            "max_size",
            "boxes_initializer",
            "boxes_regularizer",
            "boxes_constraint",
            "implementation",
        )
        config.update({key: box_conv_config[key] for key in box_conv_arguments})
        config.update(
            {
                "activation": activations.serialize(self.activation),
                "rate": self.dropout.rate,
                "momentum": self.momentum,
                "epsilon": self.epsilon,
                "kernel_initializer": initializers.serialize(self.kernel_initializer),
                "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
                "kernel_constraint": constraints.serialize(self.kernel_constraint),
                "activity_regularizer": regularizers.serialize(self.activity_regularizer),
            }
        )
        return config
