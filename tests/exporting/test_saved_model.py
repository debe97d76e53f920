"""SavedModels with the compiled operators, and portable ones."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_boxconv
from benchmarks.export_runtimes import saved_model
from tests import tolerances
from tests.exporting.models import SIZE, images, model, relative_error
from tests.seeds import seed_weights
from tf_boxconv.exporting import saved_model_graph

pytestmark = pytest.mark.usefixtures("fused_on_all_planes")

# Operations that compute matrices while the model runs.
MATRIX_OPS = {"Range", "Minimum", "Maximum", "ClipByValue", "DivNoNan", "SelectV2"}

# Simulates a server without this package: importing it fails, and its library is not loaded.
FOREIGN_PROCESS = """
import sys
sys.modules["tf_boxconv"] = sys.modules["keras"] = None
import numpy as np, tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
answer = loaded.signatures["serving_default"](image=tf.constant(np.load(sys.argv[2])))
np.save(sys.argv[3], answer["output_0"].numpy())
assert "boxconv_ops" not in open("/proc/self/maps").read()
"""

# The compiled ops of the small model: those of `DepthwiseBoxConv2D` and of `BoxConv2D`.
COMPILED = ["BoxConv>BoxConv2D", "BoxConv>SeparableBoxConv2D"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    built = model()
    for name in ("saved_model", "saved_model_portable"):
        tf_boxconv.export(built, folder / name, format=name)
    return built, folder


def test_native_saved_models_hold_the_compiled_ops(folders):
    built, folder = folders
    assert saved_model_graph.custom_ops(folder / "saved_model") == COMPILED
    run = saved_model(folder / "saved_model")
    for batch in (1, 3):
        assert (
            relative_error(run(images(batch)), built(images(batch))) < tolerances.EXPORT["float32"]
        )


def test_portable_saved_models_run_without_package_and_library(folders, tmp_path):
    built, folder = folders
    x = images(3)
    np.save(tmp_path / "x.npy", x)
    arguments = [folder / "saved_model_portable", tmp_path / "x.npy", tmp_path / "y.npy"]
    process = subprocess.run(
        [sys.executable, "-c", FOREIGN_PROCESS, *map(str, arguments)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    portable = np.load(tmp_path / "y.npy")
    assert (
        relative_error(portable, saved_model(folder / "saved_model")(x))
        < tolerances.EXPORT["float32"]
    )
    assert relative_error(portable, built(x)) < tolerances.EXPORT["float32"]


def test_native_and_portable_saved_models_have_the_same_signature(folders):
    _, folder = folders
    native, portable = (
        tf.saved_model.load(folder / name).signatures["serving_default"]
        for name in ("saved_model", "saved_model_portable")
    )
    assert native.structured_input_signature == portable.structured_input_signature
    assert native.structured_outputs == portable.structured_outputs


def test_matrices_are_constants_if_the_size_is_fixed(folders):
    _, folder = folders
    ops = saved_model_graph.op_types(folder / "saved_model_portable")
    assert not ops & MATRIX_OPS
    assert {"BatchMatMulV2", "Const"} <= ops
    constants = [
        tuple(dim.size for dim in node.attr["value"].tensor.tensor_shape.dim)
        for node in saved_model_graph.nodes(folder / "saved_model_portable")
        if node.op == "Const"
    ]
    assert (8, 3 * 20, 20) in constants and (8 * 3, 26, 26) in constants
    assert (24, 2 * 10, 20) in constants  # Stride 2.


def test_matrices_of_portable_layers_are_constants_too(tmp_path):
    layer = tf_boxconv.layers.BoxConv2D(2, implementation="portable")
    built = keras.Sequential([keras.Input((8, 8, 3), name="image"), layer])
    tf_boxconv.export(built, tmp_path / "portable", format="saved_model_portable")
    assert not saved_model_graph.op_types(tmp_path / "portable") & MATRIX_OPS
    assert layer.implementation == "portable" and "_boxes_for_call" not in vars(layer)


def test_a_dynamic_size_stays_dynamic(tmp_path):
    built = model(size=(None, None))
    tf_boxconv.export(built, tmp_path / "portable", format="saved_model_portable")
    assert not saved_model_graph.custom_ops(tmp_path / "portable")
    assert "Range" in saved_model_graph.op_types(tmp_path / "portable")
    run = saved_model(tmp_path / "portable")
    for size in ((20, 26), (7, 31)):
        x = images(2, size)
        assert relative_error(run(x), built(x)) < tolerances.EXPORT["float32"]


def test_input_shape_fixes_a_dynamic_size(tmp_path):
    built = model(size=(None, None))
    tf_boxconv.export(
        built, tmp_path / "fixed", "saved_model_portable", input_shape=(None, 20, 26, 3)
    )
    assert not saved_model_graph.op_types(tmp_path / "fixed") & MATRIX_OPS
    loaded = tf.saved_model.load(tmp_path / "fixed")
    specs = loaded.signatures["serving_default"].structured_input_signature[1]
    assert specs["image"].shape == [None, 20, 26, 3]
    assert (
        relative_error(saved_model(tmp_path / "fixed")(images()), built(images()))
        < tolerances.EXPORT["float32"]
    )


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.blocks = [tf_boxconv.layers.BoxConv2D(4), tf_boxconv.layers.BoxBottleneck(2)]

    def call(self, inputs):
        for block in self.blocks:
            inputs = block(inputs)
        return inputs


def test_a_subclassed_model_can_be_exported(tmp_path):
    built, x = Subclassed(), images()
    expected = built(x)
    tf_boxconv.export(built, tmp_path / "exported", "saved_model_portable")
    assert not saved_model_graph.custom_ops(tmp_path / "exported")
    loaded = tf.saved_model.load(tmp_path / "exported")
    assert relative_error(loaded.serve(x), expected) < tolerances.EXPORT["float32"]


def test_a_box_layer_that_was_never_built_is_ignored(tmp_path):
    built, x = Subclassed(), images()
    built.unused = tf_boxconv.layers.BoxConv2D(4)
    expected = built(x)
    tf_boxconv.export(built, tmp_path / "exported", "saved_model_portable")
    assert relative_error(tf.saved_model.load(tmp_path / "exported").serve(x), expected) < 1e-5


@pytest.mark.parametrize("format", ["saved_model", "saved_model_portable", "onnx", "litert"])
def test_augmentation_layers_do_nothing_in_an_export(tmp_path, format):
    """As in `predict`. Keras's own export of such a model flips images at random."""
    inputs = keras.Input((*SIZE, 3), name="image")
    augmented = keras.layers.Dropout(0.5)(keras.layers.RandomFlip("vertical")(inputs))
    model = keras.Model(inputs, tf_boxconv.layers.BoxConv2D(2)(augmented))
    path = tmp_path / {"onnx": "x.onnx", "litert": "x.tflite"}.get(format, "x")
    tf_boxconv.export(model, path, format)
    if not format.startswith("saved_model"):
        return  # these formats cannot hold random operations
    loaded, x = tf.saved_model.load(path), images(4)
    for _ in range(3):
        assert (
            relative_error(loaded.serve(x), model.predict(x, verbose=0))
            < tolerances.EXPORT["float32"]
        )


