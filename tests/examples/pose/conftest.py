"""A fixture for trainings of a few steps."""

import pytest


@pytest.fixture
def eager():
    """Runs `tf.function`s eagerly. Tracing a network takes longer than a few of its steps."""
    import tensorflow as tf  # only here: some tests of this folder run on other backends

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
