"""Tests of `export`: signatures, answers, the check of the export, and overwriting."""

import io
import resource
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tf_boxconv
from examples.pose import evaluate, export, predict
from examples.pose.cli import interruption
from examples.pose.images import encoded_images, geometry
from examples.pose.images.image_files import decode_image
from examples.pose.inference import exporter
from examples.pose.inference.predictor import load_predictor, load_run
from examples.pose.models import heatmaps
from examples.pose.training.run_folder import RunFolderError
from examples.serving import export as serving_export
from tests.examples.commands import outcome, refused
from tests.examples.pose.tiny_run import IMAGE_SIZE, write_tiny_run
from tf_boxconv.exporting import saved_model_graph


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    return write_tiny_run(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="module")
def predictor(run_folder):
    return load_run(run_folder)


@pytest.fixture(scope="module")
def exported(predictor, tmp_path_factory):
    """The folder of a SavedModel that passed the check of `export`."""
    output = tmp_path_factory.mktemp("exported") / "pose" / "1"
    differences = exporter.export(predictor, output)
    assert set(differences) == {"joints", "scores"}
    return output


@pytest.fixture(scope="module")
def signatures(exported):
    loaded = tf.saved_model.load(str(exported))
    yield loaded.signatures
    del loaded


def pictures(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, size=(*shape, 3), dtype=np.uint8)


