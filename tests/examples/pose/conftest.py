"""A fixture for trainings of a few steps."""

import pytest
import tensorflow as tf


@pytest.fixture
def eager():
    """Runs `tf.function`s eagerly. Tracing a network takes longer than a few of its steps."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
