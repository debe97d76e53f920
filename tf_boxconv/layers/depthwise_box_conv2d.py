"""Depthwise box convolution: every channel under its own boxes, and nothing else."""

from __future__ import annotations

import keras

from tf_boxconv.layers.base_box_conv import BaseBoxConv2D
from tf_boxconv.layers.conv2d_arguments import refuse_positional_arguments


@keras.saving.register_keras_serializable(package="tf_boxconv")
class DepthwiseBoxConv2D(BaseBoxConv2D):
    """2D depthwise box convolution layer.

    Each input channel is averaged over `depth_multiplier` boxes. A box is a rectangle with
    learnable, fractional edges `(y_min, x_min, y_max, x_max)`, in pixels relative to the centre
    of the output pixel. It may have any size and any position: the cost and the four parameters
    of a filter stay the same. Output channel `c * depth_multiplier + m` is input channel `c` under
    its box `m`. Channels are not mixed; see `BoxConv2D` for a layer that mixes them.

    Outside the image the input counts as zero.

    Args:
        depth_multiplier: int, the number of boxes, and so of output channels, for each input
            channel. Output channels in all: `channels * depth_multiplier`. All other arguments
            are keyword-only. (The first argument of `DepthwiseConv2D` is `kernel_size`; a box
            learns its size and has none.)
        strides: int or tuple/list of 2 integers `(stride_y, stride_x)`. The output has the
            response at every `strides`-th pixel, starting with the first one: it has
            `ceil(size / stride)` of them.
        data_format: string, either `"channels_last"` for inputs with shape
            `(batch, height, width, channels)` or `"channels_first"` for
            `(batch, channels, height, width)`. Both run on the CPU. It defaults to the
            `image_data_format` value found in your Keras config file.
        normalization: what the sum over a box is divided by. `"area"`: the area of the whole
            box. `"valid"`: the area of the part of the box that lies inside the image (the
            response is 0 where there is none). `None`: nothing, the response is the sum.
        max_size: int or tuple/list of 2 integers `(height, width)`: the size in pixels of the
            planes that the boxes are meant for, NOT the size of a kernel. The default
            initializer keeps boxes within `max_size / 2` of the output pixel, the default
            constraint keeps their edges within `max_size`, and `scale` follows from it. `None`
            takes the spatial size of the input that the layer is built with; where that is
            unknown, `max_size` is required. Once built, the layer takes planes of any size.
        activation: Activation function. If `None`, no activation is applied.
        use_bias: bool, if `True`, bias will be added to the output. The default is `False`: a
            filter is then a box and nothing more, four parameters, and in most networks a
            normalization or a mixing layer that has a bias of its own follows.
        boxes_initializer: Initializer for the boxes, in pixels. The default `"random_boxes"` is
            `tf_boxconv.initializers.RandomBoxes`, which spreads sizes and positions.
        bias_initializer: Initializer for the bias vector.
        boxes_regularizer: Optional regularizer for the boxes; it sees them in pixels. Mind
            that a penalty on the edges themselves, like `"l2"`, shrinks boxes to nothing. The
            same goes for the weight decay of an optimizer: exclude the boxes from it with
            `optimizer.exclude_from_weight_decay(var_names=["boxes"])`.
        bias_regularizer: Optional regularizer for the bias vector.
        activity_regularizer: Optional regularizer function for the output.
        boxes_constraint: Optional projection of the boxes, in pixels, that is applied after each
            step of an optimizer. The default `"box_constraint"` is
            `tf_boxconv.constraints.BoxConstraint`, which keeps every box at least one pixel wide
            and high, and near the image. Moving averages of the weights (`use_ema`) are taken of
            boxes that it has been applied to.
        bias_constraint: Optional projection function to be applied to the bias after being
            updated by an `Optimizer`.
        implementation: `"native"` runs the compiled operator. `"portable"` computes the same with
            the framework's own operations, more slowly. Exports do not need it: they choose by
            themselves.

    Attributes:
        boxes: The boxes in pixels, a tensor `(channels, depth_multiplier, 4)`. Set them with
            `set_boxes`.
        scale: Pixels per unit of the stored weight, `(scale_y, scale_x)`. The weight that an
            optimizer sees is `boxes / scale`. The scale is a weight as well, non-trainable, and
            comes along with the boxes however they are copied: weight files, checkpoints,
            `set_weights`. Boxes therefore keep their size in pixels between layers that were
            built on planes of different sizes. `boxes_constraint` keeps the `max_size` of its own
            layer: boxes that come from larger planes are brought within it by the first step of
            an optimizer, not before. Pass the larger `max_size` to keep them.

    Every filter has four trainable parameters. The scale adds four non-trainable numbers to a
    layer, which `count_params` counts.

    Input shape:
        A 4D tensor `(batch, height, width, channels)` if `data_format="channels_last"`, else
        `(batch, channels, height, width)`; float16, bfloat16, float32 or float64.

    Output shape:
        A 4D tensor with `channels * depth_multiplier` channels and `ceil(size / stride)` pixels
        along each spatial axis.

    The boxes and their arithmetic are float32 under every dtype policy but float64, where they
    are float64.

    Example:
    >>> x = np.random.rand(4, 48, 48, 16)
    >>> layer = tf_boxconv.layers.DepthwiseBoxConv2D(depth_multiplier=2)
    >>> y = layer(x)
    >>> print(y.shape)
    (4, 48, 48, 32)
    >>> print(layer.boxes.shape)
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
        """Creates the boxes and the bias."""
        channels = self._build_boxes(input_shape)
        self._build_bias(channels * self.depth_multiplier)

    def call(self, inputs):
        """Applies the boxes to `inputs`."""
        return self._add_bias_and_activate(self._convolve_boxes(inputs))

    def compute_output_shape(self, input_shape):
        """Returns the shape of the output; dimensions may be `None`."""
        channels, *_ = self.check_input_shape(input_shape)
        channels = None if channels is None else channels * self.depth_multiplier
        return self._output_shape(input_shape, channels)
