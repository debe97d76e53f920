"""Tests of the pose networks and of counting their multiply-adds."""

import keras
import numpy as np
import pytest

from examples.pose import model_cost, models
from examples.pose.evaluation import multiply_adds
from tests.layers.cases import trainable_parameters
from tf_boxconv.layers import BoxConv2D, DepthwiseBoxConv2D

# Arguments of a small network of each kind.
SMALL = {
    "light": {"width": 6, "depth": 2, "stages": 2},
    "u_net": {"width": 4, "depth": 2, "levels": 3},
    "full_resolution": {"width": 6, "depth": 2, "stride": 4},
    "hourglass": {"width": 6, "depth": 2, "stacks": 2},
}
OUTPUTS = {"light": 2, "hourglass": 2}  # Number of outputs, 1 if not listed.
# Number of wide filters in each small network.
WIDE_FILTERS = {
    "light": 2,
    "u_net": 1 + 2 + 2,  # encoder levels 1 and 2, two decoder levels
    "full_resolution": 2,
    # One in the stem; in each stack three on each of two levels, one at the bottom, one at the end.
    "hourglass": 1 + 2 * ((3 + 3 + 1) + 1),
}


def small(name, **arguments):
    return models.build(name, image_size=32, **SMALL[name], **arguments)


def wide_layers(model):
    return [layer for layer in model.layers if layer.name.endswith("_far")]


def images(count=2):
    return np.random.default_rng(0).uniform(0, 255, (count, 32, 32, 3)).astype(np.float32)


def outputs(model):
    made = model(images())
    return made if isinstance(made, list) else [made]


@pytest.mark.parametrize("context", models.CONTEXTS)
@pytest.mark.parametrize("name", models.NAMES)
def test_every_network_returns_heatmap_logits(name, context):
    model = small(name, context=context)
    made = outputs(model)
    assert len(made) == OUTPUTS.get(name, 1)
    for logits in made:
        assert logits.shape == (2, 16, 16, 14) and logits.dtype == "float32"
        assert np.all(np.isfinite(logits)) and np.ptp(logits) > 0
    assert len(wide_layers(model)) == WIDE_FILTERS[name]
    last = models.inference_model(model)
    assert last.output_shape == (None, 16, 16, 14)
    np.testing.assert_array_equal(last(images()), made[-1])


@pytest.mark.parametrize("name", models.NAMES)
def test_box_and_depthwise_networks_differ_in_wide_filters_only(name):
    box, depthwise = small(name), small(name, context="depthwise")
    assert [layer.name for layer in box.layers] == [layer.name for layer in depthwise.layers]
    boxes, kernels = wide_layers(box), wide_layers(depthwise)
    # Blocks that normalise the responses before they mix them need the responses.
    box_layer = DepthwiseBoxConv2D if name == "hourglass" else BoxConv2D
    assert {type(layer) for layer in boxes} == {box_layer}
    assert all(layer.kernel_size == (7, 7) for layer in kernels)
    for one, other in zip(box.layers, depthwise.layers, strict=True):
        if one not in boxes:
            assert type(one) is type(other) and one.get_config() == other.get_config()
        assert one.output.shape == other.output.shape
    channels = sum(layer.output.shape[-1] for layer in boxes)
    box_parameters, kernel_parameters = map(trainable_parameters, (box, depthwise))
    assert kernel_parameters - box_parameters == channels * (7 * 7 - 4)
    values = sum(np.prod(layer.output.shape[1:]) for layer in boxes)
    gap = multiply_adds.multiply_adds(depthwise) - multiply_adds.multiply_adds(box)
    assert gap == values * (49 - multiply_adds.BOX_MULTIPLY_ADDS)


@pytest.mark.parametrize("name", models.NAMES)
def test_filter_arguments_reach_every_block(name):
    for context in ("depthwise", "dense"):
        kernels = wide_layers(small(name, context=context, kernel_size=5))
        assert {layer.kernel_size for layer in kernels} == {(5, 5)}
    dilated = wide_layers(small(name, context="dilated", kernel_size=9))
    assert {(layer.kernel_size, layer.dilation_rate) for layer in dilated} == {((3, 3), (4, 4))}
    boxes = wide_layers(small(name, boxes=3))
    assert {layer.depth_multiplier for layer in boxes} == {3}


def test_options_of_single_boxes_do_not_reach_the_mixing_weights():
    """`BoxConv2D` would apply these options to its mixing weights or to its output."""
    fixed = small("light", box_options={"trainable": False})
    assert all(not layer.trainable for layer in wide_layers(fixed))
    assert fixed.get_layer("stage0_block0_mix").trainable
    active = small("light", box_options={"activation": "relu", "use_bias": True})
    assert {layer.activation for layer in wide_layers(active)} == {keras.activations.relu}
    assert {layer.bias.shape for layer in wide_layers(active)} == {(6,)}
    for model in (fixed, active):
        assert all(isinstance(layer, DepthwiseBoxConv2D) for layer in wide_layers(model))
    shared = small("light", box_options={"normalization": "valid"})
    assert {type(layer) for layer in wide_layers(shared)} == {BoxConv2D}
    assert {layer.normalization for layer in wide_layers(shared)} == {"valid"}


