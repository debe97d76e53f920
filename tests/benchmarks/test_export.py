"""`benchmarks.export` and `benchmarks.quantized_pose` on small networks."""

import json

import numpy as np
import pytest

from benchmarks import export, machine, quantized_pose
from benchmarks.tables import console
from examples.pose import models
from examples.pose.datasets.in_memory import Photographs
from examples.pose.datasets.skeletons import LSP_SKELETON
from tests.examples.pose.tiny_run import IMAGE_SIZE, tiny_model


@pytest.mark.long
def test_every_format_is_measured_or_named_as_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "DEFAULT", "full_resolution")
    results, missing = export.measure(None, image_size=16, width=4, rounds=2, threads=1)
    assert {*results, *missing} == set(export.format_names()) and not set(results) & set(missing)
    assert {"saved_model", "saved_model_portable"} <= set(results)
    for name, result in results.items():
        assert result.error < (0.5 if name == export.INT8 else 1e-4)
        assert result.bytes > 1000 and len(result.seconds) == 2 and min(result.seconds) > 0

    with console.capture() as capture:
        console.print(export.table_of(results, 1))
    assert "saved_model_portable" in capture.get()
    export.write_json(
        tmp_path / "new" / "export.json", machine.describe(), results, missing, threads=1
    )
    content = json.loads((tmp_path / "new" / "export.json").read_text())
    assert len(content["formats"]["saved_model"]["seconds"]) == 2


def test_quantized_models_are_measured():
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is missing")
    rng = np.random.default_rng(0)
    photographs = Photographs(
        images=rng.integers(0, 256, (6, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8),
        joints=rng.uniform(0, IMAGE_SIZE, (6, 14, 2)).astype(np.float32),
        labelled=np.ones((6, 14), bool),
        affines=np.tile(np.eye(2, 3, dtype=np.float32), (6, 1, 1)),
    )
    found = quantized_pose.measure(tiny_model(), photographs, photographs, LSP_SKELETON)
    assert list(found) == ["Keras", "LiteRT float32", "LiteRT int8", "LiteRT uint8"]
    assert found["LiteRT float32"][0] == found["Keras"][0]
    assert found["LiteRT int8"][1] < found["LiteRT float32"][1]
