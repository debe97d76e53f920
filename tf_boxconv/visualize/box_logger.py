"""A callback that shows boxes while they are trained: in TensorBoard, and as an animation."""

from __future__ import annotations

import collections
import os
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from tf_boxconv.description import box_layers, layer_path
from tf_boxconv.exporting import output
from tf_boxconv.layers.base_box_conv import BaseBoxConv2D
from tf_boxconv.visualize import drawing
from tf_boxconv.visualize.kernels import box_offsets, box_sizes, boxes_array

_FRAME_MILLISECONDS = 200
_LAST_FRAME_MILLISECONDS = 2000


class BoxLogger(keras.callbacks.Callback):
    """Logs a model's boxes at the end of each epoch, and writes an animation of them.

    For each box layer TensorBoard gets a picture of the boxes (`draw_boxes`), and histograms of
    their heights, widths and middles, at the number of the epoch.

    Args:
        log_dir: Folder for TensorBoard's files; None logs nothing there.
        animation: Path of a .gif file to write when training ends; None writes none. It has a
            frame for the start, and one every `every` batches.
        layers: Names of the box layers to show, as in "block2/box_conv" for one within another
            layer, or the last part alone if no other has it; None shows all in TensorBoard, and in
            the animation as many as `columns * rows`, spread over the model.
        every: Batches between two frames of the animation; None makes one an epoch.
        columns: Layers beside each other in the animation.
        rows: Rows of layers in it.
        first_batch: Batches that the model was trained with before, if a training goes on; the
            animation's titles count from there.
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
            raise ValueError(f"`animation` must be a path that ends in .gif, got {animation!r}.")
        if every is not None and every < 1:
            raise ValueError(f"`every` must be at least 1 batch or None, got {every!r}.")
        self.log_dir = log_dir
        self.animation = None if animation is None else Path(animation)
        self.layer_names = None if layers is None else list(layers)
        self.every = every
        self.columns, self.rows = columns, rows
        self._writer = None
        self.first_batch = first_batch
        self._snapshots: list[tuple[str, list[np.ndarray], list[np.ndarray | None]]] = []
        self._batches, self._last_batch = first_batch, -1

    def on_train_begin(self, logs=None):
        """Finds the layers, and takes the first frame."""
        self._layers = self._chosen_layers()
        self._shown = self._layers
        if self.layer_names is None:
            count = min(len(self._layers), self.columns * self.rows)
            places = np.linspace(0, len(self._layers) - 1, count).round().astype(int)
            self._shown = [self._layers[place] for place in places]
        self._snapshots = []
        self._batches, self._last_batch = self.first_batch, -1
        if self.log_dir is not None:
            import tensorflow as tf

            self._writer = tf.summary.create_file_writer(str(Path(self.log_dir) / "boxes"))
        self._take_frame()

    def on_train_batch_end(self, batch, logs=None):
        """Takes a frame every `every` batches."""
        # The batch's number in the epoch; with `steps_per_execution` it goes up by several.
        started_anew = batch <= self._last_batch
        made = batch + 1 if started_anew else batch - self._last_batch
        before, self._batches, self._last_batch = self._batches, self._batches + made, batch
        if self.every is not None and before // self.every != self._batches // self.every:
            self._take_frame()

    def on_epoch_end(self, epoch, logs=None):
        """Logs to TensorBoard; takes a frame where there is one an epoch."""
        if self.every is None:
            self._take_frame()
        if self._writer is None:
            return
        import tensorflow as tf

        with self._writer.as_default(step=epoch):
            for layer in self._layers:
                sizes, offsets = box_sizes(layer), box_offsets(layer)
                for name, values in (
                    ("height", sizes[..., 0]),
                    ("width", sizes[..., 1]),
                    ("middle_y", offsets[..., 0]),
                    ("middle_x", offsets[..., 1]),
                ):
                    tf.summary.histogram(f"boxes/{self._name(layer)}/{name}", values)
                picture = drawing.to_pixels(drawing.draw_boxes(layer), dpi=80)
                tf.summary.image(f"boxes/{self._name(layer)}", picture[None])
        self._writer.flush()

    def on_train_end(self, logs=None):
        """Writes the animation."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self.animation is not None:
            self._write_animation()

    def _name(self, layer: BaseBoxConv2D) -> str:
        """The layer's name within the model, those of the layers it lies in before it."""
        return layer_path(layer).removeprefix(f"{self.model.name}/")

    def _chosen_layers(self) -> list[BaseBoxConv2D]:
        found = list(box_layers(self.model))
        if not found:
            raise ValueError(f"`model` must have box layers, and '{self.model.name}' has none.")
        if self.layer_names is None:
            return found
        whole = {self._name(layer): layer for layer in found}
        counts = collections.Counter(layer.name for layer in found)
        known = {layer.name: layer for layer in found if counts[layer.name] == 1} | whole
        unknown = [name for name in self.layer_names if name not in known]
        if unknown:
            raise ValueError(f"`layers` must be among {list(whole)}, got {unknown}.")
        return [known[name] for name in self.layer_names]

    def _take_frame(self) -> None:
        if self.animation is not None:
            if hasattr(self.model, "jax_state_sync"):
                self.model.jax_state_sync()  # On JAX the layers have no weights within an epoch.
            boxes = [boxes_array(layer) for layer in self._shown]
            weights = [drawing.box_weights(layer) for layer in self._shown]
            self._snapshots.append((f"{self._batches} steps", boxes, weights))

    def _write_animation(self) -> None:
        from PIL import Image

        frames = [Image.fromarray(self._draw_frame(*snapshot)) for snapshot in self._snapshots]
        palette = frames[-1].quantize(64)
        frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
        durations = [_FRAME_MILLISECONDS] * (len(frames) - 1) + [_LAST_FRAME_MILLISECONDS]
        with output.whole(self.animation.absolute()) as temporary:
            frames[0].save(
                temporary,
                format="GIF",
                save_all=True,
                append_images=frames[1:],
                duration=durations,
                loop=0,
            )

    def _draw_frame(self, title, boxes, weights) -> np.ndarray:
        columns = min(self.columns, len(self._shown))
        rows = -(-len(self._shown) // columns)
        figure = drawing.new_figure(2.6 * columns, 2.8 * rows + 0.3)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.ravel()[len(self._shown) :]:
            axes.set_axis_off()
        # All frames show a layer in the same axes, however its boxes grow.
        everywhere = [[snapshot[1][i] for snapshot in self._snapshots] for i in range(len(boxes))]
        for axes, layer, layer_boxes, layer_weights, all_boxes in zip(
            grid.ravel(), self._shown, boxes, weights, everywhere, strict=False
        ):
            size = drawing.plane_size(layer)
            drawing.draw_boxes_into(axes, layer_boxes, size, layer_weights)
            far = np.abs(all_boxes)
            reach = 1.05 * max(max(size) / 2, far[np.isfinite(far)].max(initial=0.0))
            axes.set_xlim(-reach, reach)
            axes.set_ylim(reach, -reach)
            axes.set_title(self._name(layer), fontsize=8)
            axes.set_xlabel("")
        figure.suptitle(title, fontsize=10)
        return drawing.to_pixels(figure, dpi=70)
