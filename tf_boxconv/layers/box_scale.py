"""The scale of a box weight: pixels per stored unit, a non-trainable weight beside the boxes.

A box weight holds `pixels / scale`. Because the scale is a weight too, whatever copies the weights
of a layer copies it along, and the boxes keep their size in pixels.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from tf_boxconv.ops.arguments import dtype_name


class BoxScale:
    """The scale of one layer's boxes.

    Its weight has four numbers, `(scale_y, scale_x, channels, depth_multiplier)`. The last two
    name the shape of the boxes that the scale belongs to. Some loaders skip each weight whose
    shape does not match, on its own (`skip_mismatch` with legacy `.h5` files). They would take the
    scale and leave the boxes; the layer then ignores that scale and keeps its own.

    Attributes:
        weight: The `keras.Variable`.

    Args:
        layer: The layer that owns the boxes; the weight is added to it.
        scale: Pixels per unit, `(scale_y, scale_x)`, before any other weights are loaded.
        shape: The shape of the boxes, `(channels, depth_multiplier, 4)`.
        dtype: The dtype of the boxes.
    """

    def __init__(self, layer, scale: tuple[float, float], shape: tuple[int, ...], dtype: str):
        self._own = scale
        self._shape = shape[:2]
        add = _add_jax_weight if keras.config.backend() == "jax" else type(layer).add_weight
        self.weight = add(
            layer,
            name="scale",
            shape=(4,),
            initializer=keras.initializers.Constant(self.stored(scale)),
            dtype=dtype,
            trainable=False,
            autocast=False,
        )

    def stored(self, scale) -> np.ndarray:
        """The value of the weight that stands for `(scale_y, scale_x)`."""
        return np.array([*scale, *self._shape], np.float64)

    def current(self) -> tuple[float, float]:
        """The scale as two floats. Not within compiled functions."""
        return tuple(float(length) for length in ops.convert_to_numpy(self._scale(self.weight)))

    def to_pixels(self, stored):
        """Converts stored boxes, a tensor `[..., 4]`, to pixels."""
        # By the tensors' own operators: several of Keras's, `ops.maximum` and `ops.matmul` among
        # them, give float32 for float64 on backends other than TensorFlow (Keras 3.15).
        return stored * self._edges(self.weight, stored)

    def to_stored(self, pixels):
        """Converts boxes in pixels, a tensor `[..., 4]`, to stored units."""
        return pixels / self._edges(self.weight, pixels)

    def initial(self, pixels):
        """Like `to_stored`, with the scale that the layer was built with."""
        return pixels / ops.convert_to_tensor(self._own * 2, dtype_name(pixels))

    def project(self, constraint, stored):
        """Applies a constraint on pixels to stored boxes, in an optimizer's step or outside."""
        weight = self.weight
        if isinstance(weight, _JaxScaleWeight):
            weight = weight.for_optimizer()
        edges = self._edges(weight, stored)
        pixels = stored * edges
        projected = constraint(pixels)
        # Boxes that the constraint accepts are not rounded on the way to pixels and back.
        return ops.where(projected == pixels, stored, projected / edges)

    def _edges(self, weight, like):
        """The scale of each of a box's four edges."""
        scale = self._scale(ops.cast(weight, dtype_name(like)))
        return ops.concatenate([scale, scale])

    def _scale(self, weight):
        weight = ops.convert_to_tensor(weight)
        # Not of a NumPy array, into which `torch.compile` cannot follow Keras.
        own = ops.convert_to_tensor((*self._own, *self._shape), dtype_name(weight))
        # With an axis: PyTorch's exporters cannot convert `all` without one.
        matches = ops.all(weight[2:] == own[2:], axis=0, keepdims=True)
        return ops.where(matches, weight[:2], own[:2])


def _add_jax_weight(layer, **kwargs):
    with keras.name_scope(layer.name, caller=layer):
        # The layer tracks it when it becomes its attribute.
        return _JaxScaleWeight(**kwargs)


class _JaxScaleWeight(keras.Variable):
    """A scale that constraints can read within a compiled training step of JAX.

    The step is given the weights that an optimizer trains and no others: Keras even takes the
    values of the others away while it runs. There the scale has to be a constant. Compiled steps
    are discarded if it changes later, so that none goes on with an old one.
    """

    _constant = None
    _compiled_in = False

    def for_optimizer(self):
        """The last value that was assigned outside compiled functions, a NumPy array."""
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
