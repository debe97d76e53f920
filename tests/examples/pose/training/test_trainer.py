"""Tests of `Trainer` in one process: steps, averaged weights, saved states and errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from examples.pose import models
from examples.pose.models import heatmaps
from examples.pose.training.distribution import make_workers
from examples.pose.training.optimisation import Optimisation
from examples.pose.training.run_folder import RunFolder, RunFolderError
from examples.pose.training.trainer import EXPLOSION, DivergedError, Trainer
from tests.examples.pose.models import earlier_blocks
from tests.seeds import seed_weights

SIZE = 16


def build(**arguments):
    defaults = {"width": 6, "depth": 1, "stride": 4}
    return models.build(
        "full_resolution", num_joints=3, image_size=SIZE, **{**defaults, **arguments}
    )


def make_trainer(make=build, steps=100, seed=0, **settings):
    seed_weights(seed)
    return Trainer(make, Optimisation(steps, **settings), make_workers())


def batches(seed=1, count=1000):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        images = rng.uniform(0, 255, (4, SIZE, SIZE, 3)).astype(np.float32)
        joints = rng.uniform(0, SIZE - 1, (4, 3, 2))
        labelled = rng.uniform(size=(4, 3, 1)) < 0.8
        yield tf.constant(images), tf.constant(np.concatenate([joints, labelled], -1), tf.float32)


def weights(model):
    return {variable.path: variable.numpy() for variable in model.variables}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def test_learning_rate_rises_and_falls():
    trainer = make_trainer(steps=200, learning_rate=1e-3)
    rates = [trainer.learning_rate(step) for step in (0, 10, 20, 110, 199)]
    assert rates[0] == 0 and rates[1] == pytest.approx(5e-4) and rates[2] == pytest.approx(1e-3)
    assert rates[2] > rates[3] > rates[4] > 0


def test_step_follows_the_gradient_of_the_loss():
    """One step of Adam moves each weight by the learning rate against its gradient's sign."""
    trainer = make_trainer(steps=5, learning_rate=1e-3)  # too short for a warm-up
    model, (images, targets) = trainer.model, next(batches())
    with tf.GradientTape() as tape:
        loss = heatmaps.HeatmapCrossEntropy()(targets, model(images, training=True))
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    before = [variable.numpy() for variable in model.trainable_variables]
    assert trainer.run(iter([(images, targets)]), 1) == pytest.approx(float(loss), rel=1e-5)
    assert trainer.done == 1
    for variable, old, gradient in zip(model.trainable_variables, before, gradients, strict=True):
        clear = np.abs(gradient) > 0.05 * np.abs(gradient).max()  # Far above rounding errors.
        if "boxes" in variable.path or variable.path == "heatmaps/bias":
            continue  # A constraint also moves boxes; the softmax ignores the bias.
        moved = (variable.numpy() - old)[clear]
        np.testing.assert_allclose(moved, -1e-3 * np.sign(gradient)[clear], rtol=1e-2)


def test_clipping_bounds_the_gradient(eager, monkeypatch):
    trainer = make_trainer(clip_norm=1e-3)
    seen = []
    apply = trainer._optimizer.apply

    def spy(gradients, variables):
        seen.append(tf.linalg.global_norm(gradients))
        apply(gradients, variables)

    monkeypatch.setattr(trainer._optimizer, "apply", spy)
    trainer.run(batches(), 1)
    assert float(seen[0]) == pytest.approx(1e-3, rel=1e-4)


