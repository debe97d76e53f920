"""Reads back the files that `BoxLogger` writes."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.images import images
from tests.seeds import seed_weights
from tf_boxconv import visualize
from tf_boxconv.layers import BoxBottleneck, DepthwiseBoxConv2D


def _model():
    seed_weights(0)
    model = keras.Sequential(
        [
            keras.Input((12, 12, 2)),
            DepthwiseBoxConv2D(2, name="first"),
            keras.layers.Conv2D(3, 1),
            DepthwiseBoxConv2D(1, name="second"),
        ]
    )
    model.compile(keras.optimizers.SGD(0.5), "mse")
    return model


def _fit(model, *callbacks, epochs=2):
    inputs = images((24, 12, 12, 2))
    targets = np.ones((24, *model.output_shape[1:]), np.float32)
    model.fit(inputs, targets, batch_size=4, epochs=epochs, verbose=0, callbacks=[*callbacks])


def _events(folder):
    (path,) = folder.glob("boxes/events*")
    found = {}
    for event in tf.compat.v1.train.summary_iterator(str(path)):
        for value in event.summary.value:
            found[value.tag, event.step] = tf.make_ndarray(value.tensor)
    return found


def test_tensorboard_receives_pictures_and_histograms(tmp_path):
    model = _model()
    _fit(model, visualize.BoxLogger(tmp_path))
    events = _events(tmp_path)
    for layer in ("first", "second"):
        for step in (0, 1):
            for name in ("height", "width", "centre_y", "centre_x"):
                assert (f"boxes/{layer}/{name}", step) in events
            width, height, png, *_ = events[f"boxes/{layer}", step]
            assert tf.io.decode_png(png).shape == (int(height), int(width), 3)
    # The last histogram is of the trained model. Its rows are left edge, right edge, count.
    buckets = events["boxes/first/height", 1]
    heights = visualize.box_sizes(model.get_layer("first"))[..., 0]
    assert buckets[:, 2].sum() == heights.size
    np.testing.assert_allclose([buckets[0, 0], buckets[-1, 1]], [heights.min(), heights.max()])


def test_the_animation_has_a_frame_for_the_start_and_every_few_batches(tmp_path):
    path = tmp_path / "new" / "boxes.gif"
    _fit(_model(), visualize.BoxLogger(animation=path, every=4))
    with Image.open(path) as animation:
        assert animation.format == "GIF"
        assert animation.n_frames == 1 + 12 // 4
        frames = []
        for index in range(animation.n_frames):
            animation.seek(index)
            frames.append(np.asarray(animation.convert("RGB")).astype(int))
    assert np.abs(frames[0] - frames[-1]).max() > 50  # the boxes move
    assert [p.name for p in path.parent.iterdir()] == ["boxes.gif"]


def test_the_animation_has_one_frame_per_epoch_by_default(tmp_path):
    _fit(_model(), visualize.BoxLogger(animation=tmp_path / "boxes.gif"), epochs=3)
    with Image.open(tmp_path / "boxes.gif") as animation:
        assert animation.n_frames == 4


def test_initial_boxes_are_those_before_training():
    model = _model()
    expected = visualize.boxes_by_layer(model)
    logger = visualize.BoxLogger(layers=["second"])
    _fit(model, logger)
    assert list(logger.initial_boxes) == ["first", "second"]
    for name, boxes in expected.items():
        np.testing.assert_array_equal(logger.initial_boxes[name], boxes)
    assert any(
        np.abs(boxes - expected[name]).max() > 0.01
        for name, boxes in visualize.boxes_by_layer(model).items()
    )
    figure = visualize.draw_boxes(model, initial_boxes=logger.initial_boxes)
    assert figure.axes[0].get_title() == "first\ninitial boxes"


def test_layers_are_chosen_by_name(tmp_path):
    _fit(_model(), visualize.BoxLogger(tmp_path, layers=["second"]), epochs=1)
    assert {tag.split("/")[1] for tag, _ in _events(tmp_path)} == {"second"}


def test_layers_of_several_blocks_get_different_names(tmp_path):
    blocks = [BoxBottleneck(2, name=name) for name in ("near", "far")]
    model = keras.Sequential([keras.Input((12, 12, 2)), *blocks])
    model.compile("sgd", "mse")
    _fit(model, visualize.BoxLogger(tmp_path / "all"), epochs=1)
    tags = [tag for tag, _ in _events(tmp_path / "all") if tag.endswith("/height")]
    assert sorted(tags) == ["boxes/far/box_conv/height", "boxes/near/box_conv/height"]
    _fit(model, visualize.BoxLogger(tmp_path / "one", layers=["far/box_conv"]), epochs=1)
    assert {tag.split("/")[1] for tag, _ in _events(tmp_path / "one")} == {"far"}
    with pytest.raises(ValueError, match=r"among \['near/box_conv', 'far/box_conv'\]"):
        _fit(model, visualize.BoxLogger(layers=["box_conv"]))


@pytest.mark.skipif(
    keras.config.backend() == "torch", reason="Keras has no `steps_per_execution` on PyTorch"
)
def test_frames_are_counted_in_steps_under_steps_per_execution(tmp_path):
    model = _model()
    model.compile("sgd", "mse", steps_per_execution=2)
    logger = visualize.BoxLogger(animation=tmp_path / "boxes.gif", every=4, first_batch=100)
    _fit(model, logger, epochs=2)
    titles = [title for title, *_ in logger._snapshots]
    assert titles == [f"{steps} steps" for steps in (100, 104, 108, 112)]


def test_infinite_boxes_can_be_drawn(tmp_path):
    model = _model()
    boxes = np.array(keras.ops.convert_to_numpy(model.get_layer("second").boxes))
    boxes[0, 0] = [-np.inf, -1, np.inf, 1]
    model.get_layer("second").set_boxes(boxes)
    logger = visualize.BoxLogger(tmp_path, tmp_path / "boxes.gif")
    logger.set_model(model)
    logger.on_train_begin()
    logger.on_epoch_end(0)
    logger.on_train_end()
    assert (tmp_path / "boxes.gif").exists()


@pytest.mark.parametrize("missing", ["PIL", "matplotlib"])
def test_missing_packages_are_noticed_before_the_training(tmp_path, monkeypatch, missing):
    model = _model()
    monkeypatch.setitem(sys.modules, missing, None)
    before = model.get_weights()
    with pytest.raises(ImportError, match=missing):
        _fit(model, visualize.BoxLogger(animation=tmp_path / "boxes.gif"))
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_path_that_cannot_be_written_is_noticed_before_the_training(tmp_path):
    (tmp_path / "folder.gif").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "folder.gif", tmp_path / "file" / "boxes.gif"):
        logger = visualize.BoxLogger(animation=path)
        logger.set_model(_model())
        with pytest.raises(OSError, match=str(path.parent)):
            logger.on_train_begin()


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"`animation` must be a path that ends in \.gif"):
        visualize.BoxLogger(animation="boxes.mp4")
    for name in ("every", "columns", "rows"):
        for value in (0, 1.5):
            with pytest.raises(ValueError, match=f"`{name}` must be a positive integer"):
                visualize.BoxLogger(**{name: value})
    for layers in ([], "first"):
        with pytest.raises(ValueError, match="`layers` must be a sequence of names"):
            visualize.BoxLogger(layers=layers)
    with pytest.raises(ValueError, match=r"`layers` must be among \['first', 'second'\]"):
        _fit(_model(), visualize.BoxLogger(layers=["third"]))
    plain = keras.Sequential([keras.Input((12, 12, 2)), keras.layers.Conv2D(3, 1)])
    plain.compile("sgd", "mse")
    with pytest.raises(ValueError, match="`model` must have box layers"):
        _fit(plain, visualize.BoxLogger())
