"""PyTorch's derivatives and `vmap` of the native operators equal those of the portable path.

The portable path runs in float64.
"""

import functools

import numpy as np
import pytest

import tf_boxconv
from tests import tolerances
from tests.backend import BACKEND, box_conv2d_portable
from tests.boxes import boxes_around_pixel
from tests.images import images

if BACKEND != "torch":
    pytest.skip(f"needs PyTorch; Keras's backend is {BACKEND}", allow_module_level=True)

import torch
from torch.autograd import forward_ad
from torch.func import grad, hessian, jacfwd, jacrev, jvp, linearize, vmap

from tests.seeds import seed_weights

# Cloned, because PyTorch 2.13 fails to compile forward mode on views of one tensor.
X, X_TANGENT = (t.clone() for t in torch.tensor(images((2, 2, 4, 5, 2), dtype=np.float64)))
BOXES = torch.tensor(boxes_around_pixel(2, 2, reach=2.6))
BOXES_TANGENT = torch.tensor(images(BOXES.shape, seed=1, dtype=np.float64))
XS, BOXES_3 = torch.stack([X, X_TANGENT, X * X]), torch.stack([BOXES, 1.2 * BOXES, 0.9 * BOXES])
OPTIONS = {
    "plain": {"strides": (1, 1), "normalization": "area", "data_format": "channels_last"},
    "strided": {"strides": (2, 1), "normalization": "valid", "data_format": "channels_last"},
    "channels first": {"strides": (1, 3), "normalization": None, "data_format": "channels_first"},
}


def box_conv_function(operator, options):
    def function(x, boxes):
        x = x.movedim(-1, 1) if options["data_format"] == "channels_first" else x
        return torch.sin(operator(x, boxes, **options)).sum(-1)

    return function


def integral_image_function(operator):
    # `boxes` only gives the function the same arguments as those of `box_conv_function`.
    return lambda x, boxes: torch.sin(operator(x)) * boxes.sum()


# Functions of the native operator and of the portable path, by name.
PAIRS = {
    name: tuple(
        box_conv_function(operator, options)
        for operator in (tf_boxconv.box_conv2d, box_conv2d_portable)
    )
    for name, options in OPTIONS.items()
} | {
    "integral image": (
        integral_image_function(tf_boxconv.integral_image),
        integral_image_function(
            lambda x: torch.nn.functional.pad(x.cumsum(1).cumsum(2), (0, 0, 1, 0, 1, 0))
        ),
    )
}


def scalar(function):
    """Returns a function with a single number as its output."""
    return lambda x, boxes: (function(x, boxes) ** 2).sum()


def tangents_by_forward_ad(function):
    """Returns the tangents of the sequence `function(X, BOXES)`, by `torch.autograd.forward_ad`."""
    with forward_ad.dual_level():
        x = forward_ad.make_dual(X.clone().requires_grad_(), X_TANGENT)
        boxes = forward_ad.make_dual(BOXES.clone().requires_grad_(), BOXES_TANGENT)
        return [forward_ad.unpack_dual(t).tangent.detach() for t in function(x, boxes)]


def gradients_of(function):
    return lambda x, boxes: torch.autograd.grad(
        scalar(function)(x, boxes), (x, boxes), create_graph=True
    )


both = (0, 1)  # x and boxes
MODES = {
    "jvp": lambda f: jvp(f, (X, BOXES), (X_TANGENT, BOXES_TANGENT)),
    "jvp of x": lambda f: jvp(lambda x: f(x, BOXES), (X,), (X_TANGENT,)),
    "jvp of boxes": lambda f: jvp(lambda b: f(X, b), (BOXES,), (BOXES_TANGENT,)),
    "grad": lambda f: grad(scalar(f), both)(X, BOXES),
    "jacrev": lambda f: jacrev(f, both)(X, BOXES),
    "jacfwd": lambda f: jacfwd(f, both)(X, BOXES),
    "forward over reverse": lambda f: hessian(scalar(f), both)(X, BOXES),
    "reverse over reverse": lambda f: jacrev(jacrev(scalar(f), both), both)(X, BOXES),
    "reverse over forward": lambda f: jacrev(jacfwd(scalar(f), both), both)(X, BOXES),
    "forward over forward": lambda f: jacfwd(jacfwd(scalar(f), both), both)(X, BOXES),
    "linearize": lambda f: linearize(f, X, BOXES)[1](X_TANGENT, BOXES_TANGENT),
    "vmap of x": lambda f: vmap(f, (0, None))(XS, BOXES),
    "vmap of boxes": lambda f: vmap(f, (None, 0))(X, BOXES_3),
    "vmap of both": lambda f: vmap(f, (1, 2), 1)(XS.movedim(0, 1), BOXES_3.movedim(0, 2)),
    "vmap of grad": lambda f: vmap(grad(scalar(f), both), (0, None))(XS, BOXES),
    "vmap of vmap": lambda f: vmap(vmap(f, (None, 0)), (0, None))(XS, BOXES_3),
    "vmap of hessian": lambda f: vmap(hessian(scalar(f), 1), (0, None))(XS, BOXES),
    "forward_ad": lambda f: tangents_by_forward_ad(lambda x, boxes: [f(x, boxes)]),
    "forward_ad over reverse": lambda f: tangents_by_forward_ad(gradients_of(f)),
}
COMPILED = ("jvp", "grad", "jacfwd", "forward over reverse", "vmap of grad", "forward_ad")


