"""Writes the curves of a training run, such as its loss, for TensorBoard."""

import pathlib


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

        try:
            self._writer = self._writer or tf.summary.create_file_writer(str(self._folder))
            with self._writer.as_default(step=step):
                for name, value in values.items():
                    tf.summary.scalar(name, value)
            self._writer.flush()
        except tf.errors.OpError as error:
            reason = error.message.partition("\n")[0].rpartition("; ")[2]
            raise OSError(None, reason, str(self._folder)) from error