@pytest.mark.parametrize("name", models.NAMES)
def test_size_arguments_enlarge_the_network(name):
    sizes = {None: small(name).count_params()}
    for argument, value in SMALL[name].items():
        if argument != "stride":  # Only 2 and 4 are valid.
            larger = {**SMALL[name], argument: 2 * value if argument == "depth" else value + 1}
            if argument == "stages":
                larger |= {"depth": 3, "stages": 3}
            sizes[argument] = models.build(name, image_size=64, **larger).count_params()
    assert all(size > sizes[None] for argument, size in sizes.items() if argument), sizes


def test_full_resolution_keeps_its_resolution():
    for stride, side in ((2, 16), (4, 8)):
        model = models.build("full_resolution", image_size=32, width=4, depth=2, stride=stride)
        planes = {layer.output.shape[1:3] for layer in wide_layers(model)}
        assert planes == {(side, side)} and model.output_shape == (None, 16, 16, 14)


@pytest.mark.parametrize("name,head", [("hourglass", "stack0"), ("light", "stage0")])
def test_each_output_depends_on_the_one_before(name, head):
    model = small(name)
    first, second = (np.asarray(output) for output in outputs(model))
    kernel = model.get_layer(f"{head}_heatmaps").kernel
    kernel.assign(3 * kernel)
    changed_first, changed_second = (np.asarray(output) for output in outputs(model))
    assert np.abs(changed_first - first).max() > 0.5 * np.abs(first).max()
    assert np.abs(changed_second - second).max() > 1e-4


@pytest.mark.parametrize("name", models.NAMES)
def test_training_changes_all_weights(name):
    """Every part of the network is connected to the loss."""
    model = small(name)
    before = [weight.numpy() for weight in model.trainable_weights]
    # Eager, because tracing these graphs takes longer than one step.
    model.compile(keras.optimizers.Adam(1e-2), ["mse"] * len(model.outputs), run_eagerly=True)
    targets = np.random.default_rng(1).normal(size=(4, 16, 16, 14))
    model.fit(images(4), [targets] * len(model.outputs), verbose=0)
    for weight, old in zip(model.trainable_weights, before, strict=True):
        assert np.any(weight.numpy() != old), weight.path


def test_multiply_adds():
    image = keras.Input((8, 6, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(image)  # 4x3 outputs
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.DepthwiseConv2D(5, padding="same")(x)
    x = DepthwiseBoxConv2D(depth_multiplier=2)(x)
    x = keras.layers.SeparableConv2D(5, 3, padding="same")(x)
    x = BoxConv2D(6, depth_multiplier=3, strides=(2, 1))(x)  # 2x3 outputs
    model = keras.Model(image, keras.layers.Conv2D(7, 1)(x))
    per_box = multiply_adds.BOX_MULTIPLY_ADDS
    expected = 12 * (4 * 3 * 9 + 4 * 25 + 8 * per_box + 8 * 9 + 8 * 5)
    expected += 6 * (15 * per_box + 15 * 6 + 6 * 7)
    assert multiply_adds.multiply_adds(model) == expected


def test_multiply_adds_rejects_unknown_layers():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(TypeError, match="Dense"):
        multiply_adds.multiply_adds(model)


@pytest.mark.long
def test_model_cost_prints_every_model(capsys):
    model_cost.main(["--image_size", "32", "--width", "4", "--kernel_size", "3"])
    printed = capsys.readouterr().out
    for name in models.NAMES:
        for context in ("box", "dense"):
            model = models.build(name, context=context, image_size=32, width=4, kernel_size=3)
            assert f"{model.count_params():,}" in printed
        assert name in printed


@pytest.mark.parametrize(
    "arguments,message",
    [
        ({"name": "resnet"}, r"`name`.*'u_net'.*'resnet'"),
        ({"context": "boxes"}, r"`context`.*'box'.*'boxes'"),
        ({"boxes": 0}, r"`boxes`.*positive integer.*0"),
        ({"kernel_size": 4}, r"`kernel_size`.*odd.*4"),
        ({"width": 0}, r"`width`.*positive integer.*0"),
        ({"image_size": 40, "name": "u_net"}, r"`image_size`.*multiple of 16.*40"),
        ({"image_size": 0, "name": "u_net"}, r"`image_size`.*multiple of 16.*0"),
        ({"levels": 6, "name": "u_net"}, r"`levels`.*2 to 5.*6"),
        ({"depth": 3, "stages": 2, "name": "light"}, r"`depth`.*`stages`, 2, got 3"),
        ({"stride": 3, "name": "full_resolution"}, r"`stride`.*2 or 4.*3"),
        ({"stacks": 2, "name": "u_net"}, r"'u_net'.*no `stacks`.*'levels'"),
        ({"image_size": 48, "name": "hourglass"}, r"`image_size`.*multiple of 32.*48"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.build(**arguments)
