"""Writes curves of a training run, such as its loss, and pictures for TensorBoard."""

import contextlib
import pathlib
from collections.abc import Iterator

import numpy as np


class CurveWriter:
    """Writes the curves of a training run for TensorBoard.

    Args:
        folder: The folder to write to. It is created with the first point.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._writer = None

    def add(self, step: int, **values: float) -> None:
        """Adds a point at `step` to curves: `values` maps the name of a curve to its value.

        Raises:
            OSError: The points cannot be written.
        """
        import tensorflow as tf

        with self._writing(step):
            for name, value in values.items():
                tf.summary.scalar(name, value)

    def add_picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """Adds a picture, uint8 `[height, width, 3]`.

        Raises:
            OSError: It cannot be written.
        """
        import tensorflow as tf

        with self._writing(step):
            tf.summary.image(name, picture[np.newaxis])

    @contextlib.contextmanager
    def _writing(self, step: int) -> Iterator[None]:
        import tensorflow as tf

        with disk_errors(self._folder):
            self._writer = self._writer or tf.summary.create_file_writer(str(self._folder))
            with self._writer.as_default(step=step):
                yield
            self._writer.flush()


@contextlib.contextmanager
def disk_errors(folder: pathlib.Path) -> Iterator[None]:
    """Turns errors of TensorFlow's summary writers into `OSError`.

    Args:
        folder: The folder that is written to, for the message.
    """
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        reason = error.message.partition("\n")[0].rpartition("; ")[2]
        raise OSError(None, reason, str(folder)) from error
