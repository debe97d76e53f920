"""Exported versions: numbering, warm-up requests, and errors that leave nothing behind."""

import subprocess
import sys

import pytest
import tensorflow as tf

from examples.pose.inference import exporter
from examples.serving import export, serving_api, warmup
from tests.examples.commands import refused


def read_warmup(version):
    log_pb2 = serving_api.load("prediction_log_pb2")[0]
    records = tf.data.TFRecordDataset(str(version / warmup.WARMUP_FILE))
    return [log_pb2.PredictionLog.FromString(record.numpy()) for record in records]


def test_warmup_requests_run_on_the_exported_model(version):
    """The server calls the signature that each request names."""
    logs = read_warmup(version)
    loaded = tf.saved_model.load(str(version))
    assert len(logs) == 1 + 2 * len(export.WARMUP_SIZES)
    for log in logs:
        request = log.predict_log.request
        assert request.model_spec.name == "pose"
        inputs = {k: tf.constant(tf.make_ndarray(v)) for k, v in request.inputs.items()}
        answer = loaded.signatures[request.model_spec.signature_name](**inputs)
        assert answer["joints"].shape == [1, 14, 2]
    assert {log.predict_log.request.model_spec.signature_name for log in logs} == set(
        loaded.signatures
    )


def test_a_new_version_gets_the_next_number(tmp_path):
    model = tmp_path / "pose"
    assert export.next_version(model) == model / "1"
    for name in ("1", "2", "10", ".11-scratch", "notes"):
        (model / name).mkdir(parents=True)
    assert export.next_version(model) == model / "11"


def test_nothing_half_written_gets_a_version(predictor, tmp_path, monkeypatch):
    monkeypatch.setattr(exporter, "check", lambda *_: {"joints": 0.0, "scores": 0.0})

    def fail(*_):
        assert not any(path.name.isdecimal() for path in (tmp_path / "pose").iterdir())
        raise serving_api.ServingApiError("not installed")

    monkeypatch.setattr(warmup, "write_warmup", fail)
    with pytest.raises(serving_api.ServingApiError):
        export.export_version(predictor, tmp_path / "pose")
    assert not list(tmp_path.iterdir())


def test_the_command_writes_one_version_after_another(run_folder, tmp_path, monkeypatch, capsys):
    pytest.importorskip("tensorflow_serving.apis")
    monkeypatch.setattr(exporter, "check", lambda *_: {"joints": 0.0, "scores": 0.0})
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    for number, models in (("1", str(tmp_path)), ("2", f"~/{tmp_path.name}")):
        export.main(["--run", str(run_folder), "--models", models])
        assert str(tmp_path / "pose" / number) in capsys.readouterr().out
        assert (tmp_path / "pose" / number / warmup.WARMUP_FILE).is_file()
    assert "nowhere" in refused(export.main, "--run", "nowhere", "--models", tmp_path)


def test_the_error_about_missing_protocol_buffers_says_how_to_install_them():
    code = (
        "import sys; sys.modules['tensorflow_serving'] = None\n"
        "from examples.serving import serving_api\n"
        "serving_api.load('predict_pb2')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert 'pip install --no-deps "tensorflow-serving-api' in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["", " ", ".", "..", "a/b", "/abs"])
def test_bad_names_of_models_are_refused(run_folder, tmp_path, capsys, name):
    with pytest.raises(SystemExit) as raised:
        export.main(["--run", str(run_folder), "--models", str(tmp_path), "--name", name])
    assert raised.value.code == 2 and "--name" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_of_another_machine_is_refused(run_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        export.main(["--run", str(run_folder), "--models", "gs://bucket/models"])
    assert "--models must be a folder of this machine" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("models", ["", "/proc/models"])
def test_a_folder_that_cannot_be_written_is_refused(run_folder, models):
    assert "--models" in refused(export.main, "--run", run_folder, "--models", models)


def test_a_file_in_place_of_the_folder_is_refused(run_folder, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "file" in refused(export.main, "--run", run_folder, "--models", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
