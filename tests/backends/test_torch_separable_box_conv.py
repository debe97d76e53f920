"""The separable box convolution in PyTorch: registration, derivatives, compilation, memory."""

import functools

import numpy as np
import pytest

from tests import tolerances
from tests.backend import BACKEND
from tests.boxes import boxes_anywhere, boxes_around_pixel
from tests.images import images
from tests.ops.problems import DTYPES

if BACKEND != "torch":
    pytest.skip(f"needs PyTorch; Keras's backend is {BACKEND}", allow_module_level=True)

import torch
from torch.autograd import forward_ad
from torch.func import grad, hessian, jacfwd, jacrev, jvp, linearize, vmap

from tests.backends.test_torch_box_conv import (
    CallRecorder,
    assert_same_bits,
    in_other_memory_order,
    threads,  # noqa: F401 (a fixture)
)
from tf_boxconv.backends.torch import box_conv2d, separable_box_conv2d
from tf_boxconv.ops.box_conv_portable import box_conv2d_portable

OPTIONS = [
    ((1, 1), "area", "channels_last"),
    ((2, 1), "valid", "channels_first"),
    ((1, 3), None, "channels_last"),
]
each_option_set = pytest.mark.parametrize("options", OPTIONS, ids=str)
operators = torch.ops.tf_boxconv
ALL = (0, 1, 2, 3)  # x, boxes, kernel and bias


def random_tensor(shape, seed):
    return torch.tensor(images(shape, seed=seed, dtype=np.float64))


def arguments_of(options, dtype=torch.float64):
    """Returns tensors that require gradients."""
    x = random_tensor((2, 4, 5, 2), 0)
    x = x if options[-1] == "channels_last" else x.movedim(-1, 1).contiguous()
    boxes = torch.tensor(boxes_around_pixel(2, 2, reach=2.6))
    kernel, bias = random_tensor((4, 3), 2), random_tensor((3,), 3)
    arguments = [t.to(dtype) for t in (x, kernel, bias)]
    arguments.insert(1, boxes.to(torch.promote_types(dtype, torch.float32)))
    return [t.requires_grad_() for t in arguments]


def separable_portable(x, boxes, kernel, bias, *options):
    """The operator in operations of PyTorch alone."""
    responses = box_conv2d_portable(x, boxes, *options)
    if options[-1] == "channels_last":
        return responses @ kernel + bias
    return torch.einsum("nkij,kf->nfij", responses, kernel) + bias[:, None, None]


def function_of(options, operator=separable_box_conv2d):
    return lambda *arguments: operator(*arguments, *options)


def value_and_gradients(function, *arguments):
    """Returns the output, and the gradients of the sum of its sine."""
    out = function(*arguments)
    return out, *torch.autograd.grad(torch.sin(out).sum(), arguments)


def assert_equal(actual, expected):
    torch.testing.assert_close(actual, expected, **tolerances.DERIVATIVES["float64"])


# Registration and gradients.


@pytest.mark.parametrize(("options", "dtype"), zip(OPTIONS + OPTIONS[:1], DTYPES, strict=True))
def test_operators_pass_opcheck(options, dtype):
    """`opcheck` checks schemas, shape inference and gradients, also in graphs of unknown sizes."""
    arguments = arguments_of(options, getattr(torch, dtype))
    attributes = list(options[0]), options[1] or "none", options[2]
    out = operators.separable_box_conv2d(*arguments, *attributes)
    output_grad = torch.randn_like(out).requires_grad_()
    torch.library.opcheck(operators.separable_box_conv2d.default, (*arguments, *attributes))
    torch.library.opcheck(
        operators.separable_box_conv2d_grad.default, (*arguments[:3], output_grad, *attributes)
    )


@each_option_set
def test_gradients_of_both_orders_equal_central_differences(options):
    assert torch.autograd.gradcheck(function_of(options), arguments_of(options))
    assert torch.autograd.gradgradcheck(function_of(options), arguments_of(options))


