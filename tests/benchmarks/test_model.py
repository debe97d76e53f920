"""`benchmarks.model` on small networks."""

import json

import pytest

from benchmarks import machine, model
from benchmarks.tables import console
from examples.pose import models


@pytest.mark.long
def test_the_box_network_and_its_twin_are_measured(tmp_path):
    settings = (model.Setting(False, 1), model.Setting(True, 2))
    results = model.measure(
        [3], image_size=16, width=4, rounds=2, settings=settings, model="full_resolution"
    )
    assert list(results) == [model.BOXES, "depthwise 3x3"]
    boxes, twin = results.values()
    assert (
        boxes.parameters == models.build("full_resolution", image_size=16, width=4).count_params()
    )
    assert boxes.parameters < twin.parameters
    for result in results.values():
        assert list(result.seconds) == list(settings)
        for setting in settings:
            assert len(result.seconds[setting]) == 2 and min(result.seconds[setting]) > 0
            assert result.images_per_second(setting).median > 0

    with console.capture() as capture:
        console.print(model.table_of(results, 1))
    text = capture.get()
    for part in ("boxes", "depthwise 3x3", "training, batch 2", f"{twin.parameters:,}"):
        assert part in text

    model.write_json(tmp_path / "new" / "model.json", machine.describe(), results, threads=1)
    content = json.loads((tmp_path / "new" / "model.json").read_text())
    assert len(content["models"]["boxes"]["seconds"]["training, batch 2"]) == 2
