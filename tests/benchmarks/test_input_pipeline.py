"""`benchmarks.input_pipeline` on small images."""

import pytest

from benchmarks import input_pipeline
from benchmarks.tables import console


@pytest.mark.long
def test_the_pipeline_and_a_network_are_measured():
    size = input_pipeline.Size(image_size=16, batch=2)
    results = input_pipeline.measure(size, ("full_resolution",), rounds=2)
    assert list(results) == [input_pipeline.PIPELINE, "full_resolution"]
    for seconds in results.values():
        assert len(seconds) == 2 and min(seconds) > 0
    with console.capture() as capture:
        console.print(input_pipeline.table_of(results, size, threads=1))
    text = capture.get()
    assert "images of 16 pixels, batches of 2" in text and "full_resolution" in text