@pytest.mark.parametrize("dtype", DTYPES)
def test_results_in_each_dtype(dtype):
    options = OPTIONS[1]
    arguments = arguments_of(options, getattr(torch, dtype))
    found = value_and_gradients(function_of(options), *arguments)
    wide = [t.detach().double().requires_grad_() for t in arguments]
    expected = value_and_gradients(function_of(options, separable_portable), *wide)
    assert [t.dtype for t in found] == [arguments[0].dtype, *(t.dtype for t in arguments)]
    for a, e in zip(found, expected, strict=True):
        torch.testing.assert_close(a.double(), e, **tolerances.DERIVATIVES[dtype])


@pytest.mark.parametrize(("index", "portable"), [(0, False), (1, True), (2, False), (3, False)])
def test_only_gradients_of_the_boxes_gradient_run_the_portable_path(index, portable):
    """The portable path is slow, so gradients of the other gradients must not run it."""
    arguments = arguments_of(OPTIONS[0])
    out = function_of(OPTIONS[0])(*arguments)
    gradients = torch.autograd.grad(torch.sin(out).sum(), arguments, create_graph=True)
    with CallRecorder() as record:
        torch.autograd.grad((gradients[index] ** 2).sum(), arguments)
    ran = {str(function) for function, _ in record.calls}
    assert "tf_boxconv.separable_box_conv2d_grad.default" in ran
    assert ("aten.where.self" in ran) is portable


@pytest.mark.parametrize("shape", [(0, 5, 6, 3), (2, 0, 6, 3), (2, 5, 6, 0)])
@pytest.mark.parametrize(("per_channel", "filters"), [(0, 2), (2, 0), (2, 3)])
def test_sizes_of_zero(shape, per_channel, filters):
    x, boxes = torch.ones(shape), torch.ones(shape[-1], per_channel, 4)
    kernel, bias = torch.ones(shape[-1] * per_channel, filters), torch.arange(1.0, filters + 1)
    arguments = [t.requires_grad_() for t in (x, boxes, kernel, bias)]
    out = function_of(OPTIONS[0])(*arguments)
    assert_same_bits([out], [bias.expand(*shape[:3], filters)])
    *gradients, bias_grad = torch.autograd.grad(out.sum(), arguments)
    assert_same_bits(gradients, [torch.zeros_like(t) for t in arguments[:3]])
    assert_same_bits([bias_grad], [torch.full((filters,), float(np.prod(shape[:3])))])


# Modes of differentiation and `vmap`. Each equals that of PyTorch's operations.


def scalar(function):
    return lambda *arguments: (torch.sin(function(*arguments)) ** 2).sum()


def tangents_by_forward_ad(function, arguments, tangents):
    with forward_ad.dual_level():
        duals = map(forward_ad.make_dual, arguments, tangents)
        return [forward_ad.unpack_dual(t).tangent.detach() for t in function(*duals)]


def gradients_of(function):
    return lambda *arguments: torch.autograd.grad(
        scalar(function)(*arguments), arguments, create_graph=True
    )


def stacked(tensors, axes):
    """Returns three variants of each tensor, stacked along its axis unless that is None."""
    return [
        t if axis is None else torch.stack([t, 1.2 * t, 0.9 * t], axis)
        for t, axis in zip(tensors, axes, strict=True)
    ]


def mapped(wrap, *axes):
    return lambda f, a, _: vmap(wrap(f), axes)(*stacked(a, axes))


def gradient(function):
    return grad(scalar(function), ALL)


def jvp_of_one(index):
    """The forward mode with respect to one argument."""

    def run(f, arguments, tangents):
        def of_one(argument):
            return f(*arguments[:index], argument, *arguments[index + 1 :])

        return jvp(of_one, (arguments[index],), (tangents[index],))

    return run


