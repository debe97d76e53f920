"""The residual block of box convolutions."""

from __future__ import annotations

import keras
from keras import activations, initializers, ops, regularizers

from tf_boxconv.layers.base_box_conv import refuse_weights_without_scale
from tf_boxconv.layers.conv2d_arguments import (
    refuse_arguments_of_convolutions,
    refuse_positional_arguments,
)
from tf_boxconv.layers.depthwise_box_conv2d import DepthwiseBoxConv2D
from tf_boxconv.layers.mixing import mix_channels
from tf_boxconv.ops.arguments import standardize_count, standardize_data_format


@keras.saving.register_keras_serializable(package="tf_boxconv")
class BoxBottleneck(keras.layers.Layer):
    """Residual block around box convolutions, with as many output as input channels.

    The block computes

        reduced = activation(batch_norm(conv_1x1(inputs)))    # channels / depth_multiplier
        context = dropout(batch_norm(boxes(reduced)))         # channels
        outputs = activation(inputs + context)

    where `boxes` is a `DepthwiseBoxConv2D` with `depth_multiplier` boxes a channel, which brings
    the channels back to what they were. The 1x1 convolution mixes channels, the boxes gather
    context from as far away as they like.

    Args:
        depth_multiplier: int, the number of boxes for each reduced channel, and the factor by
            which the channels are reduced. The channels of the input must be divisible by it. All
            other arguments are keyword-only.
        data_format: string, either `"channels_last"` or `"channels_first"`. Both run on the
            CPU. It defaults to the `image_data_format` value found in your Keras config file.
        normalization: `"area"`, `"valid"` or `None`: what the sum over a box is divided by. Not
            to be confused with the two batch normalizations.
        max_size: int or tuple/list of 2 integers `(height, width)`: the size in pixels of the
            planes that the boxes are meant for. `None` takes the spatial size of the input that
            the block is built with; where that is unknown, `max_size` is required.
        activation: Activation function, applied after the 1x1 convolution and to the sum. If
            `None`, no activation is applied.
        rate: float between 0 and 1, the part of the context that is dropped in training.
        momentum: Momentum of the moving averages of the batch normalizations.
        epsilon: Small float added to the variance in the batch normalizations.
        boxes_initializer: Initializer for the boxes, in pixels.
        kernel_initializer: Initializer for the 1x1 convolution.
        boxes_regularizer: Optional regularizer for the boxes, in pixels.
        kernel_regularizer: Optional regularizer for the 1x1 convolution.
        boxes_constraint: Optional projection of the boxes, in pixels, after each step of an
            optimizer.
        implementation: `"native"` runs the compiled operator. `"portable"` computes the same with
            the framework's own operations, more slowly. Exports do not need it: they choose by
            themselves.

    `DepthwiseBoxConv2D` says more about the arguments that concern boxes.

    Call arguments:
        inputs: the input tensor.
        training: bool, whether the batch normalizations use the statistics of the batch and the
            dropout drops.

    Attributes:
        boxes: The boxes in pixels, a tensor `(channels / depth_multiplier, depth_multiplier, 4)`.

    Input shape:
        A 4D tensor `(batch, height, width, channels)` if `data_format="channels_last"`, else
        `(batch, channels, height, width)`.

    Output shape:
        The same as the input's.

    Example:
    >>> x = np.random.rand(4, 48, 48, 64)
    >>> y = tf_boxconv.layers.BoxBottleneck(depth_multiplier=4)(x)
    >>> print(y.shape)
    (4, 48, 48, 64)

    Reference:
        Burkov & Lempitsky, Deep Neural Networks with Box Convolutions, NeurIPS 2018.
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
        # They did not exist when `trainable` was set.
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
        return 3 if self.data_format == "channels_last" else 1

    @property
    def boxes(self):
        """The boxes as a tensor, in pixels; `box_conv.set_boxes` sets them."""
        return self.box_conv.boxes

    def build(self, input_shape):
        """Creates the weights of the block."""
        input_shape = tuple(input_shape)
        # The box layer would complain of the reduced shape; the caller knows the input's.
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
        # The layers within keep the policy that the block was made with.
        return self._activate(inputs + ops.cast(context, self.compute_dtype))

    def set_weights(self, weights):
        """Sets the weights from a list of arrays, as `get_weights` returns them."""
        refuse_weights_without_scale(self, weights)
        super().set_weights(weights)

    def _activate(self, x):
        return x if self.activation is None else self.activation(x)

    def compute_output_shape(self, input_shape):
        """Returns `input_shape`."""
        self.box_conv.check_input_shape(input_shape)
        return tuple(input_shape)

    def get_config(self):
        """Returns the arguments of the constructor."""
        config = super().get_config()
        boxes = self.box_conv.get_config()
        passed_on = (
            "depth_multiplier",
            "data_format",
            "normalization",
            "max_size",
            "boxes_initializer",
            "boxes_regularizer",
            "boxes_constraint",
            "implementation",
        )
        config.update({key: boxes[key] for key in passed_on})
        config.update(
            {
                "activation": activations.serialize(self.activation),
                "rate": self.dropout.rate,
                "momentum": self.momentum,
                "epsilon": self.epsilon,
                "kernel_initializer": initializers.serialize(self.kernel_initializer),
                "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
                "activity_regularizer": regularizers.serialize(self.activity_regularizer),
            }
        )
        return config
