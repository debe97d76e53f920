"""Exports of models with half and float64 dtype policies, run in their own runtimes."""

import keras
import numpy as np
import pytest

from tests import tolerances
from tests.exporting.models import images, relative_error
from tests.exporting.runtimes import exported
from tests.seeds import seed_weights
from tf_boxconv.exporting import FORMATS
from tf_boxconv.layers import BoxBottleneck, BoxConv2D, DepthwiseBoxConv2D

POLICIES = ["mixed_bfloat16", "mixed_float16", "bfloat16", "float16", "float64"]
# SavedModels keep the types of the policy. All other formats convert the model to float32 with the
# same code. So at least two policies for each format, and two formats for each policy, are enough.
FLOAT32_FORMATS = {
    "onnx": ["mixed_bfloat16", "float64"],
    "openvino": ["mixed_float16", "bfloat16"],
    "litert": ["float16", "mixed_bfloat16"],
    "tfjs": ["bfloat16", "float64", "mixed_float16", "float16"],
}


class CastToBfloat16(keras.layers.Layer):
    """Casts to bfloat16 and back under every policy."""

    def call(self, x):
        return keras.ops.cast(keras.ops.cast(x, "bfloat16"), self.compute_dtype)


def model(policy, size=(10, 13), input_dtype=None):
    """Builds a model with normalizations, a nested model, nested layers and a second policy."""
    seed_weights(0)
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


def in_float64(built):
    """Returns a model with the same weights that computes in float64."""
    exact = model("float64", built.input_shape[1:3])
    exact.set_weights([np.asarray(weight, np.float64) for weight in built.get_weights()])
    return exact


@pytest.mark.parametrize("format", ["saved_model", "saved_model_portable"])
@pytest.mark.parametrize("policy", POLICIES)
def test_saved_models_compute_in_the_types_of_the_policy(policy, format, tmp_path):
    built, x = model(policy), images(2, (10, 13))
    answer = exported(built, tmp_path, format)(x)
    compute = keras.dtype_policies.get(policy).compute_dtype
    assert answer.dtype.name == compute
    assert relative_error(np.float32(answer), np.float32(built(x))) < tolerances.EXPORT[compute]


@pytest.mark.parametrize(
    ("format", "policy"),
    [(format, policy) for format, policies in FLOAT32_FORMATS.items() for policy in policies],
)
def test_other_formats_compute_in_float32(format, policy, tmp_path):
    """Their outputs equal float64 arithmetic with the same weights, up to float32 rounding."""
    built, x = model(policy), images(2, (10, 13))
    answer = exported(built, tmp_path, format)(x)
    assert answer.dtype == np.float32
    assert relative_error(answer, np.float32(in_float64(built)(x))) < tolerances.EXPORT["float32"]


def test_every_format_is_tested():
    assert {"saved_model", "saved_model_portable", *FLOAT32_FORMATS} == set(FORMATS)


@pytest.mark.parametrize("format", [name for name in FORMATS if FORMATS[name].needs])
def test_half_inputs_become_float32_and_keep_their_names(format, tmp_path):
    built, x = model("float16", (None, None), "float16"), images(2, (10, 13))
    answer = exported(built, tmp_path, format)(x)  # the runtime passes `image` in float32
    assert relative_error(answer, np.float32(built(np.float16(x)))) < tolerances.EXPORT["float16"]


def test_explicit_casts_can_be_exported(tmp_path):
    inputs = keras.Input((5, 6, 3), name="image")
    built = keras.Model(inputs, DepthwiseBoxConv2D(2)(CastToBfloat16()(inputs)))
    x = images(2, (5, 6))
    answer = exported(built, tmp_path, "onnx")(x)
    assert relative_error(answer, built(x)) < tolerances.EXPORT["bfloat16"]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
def test_models_of_other_types_can_be_quantized(policy, tmp_path):
    inputs = keras.Input((10, 13, 3), name="image")
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", dtype=policy)(inputs)
    built = keras.Model(inputs, BoxConv2D(4, dtype=policy)(x))
    data = [images(20, (10, 13), seed=5)]
    run = exported(built, tmp_path, "litert", quantize="int8", representative_data=data)
    x = images(2, (10, 13))
    assert {d["dtype"] for d in run.interpreter.get_input_details()} == {np.int8}
    assert np.corrcoef(run(x).ravel(), np.float32(built(x)).ravel())[0, 1] > 0.98
    assert np.float32 not in {d["dtype"] for d in run.interpreter.get_tensor_details()}