def test_all_outputs_are_trained(eager):
    def make():
        return models.build("hourglass", num_joints=3, image_size=SIZE, width=4, depth=1, stacks=2)

    trainer = make_trainer(make)
    before = weights(trainer.model)
    images, targets = next(batches())
    loss = heatmaps.HeatmapCrossEntropy()(targets, trainer.model(images, training=True)[-1])
    assert trainer.run(iter([(images, targets)] * 2), 1) == pytest.approx(float(loss), rel=1e-5)
    trainer.run(iter([(images, targets)] * 2), 2)
    # The heatmaps of the first hourglass are trained even if the second does not use them.
    assert np.any(
        weights(trainer.model)["stack0_heatmaps/kernel"] != before["stack0_heatmaps/kernel"]
    )
    assert trainer.inference.output_shape == (None, SIZE // 2, SIZE // 2, 3)


@pytest.mark.parametrize("ema", [0.0, 0.8])
def test_inference_model_has_averaged_weights(ema):
    trainer = make_trainer(ema=ema)
    average = {}
    for batch in batches(count=4):
        trainer.run(iter([batch]), 1)
        now = weights(trainer.model)
        for name, value in now.items():
            average[name] = ema * average.get(name, value) + (1 - ema) * value
    trainer.update_inference()
    assert_same(weights(trainer.model), now)
    trainable = {variable.path for variable in trainer.model.trainable_variables}
    for name, value in weights(trainer.inference).items():
        expected = average[name] if name in trainable else now[name]
        # Keras averages boxes before applying their constraint, so they may differ a little.
        tolerance = 2e-2 if "boxes" in name else 1e-6
        np.testing.assert_allclose(value, expected, atol=tolerance, err_msg=name)
    if ema:
        assert np.abs(now["heatmaps/kernel"] - average["heatmaps/kernel"]).max() > 1e-5


def test_boxes_biases_and_norms_do_not_decay(eager):
    trainer = make_trainer(steps=5, weight_decay=100.0, learning_rate=1e-3)
    before = weights(trainer.model)
    trainer.run(batches(), 1)
    for name, value in weights(trainer.model).items():
        if name.endswith("kernel"):
            # Decays by learning rate * weight decay = 0.1, and moves by at most the rate.
            np.testing.assert_allclose(value, 0.9 * before[name], atol=1.1e-3, err_msg=name)
        elif "moving" not in name and "boxes" not in name:
            np.testing.assert_allclose(value, before[name], atol=1.1e-3, err_msg=name)
    boxes = next(name for name in before if "boxes" in name)
    moved = np.abs(weights(trainer.model)[boxes] - before[boxes]).max()
    assert moved < 5e-3 < 0.1 * np.abs(before[boxes]).max()


@pytest.mark.parametrize("settings", [{}, {"ema": 0.9, "weight_decay": 0.1, "clip_norm": 1.0}])
def test_restored_training_continues_bit_for_bit(settings, tmp_path):
    run = RunFolder(tmp_path)
    whole = make_trainer(**settings)
    all_batches = list(batches(count=6))
    whole.run(iter(all_batches[:3]), 3)
    run.save_state(whole.state())
    whole.run(iter(all_batches[3:]), 3)

    resumed = make_trainer(seed=7, **settings)
    resumed.restore(run.load_state())
    assert resumed.done == 3
    resumed.run(iter(all_batches[3:]), 3)
    assert_same(resumed.state(), whole.state())
    resumed.update_inference()
    whole.update_inference()
    assert_same(weights(resumed.inference), weights(whole.inference))


def test_state_of_an_earlier_version_is_restored():
    """Earlier versions did not store the `scale` of box layers as a weight."""
    trainer = make_trainer()
    trainer.run(batches(), 2)
    state = trainer.state()
    earlier = {name: value for name, value in state.items() if not name.endswith("/scale")}
    assert len(earlier) < len(state)
    restored = make_trainer(seed=1)
    restored.restore(earlier)
    assert_same(restored.state(), state)


@pytest.mark.parametrize(
    "context,settings",
    [
        ("box", {"ema": 0.9, "weight_decay": 0.1, "clip_norm": 1.0}),
        ("pure_box", {"ema": 0.9}),
        ("depthwise", {"precision": "mixed_float16"}),
    ],
)
def test_training_begun_with_earlier_blocks_continues(context, settings, eager):
    """Earlier blocks mixed the responses of both filters by one convolution."""

    def make():
        return build(context=context, depth=2)

    with earlier_blocks.built():
        earlier = make_trainer(make, **settings)
    all_batches = list(batches(count=6))
    earlier.run(iter(all_batches[:3]), 3)
    resumed, unchanged = (make_trainer(make, seed=seed, **settings) for seed in (7, 8))
    resumed.restore(earlier.state())
    for trainer in (earlier, resumed):
        trainer.run(iter(all_batches[3:]), 3)
        trainer.update_inference()
    unchanged.restore(earlier.state())
    state, expected = resumed.state(), unchanged.state()
    assert state.keys() == expected.keys()
    # Training amplifies rounding errors, which are larger in half precision.
    tolerance = 0.2 if "precision" in settings else 1e-3
    for name, value in expected.items():
        if "heatmaps" in name and "bias" in name:
            continue  # The softmax ignores the bias, so its gradient consists of rounding errors.
        atol = tolerance * np.abs(np.asarray(value, np.float64)).max()
        np.testing.assert_allclose(state[name], value, rtol=0, atol=atol, err_msg=name)
    images = all_batches[0][0]
    logits = np.asarray(earlier.inference(images))
    atol = tolerance * np.abs(logits).max()
    np.testing.assert_allclose(resumed.inference(images), logits, rtol=0, atol=atol)


def test_state_of_another_network_raises():
    state = make_trainer().state()
    with earlier_blocks.built():
        earlier = make_trainer(lambda: build(depth=2)).state()
    with pytest.raises(RunFolderError, match=r"another training: .*block1"):
        make_trainer().restore(earlier)
    with pytest.raises(RunFolderError, match=r"another training: .*stem_down.* \(3, 3, 32, 6\)"):
        make_trainer(lambda: build(width=8)).restore(state)
    with pytest.raises(RunFolderError, match="another training"):
        make_trainer(ema=0.5).restore(state)
    with pytest.raises(RunFolderError, match="step"):
        make_trainer().restore({k: v for k, v in state.items() if k != "step"})


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_computes_in_half_and_saves_float32(precision):
    trainer = make_trainer(precision=precision, ema=0.5, clip_norm=1.0, learning_rate=1e-2)
    assert keras.config.dtype_policy().name == "float32"
    half = precision.removeprefix("mixed_")
    block = trainer.model.get_layer("block0_far")
    assert block.compute_dtype == half and block.kernel.dtype == "float32"
    assert block.boxes.dtype == tf.float32
    batch = next(batches())
    first = trainer.run(iter([batch]), 1)
    last = trainer.run(iter([batch] * 40), 40)
    assert np.isfinite(last) and last < first
    trainer.update_inference()
    assert trainer.inference.get_layer("block0_far").compute_dtype == "float32"
    logits = trainer.inference(batch[0])
    assert logits.dtype == tf.float32 and np.all(np.isfinite(logits))
    restored = make_trainer(precision=precision, ema=0.5, clip_norm=1.0, learning_rate=1e-2)
    restored.restore(trainer.state())
    assert_same(restored.state(), trainer.state())


def test_non_finite_loss_raises_with_its_step():
    trainer = make_trainer(learning_rate=1e-3)
    good = list(batches(count=13))
    images, targets = good[12]
    trainer.run(iter(good), 12)
    bad = (images * np.float32(np.nan), targets)
    with pytest.raises(DivergedError, match=r"step 14: loss nan, learning rate 0\.00\d"):
        trainer.run(iter([good[12], bad, good[0]]), 3)


def test_exploding_loss_raises():
    trainer = make_trainer(learning_rate=1e-3)
    logits = trainer.model.get_layer("heatmaps")
    logits.kernel.assign(1e4 * logits.kernel)
    limit = EXPLOSION * np.log((SIZE // 2) ** 2)
    with pytest.raises(DivergedError, match=r"step 10: mean loss [\d.e+]+ over 10 steps") as error:
        trainer.run(batches(), 20)
    assert float(str(error.value).split("mean loss ")[1].split()[0]) > limit
    assert trainer.done == 10


def test_non_finite_state_raises():
    trainer = make_trainer()
    kernel = trainer.model.get_layer("block0_far").kernel
    kernel.assign(kernel * np.float32(np.inf))
    with pytest.raises(DivergedError, match=r"block0_far.* is not finite"):
        trainer.state()


@pytest.mark.parametrize(
    "arguments,message",
    [
        ({"steps": 0}, "`steps`.*0"),
        ({"learning_rate": float("nan")}, "`learning_rate`.*nan"),
        ({"weight_decay": -1.0}, "`weight_decay`.*-1"),
        ({"clip_norm": -1.0}, "`clip_norm`.*-1"),
        ({"ema": 1.0}, "`ema`.*1"),
        ({"precision": "float16"}, "`precision`.*mixed_float16.*'float16'"),
    ],
)
def test_bad_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        Optimisation(**{"steps": 10, **arguments})
