"""Fixtures: trainings of a few steps, and a disk that becomes full."""

import errno
import os

import pytest


@pytest.fixture
def eager():
    """Runs `tf.function`s eagerly. Tracing a network takes longer than a few of its steps."""
    import tensorflow as tf  # only here: some tests of this folder run on other backends

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def full_at_the_second_write(monkeypatch):
    """Makes the second `os.pwrite` fail, by which `GrowingJson` writes all items but the first."""
    real, calls = os.pwrite, []

    def write(handle, data, offset):
        calls.append(offset)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle, data, offset)

    monkeypatch.setattr(os, "pwrite", write)
