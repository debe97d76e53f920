"""Tests of batch normalisation by TensorFlow's kernel against float64 and against Keras's layer."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from examples.pose import models
from examples.pose.models import heatmaps
from examples.pose.training.distribution import make_workers
from examples.pose.training.fused_normalisation import (
    FusedBatchNormalization,
    with_fused_normalisation,
)
from examples.pose.training.optimisation import Optimisation
from examples.pose.training.trainer import Trainer

EPSILON, MOMENTUM = 1e-3, 0.9
# Of outputs of about 1. Mixed precision rounds inputs and outputs; it computes in float32.
TOLERANCE = {"float32": 1e-5, "mixed_float16": 2e-3, "mixed_bfloat16": 2e-2}


def reference(x, gamma, beta, upstream):
    """Outputs, gradients of x, gamma and beta, mean, and biased variance, in float64."""
    axes = (0, 1, 2)
    mean, variance = x.mean(axes), x.var(axes)
    inverse = 1 / np.sqrt(variance + EPSILON)
    normal = (x - mean) * inverse
    centred = upstream - upstream.mean(axes) - normal * (upstream * normal).mean(axes)
    gradients = gamma * inverse * centred, (upstream * normal).sum(axes), upstream.sum(axes)
    return gamma * normal + beta, *gradients, mean, variance


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("policy", TOLERANCE)
@pytest.mark.parametrize("shape", [(2, 5, 3, 7), (16, 1, 9, 33), (1, 1, 2, 1)])
def test_training_equals_the_definition(shape, policy, graph):
    rng = np.random.default_rng(0)
    layer = FusedBatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, dtype=policy)
    layer.build(shape)
    x = tf.cast(rng.normal(3, 2, shape), layer.compute_dtype)
    gamma, beta = rng.uniform(0.5, 2, shape[-1]), rng.normal(size=shape[-1])
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)
    upstream = tf.cast(rng.normal(size=shape), layer.compute_dtype)

    def step():
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        sources = [x, layer.gamma.value, layer.beta.value]
        return [y, *tape.gradient(y, sources, upstream)]

    found = (tf.function(step) if graph else step)()
    *wanted, mean, variance = reference(
        *(np.float64(value) for value in (x, layer.gamma.numpy(), layer.beta.numpy(), upstream))
    )
    assert found[0].dtype == layer.compute_dtype
    for value, want in zip(found, wanted, strict=True):
        scale = max(1, np.abs(want).max())
        np.testing.assert_allclose(np.float64(value), want, atol=TOLERANCE[policy] * scale)
    moving = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    np.testing.assert_allclose(moving[0], 0.1 * mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(moving[1], 0.9 + 0.1 * variance, rtol=1e-4)


@pytest.mark.parametrize("training,trainable", [(False, True), (None, True), (True, False)])
def test_inference_and_frozen_layers_use_the_moving_averages(training, trainable):
    layer = FusedBatchNormalization(trainable=trainable)
    layer.build((None, 2, 2, 3))
    layer.moving_mean.assign([1.0, 2.0, 3.0])
    y = layer(np.zeros((4, 2, 2, 3), np.float32), training=training)
    np.testing.assert_allclose(y[0, 0, 0], -np.float32([1, 2, 3]) / np.sqrt(1.001), rtol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), [1, 2, 3])


def test_synchronized_layers_do_not_use_the_kernel(monkeypatch):
    """The kernel averages over one device. `test_distribution` trains on two."""
    message = "the kernel was used"
    monkeypatch.setattr(tf.compat.v1.nn, "fused_batch_norm", lambda *_, **__: pytest.fail(message))
    layer = FusedBatchNormalization(synchronized=True)
    x = np.random.default_rng(0).normal(3, 2, (4, 3, 3, 5)).astype(np.float32)
    found = tf.distribute.MirroredStrategy(["CPU:0"]).run(layer, (x,), {"training": True})
    np.testing.assert_allclose(found, reference(np.float64(x), 1, 0, 0 * x)[0], atol=1e-4)
    layer.synchronized = False
    with pytest.raises(pytest.fail.Exception, match=message):
        layer(x, training=True)


@pytest.mark.parametrize("name", models.NAMES)
@pytest.mark.parametrize("context", ["box", "depthwise"])
def test_network_has_the_same_weights_outputs_and_gradients(name, context):
    plain = models.build(name, context=context, num_joints=3, image_size=64, width=8)
    fused = with_fused_normalisation(plain)
    assert any(isinstance(layer, FusedBatchNormalization) for layer in fused.layers)
    images = tf.constant(np.random.default_rng(0).uniform(0, 255, (4, 64, 64, 3)), tf.float32)
    targets = tf.constant(np.random.default_rng(1).uniform(1, 62, (4, 3, 3)), tf.float32)
    results = []
    for model in (plain, fused):
        with tf.GradientTape() as tape:
            outputs = tf.nest.flatten(model(images, training=True))
            loss = tf.add_n([heatmaps.HeatmapCrossEntropy()(targets, y) for y in outputs])
        sources = [variable.value for variable in model.trainable_variables]
        norm = tf.linalg.global_norm(tape.gradient(loss, sources))
        state = {variable.path: variable.numpy() for variable in model.variables}
        results.append((float(loss), float(norm), state))
    (loss, norm, state), (fused_loss, fused_norm, fused_state) = results
    assert fused_loss == pytest.approx(loss, rel=1e-4)
    assert fused_norm == pytest.approx(norm, rel=1e-3)
    assert fused_state.keys() == state.keys()
    for path, value in state.items():  # including the moving averages after this step
        np.testing.assert_allclose(fused_state[path], value, rtol=1e-3, atol=1e-4, err_msg=path)


def test_trained_network_is_saved_with_the_layers_of_keras():
    trainer = Trainer(
        lambda: models.build("light", num_joints=3, image_size=16, width=8, depth=1),
        Optimisation(10),
        make_workers(),
    )
    kinds = {type(layer) for layer in trainer.inference.layers}
    assert keras.layers.BatchNormalization in kinds
    assert FusedBatchNormalization not in kinds
