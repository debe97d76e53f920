"""`BoxConv2D`: averages each channel over boxes, then mixes the responses with learned weights."""

from __future__ import annotations

import keras
from keras import initializers, ops, regularizers

from tf_boxconv.layers.base_box_conv import BaseBoxConv2D
from tf_boxconv.layers.conv2d_arguments import refuse_positional_arguments
from tf_boxconv.ops.arguments import standardize_count, strided_shape
from tf_boxconv.ops.separable_box_conv import separable_box_conv2d


@keras.saving.register_keras_serializable(package="tf_boxconv")
class BoxConv2D(BaseBoxConv2D):
    """2D box convolution layer, a replacement for `keras.layers.Conv2D` of any kernel size.

    The layer averages each input channel over `depth_multiplier` boxes, as `DepthwiseBoxConv2D`
    does. It then mixes the `channels * depth_multiplier` responses with learned weights, as a 1x1
    convolution does, and adds a bias. Each filter is thus a convolution whose kernel is a weighted
    sum of boxes. Neither the number of parameters nor the cost depends on the size of the boxes.

    To replace a `Conv2D`, keep `filters`, `strides`, `activation`, `use_bias` and the arguments
    for the kernel and the bias. Leave out `kernel_size`, `padding` and `dilation_rate`:

        keras.layers.Conv2D(32, 7, strides=2, padding="same", activation="relu")
        tf_boxconv.layers.BoxConv2D(32, strides=2, activation="relu")

    Both have the same output shape. The sizes and positions of the boxes are learned. The input is
    zero outside the image, as with `padding="same"`.

    See `DepthwiseBoxConv2D` for details of the arguments for boxes.

    Args:
        filters: int, the dimension of the output space (the number of filters in the
            convolution). All other arguments are keyword-only.
        depth_multiplier: int, the number of boxes for each input channel. All filters share
            them.
        strides: int or tuple/list of 2 integers `(stride_y, stride_x)`.
        data_format: string, either `"channels_last"` or `"channels_first"`. Both run on the
            CPU and on GPUs. It defaults to the `image_data_format` value found in your Keras
            config file.
        normalization: The divisor of the sum over a box. `"area"` divides by the area of the box,
            `"valid"` by the area of its part inside the image. `None` does not divide.
        max_size: int or tuple/list of 2 integers, the typical `(height, width)` of the layer's
            input, in pixels: 32 for 64x64 images behind a stride of 2. This is NOT the size of a
            kernel. The default initializer and constraint derive the range of the boxes from it,
            and `scale` starts at it. Inputs of other sizes work too. `None` uses the spatial size
            of the input that the layer is built with. If that size is unknown, `max_size` is
            required.
        activation: Activation function. If `None`, no activation is applied.
        use_bias: bool, if `True`, bias will be added to the output.
        boxes_initializer: Initializer for the boxes, in pixels.
        kernel_initializer: Initializer for the mixing weights.
        bias_initializer: Initializer for the bias vector.
        boxes_regularizer: Optional regularizer for the boxes, in pixels.
        kernel_regularizer: Optional regularizer for the mixing weights.
        bias_regularizer: Optional regularizer for the bias vector.
        activity_regularizer: Optional regularizer function for the output.
        boxes_constraint: Optional projection function to be applied to the boxes, in pixels,
            after being updated by an `Optimizer`.
        kernel_constraint: Optional projection function to be applied to the mixing weights
            after being updated by an `Optimizer`.
        bias_constraint: Optional projection function to be applied to the bias after being
            updated by an `Optimizer`.
        implementation: `"native"` runs the compiled operator, or the portable path if the backend
            or device has none. `"portable"` always runs the portable path: Keras operations that
            compute the same, more slowly. You do not need to set it for an export:
            `tf_boxconv.export` chooses the portable path for every format except
            `"saved_model"`.

    Attributes:
        boxes: The boxes in pixels, a tensor with shape `(channels, depth_multiplier, 4)`. Use
            `set_boxes` to change them.
        kernel: The mixing weights, a variable with shape
            `(channels * depth_multiplier, filters)`.
        scale: A pair of floats `(scale_y, scale_x)`. The trainable weight holds the boxes in pixels
            divided by the scale. A non-trainable weight of four numbers holds the scale, the number
            of channels and `depth_multiplier`.

    Input shape:
        A 4D tensor with shape `(batch, height, width, channels)` if
        `data_format="channels_last"`, or `(batch, channels, height, width)` if
        `data_format="channels_first"`.

    Output shape:
        A 4D tensor with shape `(batch, new_height, new_width, filters)` if
        `data_format="channels_last"`, or `(batch, filters, new_height, new_width)` if
        `data_format="channels_first"`, where `new_height = ceil(height / stride_y)` and
        `new_width = ceil(width / stride_x)`.

    Raises:
        ValueError: For an invalid argument, or if `max_size` is missing and the spatial size of
            the input is unknown.
        TypeError: If there are positional arguments after `filters`.

    Example:
    >>> x = np.random.rand(4, 48, 48, 16)
    >>> y = tf_boxconv.layers.BoxConv2D(32, activation="relu")(x)
    >>> tuple(y.shape)
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
        """Creates the weights of the layer."""
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
        """Averages `inputs` over the boxes and mixes the responses."""
        # The dtype policy may have changed since the layer was built.
        kernel = ops.cast(self.kernel, self.compute_dtype)
        bias = None if self.bias is None else ops.cast(self.bias, self.compute_dtype)
        outputs = separable_box_conv2d(**self._operator_arguments(inputs), kernel=kernel, bias=bias)
        return self._activate(outputs)

    def compute_output_shape(self, input_shape):
        """Returns the shape of the output; unknown dimensions are `None`."""
        self.check_input_shape(input_shape)
        return strided_shape(input_shape, self.strides, self.filters, self.data_format)

    def get_config(self):
        """Returns the config of the layer."""
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
