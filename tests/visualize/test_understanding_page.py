"""Runs the code of docs/understanding.md, and checks what the page says about the result."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

PAGE = Path(__file__).parents[2] / "docs" / "understanding.md"


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow",
    reason="the page shows the result of the random numbers of TensorFlow",
)
def test_the_code_of_the_page_learns_the_two_rectangles(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(block, names)
    for name in ("before_after.png", "histograms.png", "filter.png", "field.png"):
        assert np.ptp(np.asarray(Image.open(tmp_path / name).convert("L"))) > 100
    assert Image.open(tmp_path / "boxes.gif").n_frames == 1 + 32 // 8

    learned = names["visualize"].boxes_by_layer(names["model"])["context"][0]
    weights = np.abs(names["visualize"].mixing_weights(names["boxes"])[:, 0])
    heavy = learned[weights > 0.5 * weights.max()]
    above = (heavy[:, 0] + heavy[:, 2]) / 2 < 0
    assert above.any() and not above.all()
    for boxes, rectangle in zip((heavy[above], heavy[~above]), names["rectangles"][0], strict=True):
        # The boxes have the width of their rectangle and together its height, up to a pixel.
        together = [boxes[:, 0].min(), boxes[:, 1], boxes[:, 2].max(), boxes[:, 3]]
        for edges, expected in zip(together, rectangle, strict=True):
            np.testing.assert_allclose(edges, expected, atol=1)
