"""The scale of a layer's boxes, in pixels per stored unit: `stored = pixels / scale`.

The scale is a non-trainable weight. Anything that copies the weights of a layer copies the scale
too, so the boxes keep their size in pixels.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from tf_boxconv.ops.arguments import dtype_name


class BoxScale:
    """The scale of one layer's boxes.

    The weight holds four numbers, `(scale_y, scale_x, channels, depth_multiplier)`. The last two
    are the shape of the boxes that the scale belongs to. If they differ from the shape of the
    layer's boxes, the layer ignores the weight and uses its initial scale.

    Some loaders cause this: they skip each weight whose shape differs (`skip_mismatch` with legacy
    `.h5` files). The shape of the scale never differs, so they load the scale but skip its boxes.

    Attributes:
        weight: The `keras.Variable` with the four numbers.

    Args:
        layer: The layer that owns the boxes, to which the weight is added.
        scale: The initial scale, `(scale_y, scale_x)`.
        shape: The shape of the boxes, `(channels, depth_multiplier, 4)`.
        dtype: The dtype of the boxes.
    """

    def __init__(self, layer, scale: tuple[float, float], shape: tuple[int, ...], dtype: str):
        self._initial = scale
        self._shape = shape[:2]
        add = _add_jax_weight if keras.config.backend() == "jax" else type(layer).add_weight
        self.weight = add(
            layer,
            name="scale",
            shape=(4,),
            initializer=keras.initializers.Constant(self.weight_value(scale)),
            dtype=dtype,
            trainable=False,
            autocast=False,
        )

    def weight_value(self, scale) -> np.ndarray:
        """Returns the value of the weight for a scale `(scale_y, scale_x)`."""
        return np.array([*scale, *self._shape], np.float64)

    def as_floats(self) -> tuple[float, float]:
        """Returns the scale as two floats. Cannot be called inside compiled functions."""
        return tuple(
            float(length) for length in ops.convert_to_numpy(self._valid_scale(self.weight))
        )

    def to_pixels(self, stored):
        """Converts stored boxes, a tensor `[..., 4]`, to pixels."""
        # A plain `*`, and only those functions of `keras.ops` that keep float64: some, such as
        # `ops.maximum` on PyTorch, give float32 for float64 (Keras 3.15).
        return stored * self._scale_per_edge(self.weight, stored)

    def to_stored(self, pixels):
        """Converts boxes in pixels, a tensor `[..., 4]`, to stored units."""
        return pixels / self._scale_per_edge(self.weight, pixels)

    def to_initial_stored(self, pixels):
        """Converts boxes in pixels, a tensor `[..., 4]`, to stored units of the initial scale."""
        return pixels / ops.convert_to_tensor(self._initial * 2, dtype_name(pixels))

    def project(self, constraint, stored):
        """Applies a constraint, which takes boxes in pixels, to stored boxes.

        May be called inside the compiled training step of an optimizer.
        """
        weight = self.weight
        if isinstance(weight, _JaxScaleWeight):
            weight = weight.for_optimizer()
        scale = self._scale_per_edge(weight, stored)
        pixels = stored * scale
        projected = constraint(pixels)
        # Boxes that the constraint leaves unchanged keep their bits: converting to pixels and back
        # would round them.
        return ops.where(projected == pixels, stored, projected / scale)

    def _scale_per_edge(self, weight, boxes):
        """Returns `(scale_y, scale_x, scale_y, scale_x)` with the dtype of `boxes`."""
        scale = self._valid_scale(ops.cast(weight, dtype_name(boxes)))
        return ops.concatenate([scale, scale])

    def _valid_scale(self, weight):
        """Returns the scale in `weight`, or the initial scale if it belongs to other boxes."""
        weight = ops.convert_to_tensor(weight)
        # A tuple, because `torch.compile` cannot trace `convert_to_tensor` of a NumPy array.
        initial = ops.convert_to_tensor((*self._initial, *self._shape), dtype_name(weight))
        # `axis=0`, because PyTorch's exporters cannot convert `all` without an axis.
        matches = ops.all(weight[2:] == initial[2:], axis=0, keepdims=True)
        return ops.where(matches, weight[:2], initial[:2])


def _add_jax_weight(layer, **kwargs):
    with keras.name_scope(layer.name, caller=layer):
        # The layer does not track the weight yet. It starts when the weight is assigned to one of
        # the layer's attributes.
        return _JaxScaleWeight(**kwargs)


class _JaxScaleWeight(keras.Variable):
    """A scale that constraints can read in a compiled training step on JAX.

    While the optimizer applies constraints in such a step, only the weights that it trains are sure
    to have values: `fit` takes the values of all others away. So the scale is compiled into the
    step as a constant. If it changes later, this class clears JAX's cache of compiled functions,
    and the step is compiled again.
    """

    _constant = None
    _compiled_in = False

    def for_optimizer(self):
        """Returns the last value assigned outside compiled functions, as a NumPy array."""
        self._compiled_in = True
        return self._constant

    def _direct_assign(self, value):
        import jax

        super()._direct_assign(value)
        if isinstance(value, jax.core.Tracer):
            return
        constant = np.array(value)
        if self._compiled_in and not np.array_equal(constant, self._constant):
            jax.clear_caches()
            self._compiled_in = False
        self._constant = constant
