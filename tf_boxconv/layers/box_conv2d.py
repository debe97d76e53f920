"""Box convolution: boxes under every channel, mixed by learned weights."""

from __future__ import annotations

import keras
from keras import initializers, regularizers

from tf_boxconv.layers.base_box_conv import BaseBoxConv2D
from tf_boxconv.layers.conv2d_arguments import refuse_positional_arguments
from tf_boxconv.layers.mixing import mix_channels
from tf_boxconv.ops.arguments import standardize_count


@keras.saving.register_keras_serializable(package="tf_boxconv")
class BoxConv2D(BaseBoxConv2D):
    """2D box convolution layer, which takes the place of `keras.layers.Conv2D`.

    The layer averages each input channel over `depth_multiplier` boxes (see
    `DepthwiseBoxConv2D`), then mixes the `channels * depth_multiplier` responses with learned
    weights, as a 1x1 convolution does, and adds a bias. Each of its `filters` is thus a
    convolution whose kernel is a weighted sum of boxes of any size, and neither the number of
    parameters nor the cost depends on that size.

    To put it in the place of a `Conv2D`, keep `filters`, `strides`, `activation`, `use_bias` and
    the arguments that concern `kernel` and `bias`, and leave out `kernel_size`, `padding` and
    `dilation_rate`:

        keras.layers.Conv2D(32, 7, strides=2, padding="same", activation="relu")
        tf_boxconv.layers.BoxConv2D(32, strides=2, activation="relu")

    Both have the same output shape. Boxes learn their sizes, and the input counts as zero outside
    the image, as with `padding="same"`. All arguments after `filters` are keyword-only.

    Args:
        filters: int, the dimension of the output space (the number of filters in the
            convolution).
        depth_multiplier: int, the number of boxes for each input channel. All filters share
            them.
        strides: int or tuple/list of 2 integers `(stride_y, stride_x)`.
        data_format: string, either `"channels_last"` or `"channels_first"`. Both run on the
            CPU. It defaults to the `image_data_format` value found in your Keras config file.
        normalization: `"area"`, `"valid"` or `None`: what the sum over a box is divided by.
        max_size: int or tuple/list of 2 integers `(height, width)`: the size in pixels of the
            planes that the boxes are meant for, NOT the size of a kernel. `None` takes the
            spatial size of the input that the layer is built with; where that is unknown,
            `max_size` is required.
        activation: Activation function. If `None`, no activation is applied.
        use_bias: bool, if `True`, bias will be added to the output.
        boxes_initializer: Initializer for the boxes, in pixels.
        kernel_initializer: Initializer for the mixing weights.
        bias_initializer: Initializer for the bias vector.
        boxes_regularizer: Optional regularizer for the boxes, in pixels.
        kernel_regularizer: Optional regularizer for the mixing weights.
        bias_regularizer: Optional regularizer for the bias vector.
        activity_regularizer: Optional regularizer function for the output.
        boxes_constraint: Optional projection of the boxes, in pixels, after each step of an
            optimizer.
        kernel_constraint: Optional projection function to be applied to the mixing weights
            after being updated by an `Optimizer`.
        bias_constraint: Optional projection function to be applied to the bias after being
            updated by an `Optimizer`.
        implementation: `"native"` runs the compiled operator. `"portable"` computes the same with
            the framework's own operations, more slowly. Exports do not need it: they choose by
            themselves.

    `DepthwiseBoxConv2D` says more about the arguments that concern boxes.

    Attributes:
        boxes: The boxes in pixels, a tensor `(channels, depth_multiplier, 4)`.
        kernel: The mixing weights, a variable `(channels * depth_multiplier, filters)`.
        scale: Pixels per unit of the stored box weight, `(scale_y, scale_x)`.

    Input shape:
        A 4D tensor `(batch, height, width, channels)` if `data_format="channels_last"`, else
        `(batch, channels, height, width)`.

    Output shape:
        A 4D tensor with `filters` channels and `ceil(size / stride)` pixels along each spatial
        axis.

    Example:
    >>> x = np.random.rand(4, 48, 48, 16)
    >>> y = tf_boxconv.layers.BoxConv2D(32, activation="relu")(x)
    >>> print(y.shape)
    (4, 48, 48, 32)
    """

    def __init__(
        self,
        filters,
        *args,
        depth_multiplier=4,
        strides=1,
        data_format=None,
        normalization="area",
        max_size=None,
        activation=None,
        use_bias=True,
        boxes_initializer="random_boxes",
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        boxes_regularizer=None,
        kernel_regularizer=None,
        bias_regularizer=None,
        activity_regularizer=None,
        boxes_constraint="box_constraint",
        kernel_constraint=None,
        bias_constraint=None,
        implementation="native",
        **kwargs,
    ):
        refuse_positional_arguments(type(self), "filters", args)
        super().__init__(
            depth_multiplier=depth_multiplier,
            strides=strides,
            data_format=data_format,
            normalization=normalization,
            max_size=max_size,
            activation=activation,
            use_bias=use_bias,
            boxes_initializer=boxes_initializer,
            bias_initializer=bias_initializer,
            boxes_regularizer=boxes_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            boxes_constraint=boxes_constraint,
            bias_constraint=bias_constraint,
            implementation=implementation,
            **kwargs,
        )
        self.filters = standardize_count(filters, "filters")
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)

    def build(self, input_shape):
        """Creates the boxes, the mixing weights and the bias."""
        channels = self._build_boxes(input_shape)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(channels * self.depth_multiplier, self.filters),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            trainable=True,
            dtype=self.dtype,
        )
        self._build_bias(self.filters)

    def call(self, inputs):
        """Applies the boxes to `inputs` and mixes their responses."""
        responses = self._convolve_boxes(inputs)
        return self._add_bias_and_activate(mix_channels(responses, self.kernel, self.data_format))

    def compute_output_shape(self, input_shape):
        """Returns the shape of the output; dimensions may be `None`."""
        return self._output_shape(input_shape, self.filters)

    def get_config(self):
        """Returns the arguments of the constructor."""
        config = super().get_config()
        config.update(
            {
                "filters": self.filters,
                "kernel_initializer": initializers.serialize(self.kernel_initializer),
                "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
                "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
            }
        )
        return config