MODES = {
    "jvp": lambda f, a, t: jvp(f, tuple(a), tuple(t)),
    "jvp of x": jvp_of_one(0),
    "jvp of boxes": jvp_of_one(1),
    "jvp of the kernel": jvp_of_one(2),
    "jvp of the bias": jvp_of_one(3),
    "grad": lambda f, a, _: gradient(f)(*a),
    "jacrev": lambda f, a, _: jacrev(f, ALL)(*a),
    "jacfwd": lambda f, a, _: jacfwd(f, ALL)(*a),
    "forward over reverse": lambda f, a, _: hessian(scalar(f), ALL)(*a),
    "reverse over reverse": lambda f, a, _: jacrev(jacrev(scalar(f), ALL), ALL)(*a),
    "reverse over forward": lambda f, a, _: jacrev(jacfwd(scalar(f), ALL), ALL)(*a),
    "forward over forward": lambda f, a, _: jacfwd(jacfwd(scalar(f), ALL), ALL)(*a),
    "linearize": lambda f, a, t: linearize(f, *a)[1](*t),
    "vmap of x": mapped(lambda f: f, 0, None, None, None),
    "vmap of boxes": mapped(lambda f: f, None, 0, None, None),
    "vmap of kernel and bias": mapped(lambda f: f, None, None, 1, 0),
    "vmap of all": mapped(lambda f: f, 1, 2, 0, 1),
    "vmap of grad": mapped(gradient, 0, None, None, None),
    "vmap of grad by weights": mapped(gradient, None, 0, 0, 0),
    "vmap of hessian": mapped(lambda f: hessian(scalar(f), 2), 0, None, None, None),
    "forward_ad": lambda f, a, t: tangents_by_forward_ad(lambda *b: [f(*b)], a, t),
    "forward_ad over reverse": lambda f, a, t: tangents_by_forward_ad(
        gradients_of(f), [b.clone().requires_grad_() for b in a], t
    ),
}
COMPILED = ("jvp", "grad", "jacfwd", "forward over reverse", "vmap of grad")


def arguments_and_tangents(options):
    arguments = [t.detach().clone() for t in arguments_of(options)]
    return arguments, [random_tensor(t.shape, 5 + i) for i, t in enumerate(arguments)]


def run_mode(mode, operator, options):
    return MODES[mode](function_of(options, operator), *arguments_and_tangents(options))


@each_option_set
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.filterwarnings("ignore")
def test_native_equals_portable_in_each_mode(mode, options):
    assert_equal(
        run_mode(mode, separable_box_conv2d, options), run_mode(mode, separable_portable, options)
    )


# `torch.compile`, which runs a C++ compiler: minutes on a busy machine.

compiles = pytest.mark.timeout(900)


@compiles
@pytest.mark.parametrize("mode", COMPILED)
@pytest.mark.parametrize("order", ["transform(compile(f))", "compile(transform(f))"])
def test_compiled_native_equals_portable_in_each_mode(mode, order):
    options = OPTIONS[1]
    torch._dynamo.reset()
    compile_ = functools.partial(torch.compile, backend="aot_eager")
    inputs = arguments_and_tangents(options)
    if order == "compile(transform(f))":
        function = function_of(options)
        run = compile_(lambda *inputs: MODES[mode](function, *inputs), fullgraph=True)
        actual = run(*inputs)
    else:  # PyTorch cannot compile this with `fullgraph=True`.
        actual = MODES[mode](compile_(function_of(options)), *inputs)
    assert_equal(actual, run_mode(mode, separable_portable, options))


@compiles
@each_option_set
def test_the_operator_compiles_to_one_graph(options):
    """The graph serves two batch sizes, and has the right gradients."""

    def function(x, *weights):
        return 2 * separable_box_conv2d(torch.tanh(x), *weights, *options)

    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True)
    x, *weights = arguments_of(options)
    for batch in (x, x.detach()[:1].repeat(3, 1, 1, 1).requires_grad_()):
        actual = value_and_gradients(compiled, batch, *weights)
        for a, e in zip(actual, value_and_gradients(function, batch, *weights), strict=True):
            assert_equal(a, e)


@compiles
def test_checkpoint_in_a_compiled_function():
    """The backward function reads each saved tensor once, as checkpointing requires."""
    arguments = arguments_of(OPTIONS[0])

    def gradients(operator):
        function = function_of(OPTIONS[0], operator)
        out = torch.utils.checkpoint.checkpoint(function, *arguments, use_reentrant=False)
        return torch.autograd.grad(out.sum(), arguments)

    torch._dynamo.reset()
    actual = torch.compile(lambda: gradients(separable_box_conv2d), backend="aot_eager")()
    assert_equal(actual, gradients(separable_portable))