def assert_equal(actual, expected):
    torch.testing.assert_close(actual, expected, **tolerances.DERIVATIVES["float64"])


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.filterwarnings("ignore")
def test_native_equals_portable_in_each_mode(mode, pair):
    native, portable = PAIRS[pair]
    assert_equal(MODES[mode](native), MODES[mode](portable))


@pytest.mark.parametrize("pair", ["strided", "integral image"])
@pytest.mark.parametrize("mode", COMPILED)
@pytest.mark.parametrize("order", ["transform(compile(f))", "compile(transform(f))"])
@pytest.mark.timeout(900)
def test_compiled_native_equals_portable_in_each_mode(mode, pair, order):
    if (order, mode) == ("transform(compile(f))", "forward_ad"):
        pytest.skip("PyTorch cannot compile functions of dual tensors that require gradients")
    native, portable = PAIRS[pair]
    torch._dynamo.reset()
    compile_ = functools.partial(torch.compile, backend="aot_eager")
    if order == "compile(transform(f))":
        actual = compile_(lambda: MODES[mode](native), fullgraph=True)()
    else:  # PyTorch cannot compile this with `fullgraph=True`.
        actual = MODES[mode](compile_(native))
    assert_equal(actual, MODES[mode](portable))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_forward_mode_of_narrow_types(dtype):
    x, x_tangent = (t.to(getattr(torch, dtype)) for t in (X, X_TANGENT))
    boxes, boxes_tangent = BOXES.float(), BOXES_TANGENT.float()
    out, tangent = jvp(tf_boxconv.box_conv2d, (x, boxes), (x_tangent, boxes_tangent))
    assert out.dtype == tangent.dtype == x.dtype
    primals = x.double(), boxes.double()
    _, expected = jvp(box_conv2d_portable, primals, (x_tangent.double(), boxes_tangent.double()))
    torch.testing.assert_close(tangent.double(), expected, **tolerances.DERIVATIVES[dtype])


@pytest.mark.parametrize("shape", [(0, 4, 5, 2), (2, 4, 5, 0), (2, 0, 5, 2)])
def test_vmap_of_empty_arrays(shape):
    xs, boxes = torch.zeros(3, *shape), torch.zeros(shape[-1], 2, 4)
    out = vmap(tf_boxconv.box_conv2d, (0, None))(xs, boxes)
    assert out.shape == (3, *shape[:-1], 2 * shape[-1])
    boxes_3 = torch.zeros(3, *boxes.shape)
    assert vmap(tf_boxconv.box_conv2d)(xs, boxes_3).shape == out.shape


@pytest.mark.parametrize("mode", ["jvp", "hessian"])
def test_derivatives_of_a_layer(mode):
    x = torch.tensor(images((1, 5, 6, 2)), dtype=torch.float64)
    results = []
    for implementation in ("native", "portable"):
        seed_weights(0)
        layer = tf_boxconv.layers.DepthwiseBoxConv2D(
            2, dtype="float64", implementation=implementation
        )
        layer(x)
        take = {
            "jvp": lambda f: jvp(f, (x,), (torch.cos(x),)),
            "hessian": lambda f: hessian(lambda x: (f(x) ** 3).sum())(x),
        }[mode]
        results.append(take(layer))
    assert_equal(*results)


def test_checkpoint_in_a_compiled_function():
    """The backward function reads each saved tensor once, as checkpointing requires."""

    def gradient(function):
        x = X.clone().requires_grad_()
        out = torch.utils.checkpoint.checkpoint(function, x, BOXES, use_reentrant=False)
        return torch.autograd.grad(out.sum(), x)

    native, portable = PAIRS["plain"]
    torch._dynamo.reset()
    actual = torch.compile(lambda: gradient(native), backend="aot_eager")()
    assert_equal(actual, gradient(portable))