@pytest.mark.parametrize("kind", [list, np.array, tf.TensorShape])
def test_input_shape_may_be_of_several_types(tmp_path, kind):
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, tf_boxconv.layers.DepthwiseBoxConv2D(max_size=9)(inputs))
    tf_boxconv.export(model, tmp_path / "x", input_shape=kind([2, 5, 6, 3]))
    loaded = tf.saved_model.load(tmp_path / "x")
    assert loaded.serve(np.zeros((2, 5, 6, 3), np.float32)).shape == (2, 5, 6, 3)


@keras.saving.register_keras_serializable()
class TfFunctionModel(keras.Model):
    """A model whose `call` is a `tf.function` with control flow, which AutoGraph translates."""

    def __init__(self, **options):
        super().__init__(**options)
        self.box_conv = tf_boxconv.layers.BoxConv2D(4)

    @tf.function
    def call(self, x):
        if tf.reduce_sum(x) > 1e6:
            x = x * 0.0
        return self.box_conv(x)


def evaluated(model):
    model(images())


def called_symbolically(model):
    model(keras.Input((20, 26, 3)))


def traced_for_the_same_input(model):
    model(images())
    model.call.get_concrete_function(tf.TensorSpec([None, 20, 26, 3]))
    model(images(3))


@pytest.mark.parametrize(
    ("prepare", "input_shape", "format"),
    [
        (evaluated, None, "saved_model"),
        (evaluated, (None, 20, 26, 3), "saved_model_portable"),
        (called_symbolically, None, "saved_model_portable"),
        (called_symbolically, (None, 20, 26, 3), "saved_model"),
        (traced_for_the_same_input, None, "saved_model"),
        (traced_for_the_same_input, None, "saved_model_portable"),
        (traced_for_the_same_input, (None, 20, 26, 3), "saved_model_portable"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_model_whose_call_is_a_tf_function_can_be_exported(
    tmp_path, prepare, input_shape, format
):
    seed_weights(0)
    built = TfFunctionModel()
    prepare(built)
    tf_boxconv.export(built, tmp_path / "exported", format, input_shape=input_shape)
    custom = saved_model_graph.custom_ops(tmp_path / "exported")
    assert custom == (["BoxConv>SeparableBoxConv2D"] if format == "saved_model" else [])
    loaded = tf.saved_model.load(tmp_path / "exported")
    expected = built.box_conv(images())
    assert relative_error(loaded.serve(images()), expected) < tolerances.EXPORT["float32"]


def test_a_subclassed_model_must_have_been_called(tmp_path):
    built = TfFunctionModel()
    built.built = True
    for shape in (None, (None, 20, 26, 3)):
        with pytest.raises(ValueError, match=r"`model` must be called once before .*box_conv2d"):
            tf_boxconv.export(built, tmp_path / "exported", input_shape=shape)
    built = TfFunctionModel()
    built(images())
    built.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="The shape of the input is unknown: pass `input_shape`"):
        tf_boxconv.export(loaded, tmp_path / "exported")
    tf_boxconv.export(loaded, tmp_path / "exported", input_shape=(None, 20, 26, 3))
    exported = tf.saved_model.load(tmp_path / "exported")  # it keeps its variables alive
    assert (
        relative_error(exported.serve(images()), built.box_conv(images()))
        < tolerances.EXPORT["float32"]
    )


class CallsTracedFunction(keras.layers.Layer):
    """Calls a function that was traced before the export."""

    def build(self, input_shape):
        boxes = [[[-1.0, -1.0, 1.0, 1.0]]] * input_shape[-1]
        function = tf.function(lambda x: tf_boxconv.box_conv2d(x, boxes))
        self.traced = function.get_concrete_function(tf.TensorSpec([None, *input_shape[1:]]))

    def call(self, inputs):
        return tf.ensure_shape(self.traced(inputs), inputs.shape)


def test_a_model_with_a_function_traced_before_is_refused(tmp_path):
    inputs = keras.Input((8, 8, 3))
    built = keras.Model(inputs, CallsTracedFunction()(inputs))
    with pytest.raises(
        ValueError, match=r"`model` calls a concrete function that was traced.*BoxConv>"
    ):
        tf_boxconv.export(built, tmp_path / "exported", "saved_model_portable")
    assert not list(tmp_path.iterdir())


def test_constant_boxes_of_the_operator_become_constant_matrices(tmp_path):
    inputs = keras.Input((8, 8, 3))
    boxes = [[[-1.0, -1.5, 1.0, 1.0]]] * 3
    outputs = keras.layers.Lambda(lambda x: tf_boxconv.box_conv2d(x, boxes))(inputs)
    built, x = keras.Model(inputs, outputs), images(2, (8, 8))
    tf_boxconv.export(built, tmp_path / "exported", "saved_model_portable")
    ops = saved_model_graph.op_types(tmp_path / "exported")
    assert not ops & MATRIX_OPS and "BoxConv>BoxConv2D" not in ops
    loaded = tf.saved_model.load(tmp_path / "exported")
    assert relative_error(loaded.serve(x), built(x)) < tolerances.EXPORT["float32"]


def test_mixed_precision_exports_compute_in_float16(tmp_path):
    seed_weights(0)
    inputs = keras.Input((9, 9, 3))
    outputs = tf_boxconv.layers.BoxConv2D(4, dtype="mixed_float16")(inputs)
    built = keras.Model(inputs, outputs)
    x = images(2, (9, 9))
    tf_boxconv.export(built, tmp_path / "exported", "saved_model_portable")
    loaded = tf.saved_model.load(tmp_path / "exported")
    answer = loaded.serve(x)
    assert answer.dtype == tf.float16
    assert relative_error(answer, built(x)) < tolerances.EXPORT["float16"]


def test_exporting_leaves_the_model_native(folders):
    built, _ = folders
    graph = tf.function(built).get_concrete_function(tf.TensorSpec([1, 20, 26, 3])).graph
    assert {op.type for op in graph.get_operations()} >= set(COMPILED)


def test_import_of_the_package_imports_no_converter():
    code = (
        "import sys, tf_boxconv\n"
        "heavy = {'onnx', 'tf2onnx', 'openvino', 'ai_edge_litert', 'tf_boxconv.exporting.litert'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
