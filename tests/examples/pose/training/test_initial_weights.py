"""Tests of `train --init`: which weights are copied, and which options of the network are taken."""

import re

import numpy as np
import pytest

from examples.pose import models
from examples.pose.datasets.skeletons import LSP_SKELETON
from examples.pose.models import blocks
from examples.pose.training import configuration, initial_weights, training_arguments
from examples.pose.training.run_folder import RunFolder, RunFolderError
from tests.seeds import seed_weights
from tf_boxconv.layers import BoxConv2D

NETWORK = {"model": "light", "context": "box", "image_size": 32, "width": 8, "depth": 2}
NAMES = LSP_SKELETON.joint_names


def build(num_joints=14, image_size=32, **arguments):
    network = {"width": 8, "depth": 2, "stages": 2, **arguments}
    return models.build("light", num_joints=num_joints, image_size=image_size, **network)


def write_run(folder, model=None, skeleton=LSP_SKELETON, **config):
    run = RunFolder(folder)
    run.begin({**NETWORK, "stages": 2, "skeleton": skeleton.to_metadata(), **config})
    run.save_model(models.inference_model(build() if model is None else model))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    seed_weights(1)
    return write_run(tmp_path_factory.mktemp("runs") / "first")


def copy(source, target, names=NAMES, **arguments):
    return initial_weights.copy(source, target, names, lambda n: build(n, **arguments))


def boxes(model):
    return {layer.name: layer.boxes for layer in model.layers if isinstance(layer, BoxConv2D)}


def test_the_same_network_computes_the_same(run):
    source, target = initial_weights.load(run), build()
    said = copy(source, target)
    assert re.fullmatch(rf"Starting from {run}: \d+ weights copied\.", said)
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    expected = source.model(images)
    np.testing.assert_array_equal(target(images)[-1], expected)
    assert np.abs(expected).max() > 0


def test_other_joints_get_new_heads(run):
    for count, names in ((3, NAMES[:3]), (14, NAMES[::-1])):
        source, target = initial_weights.load(run), build(count)
        before = {variable.path: variable.numpy() for variable in target.variables}
        earlier = {variable.path: variable.numpy() for variable in source.model.variables}
        said = copy(source, target, names)
        anew = set(said.partition("start anew: ")[2].rstrip(".").split(", "))
        # The heads of both stages, and what passes the heatmaps on.
        assert {path.split("/")[0] for path in anew} == {
            *("stage0_heatmaps", "stage1_heatmaps", "stage0_guess"),
        }
        for variable in target.variables:
            expected = before if variable.path in anew else earlier
            np.testing.assert_array_equal(variable.numpy(), expected[variable.path])


def test_boxes_keep_their_share_of_the_plane(run):
    source, target = initial_weights.load(run), build(image_size=48)
    copy(source, target, image_size=48)
    found, expected = boxes(target), boxes(source.model)
    assert len(found) == 2
    for name, value in found.items():
        np.testing.assert_allclose(value, 1.5 * expected[name], rtol=1e-6)


def test_boxes_that_upsample_keep_their_pixels(tmp_path):
    def build_u_net(num_joints=14, image_size=32):
        return models.build(
            "u_net", num_joints=num_joints, image_size=image_size, width=8, context="pure_box"
        )

    path = tmp_path / "weights.keras"
    models.inference_model(build_u_net()).save(path)
    target = build_u_net(image_size=64)
    suffix = blocks.UPSAMPLING_SUFFIX
    expected = {x.name: np.array(x.boxes) for x in target.layers if x.name.endswith(suffix)}
    said = initial_weights.copy(initial_weights.load(path), target, NAMES, build_u_net)
    assert expected and "anew" not in said
    for name, boxes_before in expected.items():
        np.testing.assert_array_equal(target.get_layer(name).boxes, boxes_before)


def test_another_network_is_refused(run):
    target = models.build("hourglass", num_joints=14, image_size=32, width=8, depth=1)
    with pytest.raises(RunFolderError, match=f"--init {run} has no weight that fits this network"):
        initial_weights.copy(initial_weights.load(run), target, NAMES, None)


def test_a_model_file_alone(run, tmp_path):
    path = tmp_path / "weights.keras"
    path.write_bytes((run / "model.keras").read_bytes())
    source, target = initial_weights.load(path), build(5)
    assert source.config == {} and source.joint_names is None
    # Without names, joints count as the same if there are as many.
    assert "start anew" not in copy(source, build(), NAMES[::-1])
    assert "stage1_heatmaps" in copy(source, target, NAMES[:5])


@pytest.mark.parametrize("content,message", [
    (None, "no such folder"), ("file.txt", "is a file"), ("saved_model.pb", "is a SavedModel"),
])  # fmt: skip
def test_what_cannot_be_trained_is_one_clear_error(tmp_path, content, message):
    path = tmp_path / "given"
    if content == "saved_model.pb":
        path.mkdir()
        (path / content).touch()
    elif content:
        path.touch()
    with pytest.raises(RunFolderError, match=message):
        initial_weights.load(path)


def parse(*arguments):
    return configuration.with_initial_network(*training_arguments.parse(list(map(str, arguments))))


def network(config):
    return {name: config[name] for name in ("model", "image_size", "width", "depth", "stages")}


def test_options_of_the_network_are_taken_from_the_run(run, tmp_path):
    config = parse("--run", tmp_path / "a", "--init", run)
    assert network(config) == {
        "model": "light",
        "image_size": 32,
        "width": 8,
        "depth": 2,
        "stages": 2,
    }
    # Those that are given count, even if they are the default.
    config = parse("--run", tmp_path / "a", "--init", run, "--image_size", "96", "--depth", 4)
    assert network(config) == {
        "model": "light",
        "image_size": 96,
        "width": 8,
        "depth": 4,
        "stages": 2,
    }
    config = parse("--run", tmp_path / "a", "--init", run, "--model", "u_net")
    assert network(config) == {
        "model": "u_net",
        "image_size": 96,
        "width": None,
        "depth": None,
        "stages": None,
    }
    assert network(parse("--run", tmp_path / "a")) == network(config)


def test_a_run_is_resumed_without_the_run_that_it_started_from(run, tmp_path):
    mine = write_run(tmp_path / "mine", init="gone")
    assert network(parse("--run", mine, "--init", "gone"))["width"] == 8
    with pytest.raises(RunFolderError, match="other: no such folder"):
        parse("--run", mine, "--init", "other")
