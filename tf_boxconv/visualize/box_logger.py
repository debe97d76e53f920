"""`BoxLogger`: a callback that logs boxes to TensorBoard and animates them."""

from __future__ import annotations

import collections
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from tf_boxconv.description import box_layers
from tf_boxconv.exporting import output
from tf_boxconv.layers.base_box_conv import BaseBoxConv2D
from tf_boxconv.ops.arguments import standardize_count
from tf_boxconv.visualize import box_drawing, drawing
from tf_boxconv.visualize.kernels import box_offsets, box_sizes, boxes_array
from tf_boxconv.visualize.layer_names import boxes_by_layer, named_box_layers

# More than `draw_boxes` draws: boxes whose weights change should not come and go.
_BOXES_PER_PANEL = 40
_FRAME_MILLISECONDS = 200
_LAST_FRAME_MILLISECONDS = 2000


class BoxLogger(keras.callbacks.Callback):
    """Callback to log a model's boxes to TensorBoard and to write an animation of them.

    At the end of each epoch, TensorBoard receives a picture of the boxes of each layer (see
    `draw_boxes`), and histograms of their heights, widths and centres, in pixels.

    After `fit`, the attribute `initial_boxes` has the boxes of all layers as they were when `fit`
    began, in the form that `draw_boxes` takes. It needs none of the arguments.

    Args:
        log_dir: Folder for the logs of TensorBoard. `None` disables them. Needs TensorFlow, on
            every backend of Keras.
        animation: Path of a `.gif` file, written at the end of training. `None` disables it.
        layers: Names of the box layers to show. The name of a nested layer includes those of the
            layers around it, like `"block2/box_conv"`; the last part is enough if it is unique.
            `None` shows all layers in TensorBoard, and in the animation `columns * rows` layers
            from all parts of the model.
        every: int, the number of batches from one frame of the animation to the next. `None` makes
            one frame per epoch. The first frame shows the boxes before training.
        columns: int, the number of layers in a row of the animation.
        rows: int, the number of rows in the animation.
        first_batch: int, the number of batches that the model was trained on before. The titles of
            the frames count from it.

    Raises:
        ValueError: If `animation` does not end in `.gif`, `layers` is empty or a string, or
            `every`, `columns` or `rows` is no positive integer. `fit` raises it if `layers` has
            unknown names or the model has no box layers.
        OSError: `fit` raises it if `animation` cannot be written.

    Example:
    >>> logger = tf_boxconv.visualize.BoxLogger(log_dir="logs", animation="boxes.gif", every=100)
    >>> model.fit(dataset, epochs=10, callbacks=[logger])  # doctest: +SKIP
    >>> figure = tf_boxconv.visualize.draw_boxes(
    ...     model, initial_boxes=logger.initial_boxes
    ... )  # doctest: +SKIP
    """

    def __init__(
        self,
        log_dir: str | os.PathLike | None = None,
        animation: str | os.PathLike | None = None,
        layers: Sequence[str] | None = None,
        every: int | None = None,
        columns: int = 3,
        rows: int = 2,
        first_batch: int = 0,
    ):
        super().__init__()
        if animation is not None and Path(animation).suffix.lower() != ".gif":
            raise ValueError(
                f"`animation` must be a path that ends in .gif. Received: animation={animation!r}"
            )
        every = None if every is None else standardize_count(every, "every")
        if layers is not None and (isinstance(layers, str) or not list(layers)):
            raise ValueError(
                f"`layers` must be a sequence of names or None. Received: layers={layers!r}"
            )
        self.log_dir = log_dir
        self.animation = None if animation is None else Path(animation)
        self.layer_names = None if layers is None else list(layers)
        self.every = every
        self.columns = standardize_count(columns, "columns")
        self.rows = standardize_count(rows, "rows")
        self._writer = None
        self.first_batch = first_batch
        self.initial_boxes: dict[str, np.ndarray] = {}
        self._snapshots: list[tuple[str, list[np.ndarray], list[np.ndarray | None]]] = []
        self._batches, self._last_batch = first_batch, -1

    def on_train_begin(self, logs=None):
        """Finds the layers, stores their initial boxes and adds the first frame.

        Raises:
            ImportError: Matplotlib or Pillow is needed and not installed.
            OSError: `animation` cannot be written.
        """
        # An error after the training would lose it.
        if self.log_dir is not None or self.animation is not None:
            import matplotlib.figure  # noqa: F401
        if self.animation is not None:
            import PIL.Image  # noqa: F401

            _check_writable(self.animation)
        self._layers = self._chosen_layers()
        self._update_weights()
        self.initial_boxes = boxes_by_layer(self.model)
        self._shown = self._layers
        if self.layer_names is None:
            count = min(len(self._layers), self.columns * self.rows)
            indices = np.linspace(0, len(self._layers) - 1, count).round().astype(int)
            names = list(self._layers)
            self._shown = {names[index]: self._layers[names[index]] for index in indices}
        self._snapshots = []
        self._batches, self._last_batch = self.first_batch, -1
        if self.log_dir is not None:
            import tensorflow as tf

            self._writer = tf.summary.create_file_writer(str(Path(self.log_dir) / "boxes"))
        self._add_frame()

    def on_train_batch_end(self, batch, logs=None):
        """Adds a frame after every `every` batches."""
        # `batch` counts from 0 in each epoch. With `steps_per_execution` it skips numbers.
        new_epoch = batch <= self._last_batch
        count = batch + 1 if new_epoch else batch - self._last_batch
        before, self._batches, self._last_batch = self._batches, self._batches + count, batch
        if self.every is not None and before // self.every != self._batches // self.every:
            self._add_frame()

    def on_epoch_end(self, epoch, logs=None):
        """Logs to TensorBoard. Adds a frame if `every` is `None`."""
        if self.every is None:
            self._add_frame()
        if self._writer is None:
            return
        import tensorflow as tf

        with self._writer.as_default(step=epoch):
            for name, layer in self._layers.items():
                sizes, offsets = box_sizes(layer), box_offsets(layer)
                for quantity, values in (
                    ("height", sizes[..., 0]),
                    ("width", sizes[..., 1]),
                    ("centre_y", offsets[..., 0]),
                    ("centre_x", offsets[..., 1]),
                ):
                    tf.summary.histogram(f"boxes/{name}/{quantity}", values)
                picture = drawing.to_pixels(box_drawing.draw_boxes(layer), dpi=80)
                tf.summary.image(f"boxes/{name}", picture[None])
        self._writer.flush()

    def on_train_end(self, logs=None):
        """Writes the animation."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self.animation is not None:
            self._write_animation()

    def _chosen_layers(self) -> dict[str, BaseBoxConv2D]:
        """Returns the layers to show by their names in the model."""
        if not any(box_layers(self.model)):
            raise ValueError(f"`model` must have box layers. Received: model '{self.model.name}'")
        by_path = named_box_layers(self.model)
        if self.layer_names is None:
            return by_path
        counts = collections.Counter(layer.name for layer in by_path.values())
        paths = {layer.name: path for path, layer in by_path.items() if counts[layer.name] == 1}
        paths |= {path: path for path in by_path}
        unknown = [name for name in self.layer_names if name not in paths]
        if unknown:
            raise ValueError(f"`layers` must be among {list(by_path)}. Received: layers={unknown}")
        return {paths[name]: by_path[paths[name]] for name in self.layer_names}

    def _update_weights(self) -> None:
        """On JAX, `fit` keeps the weights outside the layers: copies them into the layers."""
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()

    def _add_frame(self) -> None:
        if self.animation is not None:
            self._update_weights()
            boxes = [boxes_array(layer) for layer in self._shown.values()]
            weights = [box_drawing.box_weights(s, self.model) for s in self._shown.values()]
            self._snapshots.append((f"{self._batches} steps", boxes, weights))

    def _write_animation(self) -> None:
        from PIL import Image

        frames = [Image.fromarray(self._draw_frame(*snapshot)) for snapshot in self._snapshots]
        palette = frames[-1].quantize(64)
        frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
        durations = [_FRAME_MILLISECONDS] * (len(frames) - 1) + [_LAST_FRAME_MILLISECONDS]
        with output.atomic(self.animation.absolute()) as temporary:
            frames[0].save(
                temporary,
                format="GIF",
                save_all=True,
                append_images=frames[1:],
                duration=durations,
                loop=0,
            )

    def _draw_frame(self, title, boxes, weights) -> np.ndarray:
        panels = []
        for index, (name, layer) in enumerate(self._shown.items()):
            size = box_drawing.plane_size(layer)
            # The axes have the same limits in all frames and hold the boxes of every frame.
            history = [snapshot[1][index] for snapshot in self._snapshots]
            reach = box_drawing.reach(size, *history)
            panels.append(box_drawing.Panel(name, boxes[index], weights[index], size, reach))
        figure = box_drawing.draw_panels(
            panels, min(self.columns, len(panels)), _BOXES_PER_PANEL, heading=title
        )
        return drawing.to_pixels(figure, dpi=70)


def _check_writable(path: Path) -> None:
    """Raises an `OSError` if a file cannot be written, or replaced if it exists."""
    if path.is_dir():
        raise IsADirectoryError(f"`animation` must be a file. Received: the folder {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path.parent):
        pass
