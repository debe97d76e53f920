"""JAX's forward mode raises an error that says what to do instead."""

import numpy as np
import pytest

from tests.backend import BACKEND
from tests.images import images
from tf_boxconv import box_conv2d, integral_image

if BACKEND != "jax":
    pytest.skip(f"needs JAX; Keras's backend is {BACKEND}", allow_module_level=True)

import jax

from tf_boxconv.backends.jax import separable_box_conv2d

X = images((2, 4, 5, 3))
BOXES = np.float32([[[-1.2, -0.7, 1.1, 1.6]]] * 3)
KERNEL, BIAS = images((3, 2)), images((2,))


def separable(x):
    return separable_box_conv2d(x, BOXES, KERNEL, BIAS, (1, 1), "area", "channels_last")


@pytest.mark.parametrize(
    ("operator", "advice"),
    [
        (lambda x: box_conv2d(x, BOXES), 'implementation="portable"'),
        (separable, 'implementation="portable"'),
        (integral_image, "linear, to the tangent"),
    ],
)
@pytest.mark.parametrize("mode", ["jvp", "jacfwd", "hessian", "vmap"])
def test_the_error_about_forward_mode_says_what_to_do(operator, advice, mode):
    modes = {
        "jvp": lambda: jax.jvp(operator, (X,), (X,)),
        "jacfwd": lambda: jax.jacfwd(operator)(X),
        "hessian": lambda: jax.hessian(lambda x: operator(x).sum())(X),
        "vmap": lambda: jax.vmap(lambda x: jax.jvp(operator, (x,), (x,)))(X[None]),
    }
    with pytest.raises(TypeError, match=f"no forward-mode derivative.*{advice}"):
        modes[mode]()
