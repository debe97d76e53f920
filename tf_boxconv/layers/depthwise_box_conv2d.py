"""`DepthwiseBoxConv2D`: averages each channel over boxes of its own, without mixing channels."""

from __future__ import annotations

import keras

from tf_boxconv.layers.base_box_conv import BaseBoxConv2D
from tf_boxconv.layers.conv2d_arguments import refuse_positional_arguments
from tf_boxconv.ops.arguments import strided_shape
from tf_boxconv.ops.box_conv import box_conv2d
from tf_boxconv.ops.mixing import add_bias


@keras.saving.register_keras_serializable(package="tf_boxconv")
class DepthwiseBoxConv2D(BaseBoxConv2D):
    """2D depthwise box convolution layer.

    The layer averages each input channel over `depth_multiplier` boxes. A box is a rectangle with
    learnable edges `(y_min, x_min, y_max, x_max)`, in pixels relative to the centre of the output
    pixel. The edges may be fractions of a pixel. A box may have any size and position. It has four
    parameters, and its cost does not depend on its size. The input is zero outside the image, as
    with `padding="same"`.

    Output channel `c * depth_multiplier + m` is input channel `c` averaged over its box `m`. Unlike
    `BoxConv2D`, the layer does not mix channels.

    The layer stores and computes boxes in float32 under every dtype policy except float64, where
    they are float64.

    Args:
        depth_multiplier: int, the number of boxes for each input channel. The total number of
            output channels is `channels * depth_multiplier`. All other arguments are keyword-only.
            (The first argument of `keras.layers.DepthwiseConv2D` is `kernel_size`, which this
            layer does not have, because the sizes of boxes are learned.)
        strides: int or tuple/list of 2 integers `(stride_y, stride_x)`. The output contains every
            `strides`-th pixel, starting with the first one.
        data_format: string, either `"channels_last"` for inputs with shape
            `(batch, height, width, channels)` or `"channels_first"` for inputs with shape
            `(batch, channels, height, width)`. Both run on the CPU and on GPUs. It defaults to the
            `image_data_format` value found in your Keras config file.
        normalization: The divisor of the sum over a box. `"area"` divides by the area of the box.
            `"valid"` divides by the area of the part of the box inside the image; the response is
            0 if that part is empty. `None` does not divide: the response is the sum.
        max_size: int or tuple/list of 2 integers, the typical `(height, width)` of the layer's
            input, in pixels: 32 for 64x64 images behind a stride of 2. This is NOT the size of a
            kernel. The default initializer places boxes within `max_size / 2` of the output pixel,
            the default constraint keeps their edges within `max_size` of it, and `scale` starts at
            `max_size`. Inputs of other sizes work too. `None` uses the spatial size of the input
            that the layer is built with. If that size is unknown, `max_size` is required.
        activation: Activation function. If `None`, no activation is applied.
        use_bias: bool, if `True`, bias will be added to the output. The default is `False`,
            because most networks continue with a layer that has a bias of its own, such as a
            normalization or a 1x1 convolution.
        boxes_initializer: Initializer for the boxes, in pixels. The default `"random_boxes"` is
            `tf_boxconv.initializers.RandomBoxes`.
        bias_initializer: Initializer for the bias vector.
        boxes_regularizer: Optional regularizer for the boxes, in pixels. Penalties on the edges
            themselves, such as `"l2"`, shrink boxes until the constraint stops them. So does
            the weight decay of an optimizer: exclude the boxes from it with
            `optimizer.exclude_from_weight_decay(var_names=["boxes"])`.
        bias_regularizer: Optional regularizer for the bias vector.
        activity_regularizer: Optional regularizer function for the output.
        boxes_constraint: Optional projection function to be applied to the boxes, in pixels,
            after being updated by an `Optimizer`. The default `"box_constraint"` is
            `tf_boxconv.constraints.BoxConstraint`, which keeps every box at least one pixel wide
            and high, and near the image. An optimizer with `use_ema=True` averages the boxes
            after this projection.
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
        scale: A pair of floats `(scale_y, scale_x)`. The trainable weight holds the boxes in pixels
            divided by the scale. A non-trainable weight of four numbers holds the scale, the number
            of channels and `depth_multiplier`.

    The scale is a non-trainable weight, so weight files, checkpoints and `set_weights` copy it
    together with the boxes. The boxes therefore keep their size in pixels in a layer that was built
    with another `max_size`. If they exceed the `max_size` of that layer, its default
    `boxes_constraint` shrinks them after the first update by an optimizer. Pass the larger
    `max_size` to keep them. `count_params` includes the four numbers of the scale weight.

    Input shape:
        A 4D tensor with shape `(batch, height, width, channels)` if
        `data_format="channels_last"`, or `(batch, channels, height, width)` if
        `data_format="channels_first"`.

    Output shape:
        A 4D tensor with shape `(batch, new_height, new_width, channels * depth_multiplier)` if
        `data_format="channels_last"`, or
        `(batch, channels * depth_multiplier, new_height, new_width)` if
        `data_format="channels_first"`, where `new_height = ceil(height / stride_y)` and
        `new_width = ceil(width / stride_x)`.

    Raises:
        ValueError: For an invalid argument, or if `max_size` is missing and the spatial size of
            the input is unknown.
        TypeError: If there are positional arguments after `depth_multiplier`.

    Example:
    >>> x = np.random.rand(4, 48, 48, 16)
    >>> layer = tf_boxconv.layers.DepthwiseBoxConv2D(depth_multiplier=2)
    >>> y = layer(x)
    >>> tuple(y.shape)
    (4, 48, 48, 32)
    >>> tuple(layer.boxes.shape)
    (16, 2, 4)
    """

    def __init__(
        self,
        depth_multiplier=1,
        *args,
        strides=1,
        data_format=None,
        normalization="area",
        max_size=None,
        activation=None,
        use_bias=False,
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
        refuse_positional_arguments(type(self), "depth_multiplier", args)
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

    def build(self, input_shape):
        """Creates the weights of the layer."""
        channels = self._build_boxes(input_shape)
        self._build_bias(channels * self.depth_multiplier)

    def call(self, inputs):
        """Averages `inputs` over the boxes."""
        outputs = box_conv2d(**self._operator_arguments(inputs))
        if self.bias is not None:
            outputs = add_bias(outputs, self.bias, self.data_format)
        return self._activate(outputs)

    def compute_output_shape(self, input_shape):
        """Returns the shape of the output; unknown dimensions are `None`."""
        channels, *_ = self.check_input_shape(input_shape)
        channels = None if channels is None else channels * self.depth_multiplier
        return strided_shape(input_shape, self.strides, channels, self.data_format)
