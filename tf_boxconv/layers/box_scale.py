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
    layer's boxes, the layer ignores the weight and uses its initial scale. This happens with
    loaders that skip weights of a different shape one by one (`skip_mismatch` with legacy `.h5`
    files): they load the scale without its boxes.

    Attributes:
        weight: The `keras.Variable`.

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

    def current(self) -> tuple[float, float]:
        """Returns the scale as two floats. Cannot be called inside compiled functions."""
        return tuple(float(length) for length in ops.convert_to_numpy(self._scale(self.weight)))

    def to_pixels(self, stored):
        """Converts stored boxes, a tensor `[..., 4]`, to pixels."""
        # Not with functions of `keras.ops`: several of them, such as `ops.maximum`, give float32
        # for float64 on backends other than TensorFlow (Keras 3.15).
        return stored * self._edges(self.weight, stored)

    def to_stored(self, pixels):
        """Converts boxes in pixels, a tensor `[..., 4]`, to stored units."""
        return pixels / self._edges(self.weight, pixels)

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
        edges = self._edges(weight, stored)
        pixels = stored * edges
        projected = constraint(pixels)
        # Boxes that the constraint leaves unchanged keep their bits: converting to pixels and back
        # would round them.
        return ops.where(projected == pixels, stored, projected / edges)

    def _edges(self, weight, like):
        """Returns `(scale_y, scale_x, scale_y, scale_x)`, one factor for each edge of a box."""
        scale = self._scale(ops.cast(weight, dtype_name(like)))
        return ops.concatenate([scale, scale])

    def _scale(self, weight):
        weight = ops.convert_to_tensor(weight)
        # From a tuple: `torch.compile` cannot trace `convert_to_tensor` of a NumPy array.
        initial = ops.convert_to_tensor((*self._initial, *self._shape), dtype_name(weight))
        # With an axis, because PyTorch's exporters cannot convert `all` without one.
        matches = ops.all(weight[2:] == initial[2:], axis=0, keepdims=True)
        return ops.where(matches, weight[:2], initial[:2])


def _add_jax_weight(layer, **kwargs):
    with keras.name_scope(layer.name, caller=layer):
        # The layer tracks the weight when it is assigned to an attribute.
        return _JaxScaleWeight(**kwargs)


class _JaxScaleWeight(keras.Variable):
    """A scale that constraints can read in a compiled training step on JAX.

    In such a step only the weights that the optimizer trains have values while it applies
    constraints. So the scale is compiled into the step as a constant. If it changes later, this
    class clears JAX's cache of compiled functions, and the step is compiled again.
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
