"""The SavedModel in C++, loaded by TensorFlow ModelServer's class and by the C API."""

import numpy as np
import pytest

from examples.serving import native_loader, request_files, soak

# Compiling the programs takes a minute.
pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def requests(predictor, version, photos, tmp_path_factory):
    """The folder of request files, and the numbers of valid and of invalid requests."""
    valid = dict(request_files.valid_requests(predictor, photos))
    invalid = dict(request_files.invalid_requests(photos[0]))
    folder = tmp_path_factory.mktemp("requests")
    request_files.write(folder, version, valid | invalid)
    return folder, len(valid), len(invalid)


@pytest.mark.parametrize("api", native_loader.APIS)
def test_answers_equal_keras_on_several_threads(programs, version, requests, api):
    folder, valid, invalid = requests
    report = native_loader.run(programs[api], version, folder, threads=4)
    assert report["problems"] == []
    assert (report["answered"], report["refused"]) == (4 * valid, 4 * invalid)
    assert report["wrongly_answered"] == report["wrongly_refused"] == 0
    assert report["largest_difference"] <= native_loader.TOLERANCE == 1e-5


@pytest.mark.parametrize("api", native_loader.APIS)
def test_memory_does_not_grow_under_load(programs, version, requests, api):
    """Runs for seconds; the soak test runs for minutes."""
    report = native_loader.run(programs[api], version, requests[0], threads=8, seconds=4)
    assert report["problems"] == []
    assert report["answered"] and report["refused"]
    assert report["memory_mib"][-1] < 1.2 * report["memory_mib"][0]
    assert f"| requests | {report['requests']:,} |" in soak.table(report)


def test_wrong_answers_and_refusals_are_found(programs, version, predictor, photos, tmp_path):
    """Expected answers that are off by 1e-3, NaN or of another shape, and wrong expectations."""
    (name, request), *_ = request_files.valid_requests(predictor, photos[:1])
    joints, scores = request.outputs["joints"], request.outputs["scores"]
    off = joints.copy()
    off[0, 3, 1] += 1e-4 * joints.max() + 1e-3
    nan = np.where(np.arange(14) == 5, np.nan, scores).astype(np.float32)
    inputs = request.inputs
    cases = {
        name: request,
        "off": request_files.Request(request.signature, inputs, {"joints": off, "scores": scores}),
        "nan": request_files.Request(request.signature, inputs, {"joints": joints, "scores": nan}),
        "shape": request_files.Request(request.signature, inputs, {"joints": joints[0]}),
        "no_such_output": request_files.Request(request.signature, inputs, {"boxes": joints}),
        "not_refused": request_files.Request(request.signature, inputs),
        "no_such_signature": request_files.Request("nowhere", inputs, request.outputs),
        "no_such_input": request_files.Request(request.signature, {"x": joints}, request.outputs),
    }
    request_files.write(tmp_path, version, cases)
    report = native_loader.run(programs["saved_model"], version, tmp_path, threads=1)
    counts = [report[k] for k in ("answered", "refused", "wrongly_answered", "wrongly_refused")]
    assert counts == [1, 0, 5, 2]
    assert {problem.split(":")[0] for problem in report["problems"]} == set(cases) - {name}


@pytest.mark.parametrize("api", native_loader.APIS)
def test_the_error_names_the_missing_model_or_library(
    programs, version, requests, tmp_path, monkeypatch, api
):
    program, folder = programs[api], requests[0]
    with pytest.raises(native_loader.LoaderError, match=r"exit code 2: error: .*SavedModel"):
        native_loader.run(program, tmp_path / "nothing", folder, threads=1)
    monkeypatch.setattr("tf_boxconv.library_path", lambda: "/no/library.so")
    with pytest.raises(native_loader.LoaderError, match=r"/no/library.so"):
        native_loader.run(program, version, folder, threads=1)
