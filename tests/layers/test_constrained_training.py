"""Boxes satisfy their constraint after training, whatever the options of the optimizer."""

import keras
import numpy as np
import pytest

from tests.backend import BACKEND, tensorflow_only, to_float64
from tests.boxes import are_valid
from tests.images import images
from tests.layers.cases import LAYERS, make
from tests.new_process import run_python
from tf_boxconv.layers import DepthwiseBoxConv2D

SIZE = (8, 10)
OPTIMIZERS = {
    "plain": {},
    "moving averages": {"use_ema": True, "ema_momentum": 0.9},
    "moving averages overwrite weights": {"use_ema": True, "ema_overwrite_frequency": 3},
    "moving averages and accumulation": {"use_ema": True, "gradient_accumulation_steps": 2},
    "loss scale": {"use_ema": True, "loss_scale_factor": 128.0},
    "weight decay": {"use_ema": True, "weight_decay": 0.5},
    "clipping": {"use_ema": True, "global_clipnorm": 0.5},
}


def valid(boxes):
    return are_valid(to_float64(boxes), SIZE)


def model_of(layer):
    return keras.Sequential([keras.Input((*SIZE, 8)), layer])


def random_data(model):
    return images((8, *SIZE, 8)), images((8, *model.output_shape[1:]), seed=1)


def fit(model, optimizer, **kwargs):
    """Trains with steps of many pixels, which would make boxes invalid without a constraint."""
    model.compile(optimizer, "mse", **kwargs)
    model.fit(*random_data(model), batch_size=2, epochs=4, verbose=0, shuffle=False)


@pytest.mark.parametrize("arguments", OPTIMIZERS)
def test_boxes_are_valid_after_fit(arguments):
    layer = DepthwiseBoxConv2D(4)
    fit(model_of(layer), keras.optimizers.Adam(1.0, **OPTIMIZERS[arguments]))
    assert valid(layer.boxes)


def test_without_a_constraint_the_same_training_makes_boxes_invalid():
    layer = DepthwiseBoxConv2D(4, boxes_constraint=None)
    fit(model_of(layer), keras.optimizers.Adam(1.0, use_ema=True, ema_momentum=0.9))
    assert not valid(layer.boxes)


@pytest.mark.parametrize("name", LAYERS)
def test_moving_averages_are_valid_in_every_layer(name):
    layer = make(name)
    fit(model_of(layer), keras.optimizers.SGD(300.0, momentum=0.9, use_ema=True))
    # In some layers the other weights diverge, and the boxes become NaN.
    assert valid(layer.boxes) or not np.all(np.isfinite(to_float64(layer.boxes)))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_moving_averages_are_valid_in_compiled_steps(jit_compile):
    if jit_compile and BACKEND == "torch":
        pytest.skip("torch.compile needs a compiler and minutes")
    layer = DepthwiseBoxConv2D(4, implementation="portable")
    fit(model_of(layer), keras.optimizers.Adam(1.0, use_ema=True), jit_compile=jit_compile)
    assert valid(layer.boxes)


def test_moving_averages_are_valid_under_a_loss_scale_optimizer():
    layer = DepthwiseBoxConv2D(4, dtype="mixed_float16")
    inner = keras.optimizers.Adam(1.0, use_ema=True, ema_momentum=0.9)
    fit(model_of(layer), keras.optimizers.LossScaleOptimizer(inner, initial_scale=64.0))
    assert valid(layer.boxes)


def test_moving_averages_that_a_callback_swaps_in_are_valid():
    """`SwapEMAWeights` puts the averages into the model at the end of an epoch."""
    layer = DepthwiseBoxConv2D(4)
    model = model_of(layer)
    model.compile(keras.optimizers.Adam(1.0, use_ema=True, ema_momentum=0.9), "mse")
    seen = []
    record = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: seen.append(layer.boxes))
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    model.fit(*random_data(model), batch_size=2, epochs=3, verbose=0, callbacks=[swap, record])
    for boxes in [*seen, layer.boxes]:
        assert valid(boxes)


# `ema_overwrite_frequency` is left out, because Keras 3.15 itself fails with it: "`merge_call`
# called while defining a new graph".
@tensorflow_only
@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("arguments", ["plain", "moving averages"])
def test_boxes_are_valid_under_a_mirrored_strategy(replicas, arguments):
    """In a new process, because TensorFlow fixes the number of devices when it is first used."""
    code = f"from tests.layers import {__name__.split('.')[-1]} as t; t.fit_mirrored"
    done = run_python(f"{code}({replicas}, {arguments!r})")
    assert done.returncode == 0, done.stderr[-2000:]


def fit_mirrored(replicas, arguments):
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    parts = [tf.config.LogicalDeviceConfiguration()] * replicas
    tf.config.set_logical_device_configuration(cpu, parts)
    strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])
    assert strategy.num_replicas_in_sync == replicas
    with strategy.scope():
        layer = DepthwiseBoxConv2D(4)
        model = model_of(layer)
        model.compile(keras.optimizers.Adam(1.0, **OPTIMIZERS[arguments]), "mse")
    model.fit(*random_data(model), batch_size=4, epochs=4, verbose=0)
    assert valid(layer.boxes)


def test_moving_averages_of_other_weights_are_those_of_keras():
    """The package does not apply constraints of other weights before averaging."""
    DepthwiseBoxConv2D(1).build((1, *SIZE, 1))
    update = keras.optimizers.Optimizer._update_model_variables_moving_average
    assert update.constrains_boxes

    def averages(update):
        variables = [keras.Variable([-2.0, 3.0]), keras.Variable([1.0])]
        variables[0].constraint = keras.constraints.NonNeg()
        optimizer = keras.optimizers.SGD(0.5, use_ema=True)
        optimizer.build(variables)
        update(optimizer, iter(variables))
        assert variables[0].numpy().tolist() == [-2, 3]
        return [average.numpy().tolist() for average in optimizer._model_variables_moving_average]

    assert averages(update) == averages(update.__wrapped__) == [[-2, 3], [1]]


def test_importing_the_package_changes_no_optimizer():
    program = (
        "import keras, tf_boxconv\n"
        "name = '_update_model_variables_moving_average'\n"
        "assert not hasattr(getattr(keras.optimizers.Optimizer, name), 'constrains_boxes')"
    )
    done = run_python(program)
    assert done.returncode == 0, done.stderr[-2000:]