# Memory formats, devices and threads.


@each_option_set
def test_tensors_stored_in_the_other_format_are_not_copied(options):
    """Keras's convolutions return such tensors, and so does PyTorch's `channels_last` format."""
    x, *weights = arguments_of(options)
    other = in_other_memory_order(x.detach(), options[-1]).requires_grad_()
    assert not other.is_contiguous()
    with CallRecorder() as record, torch.no_grad():
        separable_box_conv2d(other, *weights, *options)
    ran = {str(function) for function, _ in record.calls}
    assert ran == {"aten.permute.default", "tf_boxconv.separable_box_conv2d.default"}
    (given,) = [args[0] for f, args in record.calls if f is operators.separable_box_conv2d.default]
    assert given.is_contiguous() and given.data_ptr() == other.data_ptr()
    actual = value_and_gradients(function_of(options), other, *weights)
    for a, e in zip(actual, value_and_gradients(function_of(options), x, *weights), strict=True):
        assert a.shape == e.shape
        torch.testing.assert_close(a, e, **tolerances.VALUES["float64"])


def test_tensors_with_any_strides():
    """Every second element of larger images, transposed weights, an expanded upstream gradient."""
    x, boxes, kernel, bias = arguments_of(OPTIONS[0])
    large = torch.full([2 * s for s in x.shape], torch.nan, dtype=x.dtype)
    large[::2, ::2, ::2, ::2] = x.detach()
    strided = [
        large[::2, ::2, ::2, ::2],
        boxes.detach().mT.contiguous().mT,
        kernel.detach().mT.contiguous().mT,
        bias.detach().repeat_interleave(2)[::2],
    ]
    assert not any(t.is_contiguous() for t in strided)
    strided = [t.requires_grad_() for t in strided]
    function = function_of(OPTIONS[0])
    assert_same_bits(
        value_and_gradients(function, *strided),
        value_and_gradients(function, x, boxes, kernel, bias),
    )
    expanded = torch.autograd.grad(function(*strided).sum(), strided)
    out = function(x, boxes, kernel, bias)
    ones = torch.ones_like(out)
    assert_same_bits(expanded, torch.autograd.grad(out, (x, boxes, kernel, bias), ones))


def test_other_devices_compose_the_box_convolution_and_a_product():
    """On the device "meta", which computes shapes only."""
    arguments = [t.detach().to("meta") for t in arguments_of(OPTIONS[1])]
    with CallRecorder() as record:
        out = separable_box_conv2d(*arguments, *OPTIONS[1])
    expected = separable_box_conv2d(*arguments_of(OPTIONS[1]), *OPTIONS[1])
    assert out.device.type == "meta" and out.shape == expected.shape
    assert not any("tf_boxconv" in str(function) for function, _ in record.calls)


@pytest.mark.parametrize("shape", [(3, 40, 33, 20), (1, 300, 120, 9), (19, 5, 6, 70)], ids=str)
def test_same_bits_on_any_number_of_threads(shape, threads):  # noqa: F811
    x = torch.tensor(images(shape))
    boxes = torch.tensor(boxes_anywhere(shape[-1], 2, reach=20), dtype=torch.float32)
    kernel, bias = torch.tensor(images((2 * shape[-1], 33))), torch.tensor(images((33,)))
    arguments = [t.requires_grad_() for t in (x, boxes, kernel, bias)]
    results = []
    for number in (1, 2, 4):
        threads(number)
        results.append(value_and_gradients(function_of(OPTIONS[0]), *arguments))
    for result in results[1:]:
        assert_same_bits(result, results[0])


def test_the_operator_equals_the_box_convolution_and_a_product():
    x, boxes, kernel, bias = arguments_of(OPTIONS[0])
    expected = box_conv2d(x, boxes, *OPTIONS[0]) @ kernel + bias
    assert_equal(function_of(OPTIONS[0])(x, boxes, kernel, bias), expected)