def encode(image, file_format="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, file_format)
    return buffer.getvalue()


def test_signatures(signatures):
    images, encoded = signatures["serving_default"], signatures["serving_encoded"]
    assert images.structured_input_signature[1] == {
        "images": tf.TensorSpec([None, None, None, 3], tf.uint8, "images")
    }
    assert encoded.structured_input_signature[1] == {
        "image_bytes": tf.TensorSpec([None], tf.string, "image_bytes")
    }
    for signature in (images, encoded):
        outputs = signature.structured_outputs
        assert outputs["joints"].shape.as_list() == [None, 14, 2]
        assert outputs["scores"].shape.as_list() == [None, 14]
        assert {tensor.dtype for tensor in outputs.values()} == {tf.float32}


def test_portable_needs_no_library(predictor, exported, tmp_path):
    """`export` itself compares it with the native model, in a process without the library."""
    exporter.export(predictor.with_portable(True), tmp_path / "portable")
    assert saved_model_graph.custom_ops(tmp_path / "portable") == []
    assert saved_model_graph.custom_ops(exported) == ["BoxConv>BoxConv2D"]


def test_equals_the_keras_model_step_by_step(predictor, signatures):
    images = pictures(2, 40, 70)
    answer = signatures["serving_default"](images=tf.constant(images))
    order = list(predictor.skeleton.flip_order)
    for index, image in enumerate(images):
        square, affine = geometry.letterbox(tf.constant(image), IMAGE_SIZE)
        both = np.stack([square, square[:, ::-1]])
        logits, mirrored = predictor.model.predict(both, verbose=0)
        # By default with the flip test.
        logits = (logits + mirrored[:, ::-1][..., order]) / 2
        joints, scores = heatmaps.decode(tf.constant(logits[np.newaxis]))
        # The affine maps the answer, in pixels of the picture, to pixels of the square.
        affine = affine.numpy()
        square_joints = answer["joints"][index].numpy() @ affine[:, :2].T + affine[:, 2]
        np.testing.assert_allclose(square_joints, joints[0], atol=1e-3)
        np.testing.assert_allclose(answer["scores"][index], scores[0], atol=1e-5)


def test_runs_without_the_python_package(predictor, exported):
    """The model runs in a process in which `tf_boxconv` cannot be imported."""
    image = pictures(1, 33, 21)
    script = """
import sys
sys.modules["tf_boxconv"] = sys.modules["keras"] = None
import numpy as np
import tensorflow as tf
tf.load_op_library(sys.argv[1])
image = np.frombuffer(sys.stdin.buffer.read(), np.uint8).reshape(1, 33, 21, 3)
answer = tf.saved_model.load(sys.argv[2]).signatures["serving_default"](images=image)
print("joints", *answer["joints"].numpy().ravel())
"""
    process = subprocess.run(
        [sys.executable, "-c", script, tf_boxconv.library_path(), str(exported)],
        input=image.tobytes(),
        capture_output=True,
        cwd=exported,
        check=False,
    )
    assert process.returncode == 0, process.stderr.decode()
    lines = process.stdout.decode().splitlines()
    joints = next(line.split()[1:] for line in lines if line.startswith("joints"))
    expected, _ = predictor.predict(image[0])
    np.testing.assert_allclose(np.array(joints, float), expected.ravel(), atol=1e-2)


def test_encoded_pictures_of_different_sizes(signatures):
    images = [pictures(30, 50), pictures(64, 20), pictures(1, 1)]
    together = signatures["serving_encoded"](
        image_bytes=tf.constant([encode(image) for image in images])
    )
    for index, image in enumerate(images):
        alone = signatures["serving_default"](images=tf.constant(image[np.newaxis]))
        for name in ("joints", "scores"):
            np.testing.assert_allclose(together[name][index], alone[name][0], atol=1e-3)


def test_encoded_jpeg_and_greyscale(signatures):
    jpeg = encode(pictures(30, 50), "JPEG")
    grey = encode(pictures(30, 50)[..., 0])
    answer = signatures["serving_encoded"](image_bytes=tf.constant([jpeg, grey]))
    decoded = np.stack([decode_image(data, "file") for data in (jpeg, grey)])
    expected = signatures["serving_default"](images=tf.constant(decoded))
    np.testing.assert_allclose(answer["joints"], expected["joints"], atol=1e-3)


def test_joints_scale_with_the_picture(signatures):
    """In an enlarged picture, joints are twice as far from the corner of the picture."""
    small = np.kron(pictures(6, 8), np.ones((8, 8, 1), np.uint8))
    large = np.kron(small, np.ones((2, 2, 1), np.uint8))
    run = signatures["serving_default"]
    small_joints = run(images=tf.constant(small[np.newaxis]))["joints"]
    large_joints = run(images=tf.constant(large[np.newaxis]))["joints"]
    close = np.abs(large_joints + 0.5 - 2 * (small_joints + 0.5)).max(axis=-1) < 4
    assert close.mean() > 0.8  # Resampling may move a random network's peak.


@pytest.mark.parametrize("shape", [(0, 32, 32), (0, 5, 9), (0, 1, 1)])
def test_an_empty_batch(signatures, shape):
    answer = signatures["serving_default"](images=tf.zeros([*shape, 3], tf.uint8))
    assert answer["joints"].shape == [0, 14, 2] and answer["scores"].shape == [0, 14]


def test_an_empty_batch_of_files(signatures):
    answer = signatures["serving_encoded"](image_bytes=tf.zeros([0], tf.string))
    assert answer["joints"].shape == [0, 14, 2] and answer["scores"].shape == [0, 14]


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 500), (1, 700, 1)])
def test_any_size(signatures, shape):
    answer = signatures["serving_default"](images=tf.constant(pictures(*shape)))
    assert np.isfinite(answer["joints"]).all() and np.isfinite(answer["scores"]).all()


@pytest.mark.parametrize("shape", [(1, 0, 0), (2, 0, 5), (1, 5, 0)])
def test_pictures_without_pixels(signatures, shape):
    with pytest.raises(tf.errors.InvalidArgumentError, match="height and a width of at least 1"):
        signatures["serving_default"](images=tf.zeros([*shape, 3], tf.uint8))


@pytest.mark.parametrize(
    "images",
    [
        tf.zeros([32, 32, 3], tf.uint8),
        tf.zeros([1, 32, 32, 4], tf.uint8),
        tf.zeros([1, 32, 32, 3], tf.float32),
        tf.constant(["text"]),
    ],
    ids=["rank", "channels", "dtype", "string"],
)
def test_malformed_requests(signatures, images):
    with pytest.raises((tf.errors.InvalidArgumentError, TypeError)):
        signatures["serving_default"](images=images)


