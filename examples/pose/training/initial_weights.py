"""Starts a training from the weights of an earlier one: `train --init RUN_OR_MODEL`.

Weights are copied by their paths. Two kinds of weights may differ from the earlier network:

* Heads, whose shapes depend on the number of joints, start anew if the joints are others.
* Boxes keep their share of the plane if the image size differs: in a network for images 1.5 times
  as large, they are 1.5 times as large. docs/results.md compares that with keeping their pixels.
  Boxes of layers with a `max_size` of their own keep their pixels, as do the constant boxes that
  upsample bilinearly.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from examples.pose.inference import model_files
from examples.pose.models import older
from examples.pose.models.blocks import UPSAMPLING_SUFFIX
from examples.pose.training.run_folder import RunFolder, RunFolderError


@dataclasses.dataclass(frozen=True)
class InitialWeights:
    """The network that a training starts from.

    Attributes:
        path: The run folder or model file.
        model: The network.
        config: The configuration of its run; empty for a model file alone.
    """

    path: Path
    model: keras.Model
    config: Mapping[str, Any]

    @property
    def joint_names(self) -> tuple[str, ...] | None:
        """The joints that the network finds, or None if only their number is known."""
        skeleton = self.config.get("skeleton")
        return None if skeleton is None else tuple(skeleton["joint_names"])


def find(path: str | os.PathLike) -> tuple[Path, RunFolder | None]:
    """Returns the path of a run folder or of a Keras model file, and the run folder if it is one.

    Raises:
        RunFolderError: It is neither.
    """
    path = Path(path)
    if path.suffix == ".keras" and path.is_file() and not (path.parent / "config.json").exists():
        return path, None
    found = model_files.find_model(path)
    if model_files.is_saved_model(found):
        raise RunFolderError(
            f"--init {path} is a SavedModel, which cannot be trained: give the run folder that it "
            "was exported from."
        )
    return found, RunFolder(found)


def load(path: str | os.PathLike) -> InitialWeights:
    """Loads the network of a run folder, or a Keras model file.

    Raises:
        RunFolderError: `path` is neither, or the file is damaged.
    """
    found, run = find(path)
    if run is not None:
        return InitialWeights(found, run.load_model(), run.config)
    with model_files.loading(found):
        model = older.convert_model(keras.models.load_model(found, compile=False))
    return InitialWeights(found, model, {})


def copy(
    source: InitialWeights,
    target: keras.Model,
    joint_names: Sequence[str],
    build: Callable[[int], keras.Model],
) -> str:
    """Copies weights to a network.

    Args:
        source: The earlier network.
        target: The network to train.
        joint_names: The joints that `target` finds.
        build: Makes a network like `target` for a number of joints.

    Returns:
        A sentence that says which weights were copied, and which start anew.

    Raises:
        RunFolderError: No weight of the earlier network fits.
    """
    earlier = {variable.path: variable for variable in source.model.variables}
    heads = set()
    if source.joint_names not in (None, tuple(joint_names)):
        heads = _heads(target, build(len(joint_names) + 1))
    copied, anew = [], []
    for variable in target.variables:
        value = earlier.get(variable.path)
        # Boxes are stored as pixels divided by the scale, which is the size of the plane. The
        # scale of the new network stays, so the stored boxes keep their share of the plane.
        if variable.path.endswith("/scale") or f"{UPSAMPLING_SUFFIX}/" in variable.path:
            continue
        if value is None or tuple(value.shape) != tuple(variable.shape) or variable.path in heads:
            anew.append(variable.path)
            continue
        variable.assign(value)
        copied.append(variable.path)
    if not copied:
        raise RunFolderError(
            f"--init {source.path} has no weight that fits this network. Give the --model and the "
            "options that it was trained with. If it is a run folder, they may be left out."
        )
    said = f"Starting from {source.path}: {len(copied)} weights copied"
    if anew:
        said += f", {len(anew)} start anew: {', '.join(anew)}"
    return f"{said}."


def _heads(model: keras.Model, other: keras.Model) -> set[str]:
    """The paths of the weights whose shapes depend on the number of joints.

    Args:
        model: The network.
        other: The same network for another number of joints.
    """
    shapes = {variable.path: tuple(variable.shape) for variable in other.variables}
    return {v.path for v in model.variables if shapes.get(v.path) != tuple(v.shape)}
