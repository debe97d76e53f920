"""Networks as functions for prediction, on each backend."""

import numpy as np

from examples.pose import models
from examples.pose.inference import backends


def test_compiled_predicts_with_the_current_weights():
    model = models.build("light", image_size=32, width=8, depth=1)
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    predict = backends.compiled(model)

    # It normalises by running statistics, not those of the batch, and takes every batch size.
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(np.asarray(predict(images)), expected, atol=1e-5)
    np.testing.assert_allclose(np.asarray(predict(images[:1])), expected[:1], atol=1e-5)

    bias = model.layers[-2].weights[-1]
    assert bias.path.endswith("heatmaps/bias")
    bias.assign(bias + 1.0)
    np.testing.assert_allclose(np.asarray(predict(images)), expected + 1.0, atol=1e-5)
