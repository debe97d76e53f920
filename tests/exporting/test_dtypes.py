"""Models under half and double dtype policies, each export in its own runtime."""

import keras
import numpy as np
import pytest

from tests.exporting.models import images, relative_error
from tests.exporting.test_formats import exported
from tf_boxconv.exporting import FORMATS
from tf_boxconv.layers import BoxBottleneck, BoxConv2D, DepthwiseBoxConv2D

POLICIES = ["mixed_bfloat16", "mixed_float16", "bfloat16", "float16", "float64"]
# What Keras itself loses to rounding, as a part of the largest output.
ROUNDING = {"bfloat16": 3e-2, "float16": 4e-3, "float64": 1e-6}


class Rounding(keras.layers.Layer):
    """Casts by itself, whatever its policy."""

    def call(self, x):
        return keras.ops.cast(keras.ops.cast(x, "bfloat16"), self.compute_dtype)


def model(policy, size=(10, 13), input_dtype=None):
    """Convolutions, norms, a nested model, a layer in another, an explicit cast, two policies."""
    keras.utils.set_random_seed(0)
    options = {"dtype": policy}
    inputs = keras.Input((*size, 3), name="image", dtype=input_dtype)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", **options)(inputs)
    x = DepthwiseBoxConv2D(2, normalization="valid", max_size=9, use_bias=True, **options)(x)
    x = keras.layers.BatchNormalization(**options)(x)
    inner = keras.Sequential([keras.Input(x.shape[1:], dtype=x.dtype)])
    inner.add(BoxConv2D(8, strides=(2, 1), max_size=9, activation="relu", **options))
    x = BoxBottleneck(2, normalization="valid", max_size=9, **options)(inner(x))
    x = keras.layers.LayerNormalization(**options)(x)
    x = BoxConv2D(4, max_size=9, dtype="float32")(x)
    outputs = keras.layers.Activation("softmax", **options)(x)
    return keras.Model(inputs, outputs)


def reference(built):
    """The same weights in float64 arithmetic."""
    exact = model("float64", built.input_shape[1:3])
    exact.set_weights([np.asarray(weight, np.float64) for weight in built.get_weights()])
    return exact


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("policy", POLICIES)
def test_values_and_types(policy, format, tmp_path):
    built, x = model(policy), images(2, (10, 13))
    answer = exported(built, tmp_path, format)(x)
    compute = keras.dtype_policies.get(policy).compute_dtype
    if format.startswith("saved_model"):
        assert answer.dtype.name == compute
        assert relative_error(np.float32(answer), np.float32(built(x))) < ROUNDING[compute]
    else:
        assert answer.dtype == np.float32
        # float32 is closer to the exact values than the model itself is. One layer rounds the
        # weights of a policy without "mixed", and both have them rounded.
        assert relative_error(answer, np.float32(reference(built)(x))) < 1e-5


@pytest.mark.parametrize("format", [name for name in FORMATS if FORMATS[name].needs])
def test_half_inputs_become_float32_and_keep_their_names(format, tmp_path):
    built, x = model("float16", (None, None), "float16"), images(2, (10, 13))
    answer = exported(built, tmp_path, format)(x)  # `image`, in float32.
    assert relative_error(answer, np.float32(built(np.float16(x)))) < ROUNDING["float16"]


def test_explicit_casts(tmp_path):
    inputs = keras.Input((5, 6, 3), name="image")
    built = keras.Model(inputs, DepthwiseBoxConv2D(2)(Rounding()(inputs)))
    x = images(2, (5, 6))
    answer = exported(built, tmp_path, "onnx")(x)
    assert relative_error(answer, built(x)) < ROUNDING["bfloat16"]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
def test_quantized(policy, tmp_path):
    inputs = keras.Input((10, 13, 3), name="image")
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", dtype=policy)(inputs)
    built = keras.Model(inputs, BoxConv2D(4, dtype=policy)(x))
    data = [images(20, (10, 13), seed=5)]
    run = exported(built, tmp_path, "litert", quantize="int8", representative_data=data)
    x = images(2, (10, 13))
    assert {d["dtype"] for d in run.interpreter.get_input_details()} == {np.int8}
    assert np.corrcoef(run(x).ravel(), np.float32(built(x)).ravel())[0, 1] > 0.98
    assert np.float32 not in {d["dtype"] for d in run.interpreter.get_tensor_details()}