def test_damaged_files(signatures):
    good = encode(pictures(64, 64), "JPEG")
    for bad in (good[: len(good) // 2], good[:20], b"", b"no picture"):
        with pytest.raises(tf.errors.InvalidArgumentError):
            signatures["serving_encoded"](image_bytes=tf.constant([good, bad]))
    # The model still answers valid requests.
    answer = signatures["serving_encoded"](image_bytes=tf.constant([good]))
    assert np.isfinite(answer["joints"]).all()


def test_pictures_that_would_fill_memory(run_folder, monkeypatch):
    monkeypatch.setattr(encoded_images, "MAX_PIXELS", 1000)
    predict_encoded = load_run(run_folder).predict_encoded
    predict_encoded(tf.constant([encode(pictures(20, 50))]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 1000 pixels, got one"):
        predict_encoded(tf.constant([encode(pictures(20, 51))]))


def test_a_run_and_its_export_give_the_same_joints(run_folder, exported):
    image = pictures(45, 31)
    run, saved_model = load_predictor(run_folder), load_predictor(exported)
    assert run.skeleton == saved_model.skeleton
    assert run.settings == saved_model.settings == {"flip_test": True, "decoding": "quarter"}
    for answer, value in zip(saved_model.predict(image), run.predict(image), strict=True):
        np.testing.assert_allclose(answer, value, atol=1e-2)
    without = load_predictor(run_folder, flip_test=False).predict(image)
    assert np.abs(without[0] - run.predict(image)[0]).max() > 1


def test_a_saved_model_has_settings_that_cannot_be_changed(run_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(exporter, "check", lambda *_: {"joints": 0.0, "scores": 0.0})
    arguments = ["--run", str(run_folder), "--output", str(tmp_path / "1")]
    arguments += ["--format", "saved_model_portable"]
    export.main([*arguments, "--no-flip_test", "--decoding", "dark"])
    loaded = load_predictor(tmp_path / "1", decoding="dark", flip_test=False)
    assert loaded.settings == {"flip_test": False, "decoding": "dark"}
    image = pictures(45, 31)
    expected, _ = load_run(run_folder, flip_test=False, decoding="dark").predict(image)
    np.testing.assert_allclose(loaded.predict(image)[0], expected, atol=1e-2)
    with pytest.raises(RunFolderError, match=r"`decoding` \(dark\).*Got 'quarter'"):
        load_predictor(tmp_path / "1", decoding="quarter")
    with pytest.raises(RunFolderError, match=r"`flip_test` \(False\).*Got True"):
        load_predictor(tmp_path / "1", flip_test=True)


@pytest.mark.parametrize("command", [predict, evaluate, export, serving_export])
def test_every_command_states_the_same_defaults(command, capsys):
    with pytest.raises(SystemExit):
        command.main(["--help"])
    words = " ".join(capsys.readouterr().out.split())
    assert (
        "--flip_test average over each picture and its mirror image: more accurate, at twice the "
        "cost (default) --no_flip_test, --no-flip_test use each picture only as it is --decoding "
        "{peak,quarter,dark} how joints are read from the heatmaps (default: quarter)"
    ) in words


def test_flip_test_makes_the_model_symmetric(run_folder):
    """Joints found in the mirror image are the mirrored joints, with left and right swapped."""
    predictor = load_run(run_folder, flip_test=True)
    image = pictures(IMAGE_SIZE, IMAGE_SIZE)
    joints, scores = predictor.predict(image)
    mirrored, mirrored_scores = predictor.predict(image[:, ::-1])
    order = list(predictor.skeleton.flip_order)
    expected = np.array([IMAGE_SIZE - 1, 0]) + np.array([-1, 1]) * mirrored[order]
    np.testing.assert_allclose(joints, expected, atol=1e-3)
    np.testing.assert_allclose(scores, mirrored_scores[order], atol=1e-5)


def test_check_finds_other_weights(exported, run_folder):
    other = load_run(run_folder)
    other.model.set_weights([weight + 0.1 for weight in other.model.get_weights()])
    with pytest.raises(exporter.ExportError, match=r"reloaded model's (joints|scores) differ"):
        exporter.check(other, exported)


def test_check_reports_errors_of_the_fresh_process(predictor, tmp_path):
    with pytest.raises(exporter.ExportError, match="fresh process"):
        exporter.check(predictor, tmp_path / "nothing")


def test_a_failed_check_leaves_nothing(predictor, tmp_path, monkeypatch):
    def fail(*_):
        raise exporter.ExportError("differs")

    monkeypatch.setattr(exporter, "check", fail)
    with pytest.raises(exporter.ExportError, match="differs"):
        exporter.export(predictor, tmp_path / "pose" / "1")
    assert not list(tmp_path.iterdir())


def test_overwrites_only_a_saved_model_and_only_when_told(predictor, tmp_path, monkeypatch):
    monkeypatch.setattr(exporter, "check", lambda *_: {"joints": 0.0, "scores": 0.0})
    output = tmp_path / "1"
    output.mkdir()
    exporter.export(predictor, output)  # An empty folder is free.
    with pytest.raises(exporter.ExportError, match="--overwrite"):
        exporter.export(predictor, output)
    (output / "mine").touch()
    with pytest.raises(exporter.ExportError, match="other files, which would be lost: 'mine'"):
        exporter.export(predictor, output, overwrite=True)
    (output / "mine").unlink()
    exporter.export(predictor, output, overwrite=True)
    assert (output / "saved_model.pb").exists()
    predictor.model.export(tmp_path / "trained", verbose=False)
    with pytest.raises(exporter.ExportError, match="not a SavedModel that this command wrote"):
        exporter.export(predictor, tmp_path / "trained", overwrite=True)
    shutil.rmtree(tmp_path / "trained")
    (output / "saved_model.pb").unlink()
    with pytest.raises(exporter.ExportError, match="not a SavedModel"):
        exporter.export(predictor, output, overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["1"]


def test_a_full_disk_or_an_interruption_leaves_the_last_export(predictor, tmp_path, monkeypatch):
    monkeypatch.setattr(exporter, "check", lambda *_: {"joints": 0.0, "scores": 0.0})
    output = tmp_path / "1"
    exporter.export(predictor, output)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(exporter.ExportError, match=r"^'.*' cannot be written: File too large"):
            exporter.export(predictor, output, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(exporter, "check", interrupt)
    with pytest.raises(KeyboardInterrupt):
        exporter.export(predictor, output, overwrite=True)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_command(run_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(exporter, "check", lambda *_: {"joints": 1.5e-5, "scores": 0.0})
    monkeypatch.chdir(tmp_path)
    arguments = ["--run", str(run_folder), "--output", "pose/1"]
    export.main(arguments)
    assert (tmp_path / "pose/1/saved_model.pb").exists()
    assert "1.5e-05 pixels" in capsys.readouterr().out.replace("\n", " ")
    for bad_arguments, message in [
        (arguments, "holds a SavedModel already"),
        (["--run", "nowhere", "--output", "pose/2"], "nowhere"),
    ]:
        assert message in refused(export.main, *bad_arguments)
    assert not (tmp_path / "pose/2").exists()

    def interrupt(*_):
        raise interruption.Stopped(signal.SIGINT)

    monkeypatch.setattr(exporter, "check", interrupt)
    ended = outcome(export.main, *arguments, "--overwrite")
    assert ended == (130, "stopped. Nothing was written.")


def test_the_error_for_another_backend_names_tensorflow(run_folder, monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    with pytest.raises(RunFolderError, match=r"KERAS_BACKEND=tensorflow.*got 'jax'"):
        load_run(run_folder)
