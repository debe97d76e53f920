"""The folder of one training run.

    runs/demo/
        config.json     every argument of the run, the skeleton and digests of its data set
        model.keras     the network as of the last finished epoch, ready for use
        state.npz       weights, optimiser and step as of the last finished epoch, for resuming
        logs/           TensorBoard curves
        metrics.json    the result; the run is finished once this file exists
        boxes.gif       animation of the boxes during training (`train --log_boxes`)
        understanding/  pictures of what was learned (`examples.pose.understand`)
        evaluation-*.json    results of later `examples.pose.evaluate` commands; pictures beside it

Every file is written under a temporary name, `.partial-NAME`, and renamed when complete. A process
killed at any moment leaves either the old file or the new one, never part of one. An epoch writes
config.json, logs/, state.npz and model.keras, in this order. Until state.npz exists, no epoch is
finished, and a run with other arguments may use the folder.
"""

import contextlib
import json
import os
import pathlib
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from examples.pose.cli.errors import UserError, describe
from examples.pose.files.atomic_write import atomic_write, partial_path, write_json
from examples.pose.files.file_lock import lock
from examples.pose.models import older

# Only `train` writes these, while it holds the folder's lock.
TRAINED_FILES = ("config.json", "model.keras", "state.npz", "metrics.json", "boxes.gif")


class RunFolderError(UserError):
    """A run folder cannot be used for the command; the message says why and what to do."""


class RunFolder:
    """Reads and writes one run folder.

    Args:
        path: The folder. It need not exist until something is written into it.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)
        self.config_path = self.path / "config.json"
        self.model_path = self.path / "model.keras"
        self.state_path = self.path / "state.npz"
        self.logs_path = self.path / "logs"
        self.metrics_path = self.path / "metrics.json"

    @property
    def config(self) -> dict[str, Any]:
        """The run's arguments and skeleton, as `train` wrote them.

        Raises:
            RunFolderError: config.json does not exist, or `train` did not write it.
        """
        if not self.config_path.exists():
            raise RunFolderError(
                f"{self.config_path} does not exist. Give a folder in which "
                "`python -m examples.pose.train` has finished at least one epoch."
            )
        config = _read_json(self.config_path, "Restore it, or give another --run.")
        for name, valid in (("image_size", _is_size), ("skeleton", _is_skeleton)):
            if not valid(config.get(name)):
                raise RunFolderError(
                    f"{self.config_path} was not written by `python -m examples.pose.train`: "
                    f"`{name}` is missing or wrong. Restore it, or give another --run."
                )
        return config

    @property
    def dataset(self) -> str:
        """The data set to evaluate the run on: the first that it was trained on.

        Raises:
            RunFolderError: config.json does not name a data set.
        """
        name = self.config.get("dataset")
        if not isinstance(name, str):
            raise RunFolderError(
                f"{self.config_path}: `dataset` is missing or wrong. Restore it, or give another "
                "--run."
            )
        return name.split("+")[0]

    @property
    def metrics(self) -> dict[str, Any] | None:
        """The result of a finished run, or None while it is unfinished.

        Raises:
            RunFolderError: The file cannot be read.
        """
        if not self.metrics_path.exists():
            return None
        return _read_json(self.metrics_path, "Delete it, and `train` evaluates the run again.")

    @property
    def has_finished_epoch(self) -> bool:
        """Whether the folder holds results that a run with other arguments must not replace."""
        return any(p.exists() for p in (self.state_path, self.model_path, self.metrics_path))

    def curve(self, name: str) -> dict[int, float]:
        """Reads a curve that `train` wrote for TensorBoard, as a dict from step to value.

        Raises:
            RunFolderError: There is no curve of this name.
        """
        from tensorboard.backend.event_processing import event_accumulator
        from tensorboard.util import tensor_util

        events = event_accumulator.EventAccumulator(
            str(self.logs_path), size_guidance={event_accumulator.TENSORS: 0}
        )
        has_logs = self.logs_path.is_dir()
        if has_logs:
            events.Reload()
        if not has_logs or name not in events.Tags()["tensors"]:
            raise RunFolderError(
                f"{self.logs_path} has no curve {name!r}: it was removed, or was not written by "
                "`python -m examples.pose.train`. Restore it, or give another --run."
            )
        return {
            e.step: float(tensor_util.make_ndarray(e.tensor_proto)) for e in events.Tensors(name)
        }

    def check(
        self,
        config: Mapping[str, Any],
        free: Sequence[str] = (),
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        """Checks that the folder holds no run, or a run with this configuration.

        Args:
            config: Everything that determines the run, as JSON values.
            free: Names of entries that may differ.
            defaults: Values of entries that older versions did not write.

        Raises:
            RunFolderError: The folder holds a run with another configuration, or results without a
                config.json.
        """
        if not self.has_finished_epoch and not self.config_path.exists():
            return
        if not self.config_path.exists():
            raise RunFolderError(
                f"{self.path} has files of a run but no config.json that describes it. Give "
                "another --run, or move them away."
            )
        old = self.config
        if not self.has_finished_epoch:
            return
        old = {**(defaults or {}), **old}
        new = json.loads(json.dumps(config))  # Tuples become lists, as they do in the file.
        names = [k for k in {**old, **new} if k not in free and old.get(k) != new.get(k)]
        if names:
            lines = [f"  {k}: {old.get(k)!r} there, {new.get(k)!r} now" for k in names]
            raise RunFolderError(
                f"{self.path} holds a run with other arguments:\n"
                + "\n".join(lines)
                + "\nGive the same arguments to resume it, or another --run to start afresh."
            )

    def require_state(self) -> None:
        """Checks that a training can go on from a network that is there.

        Raises:
            RunFolderError: There is a network, but no state.npz.
        """
        if self.model_path.exists() and not self.state_path.exists():
            raise RunFolderError(
                f"{self.path} has a trained network but no state.npz, from which the training "
                f"would go on. Give another --run, and --init {self.path} to start from this "
                "network."
            )

    def begin(self, config: Mapping[str, Any]) -> None:
        """Writes config.json, unless it already says the same."""
        if not self.config_path.exists() or self.config != json.loads(json.dumps(config)):
            write_json(self.config_path, config)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Locks the folder for this process. The lock also ends if the process is killed.

        Removes partial files of an interrupted training, both at the start and at the end. If no
        epoch is finished by the end, also removes a config.json and logs written in the meantime,
        and folders created for the run.

        Raises:
            RunFolderError: Another process holds the lock.
        """
        created = [path for path in (self.path, *self.path.parents) if not path.exists()]
        before = {self.config_path} & set(self.path.glob("*")) | set(self._event_files())
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with _exclusive_file(self.path / ".lock"):
                self._remove_partial_files()
                try:
                    yield
                finally:
                    self._remove_partial_files()
                    if not self.has_finished_epoch:
                        self._remove({self.config_path, *self._event_files()} - before)
        finally:
            for path in created:
                with contextlib.suppress(OSError):
                    path.rmdir()  # Fails unless it is empty.

    def _remove_partial_files(self) -> None:
        for name in TRAINED_FILES:
            partial_path(self.path / name).unlink(missing_ok=True)
        for folder in self.path.glob(".boxes.gif-*"):  # Frames of `BoxLogger`.
            shutil.rmtree(folder, ignore_errors=True)

    def _event_files(self) -> Iterator[pathlib.Path]:
        return self.logs_path.rglob("events.out.tfevents.*")

    def _remove(self, files: Iterable[pathlib.Path]) -> None:
        for path in files:
            path.unlink(missing_ok=True)
        for folder in (self.logs_path / "boxes", self.logs_path):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def save_model(self, model: keras.Model) -> None:
        """Writes the architecture and weights of an uncompiled functional model."""
        with atomic_write(self.model_path) as temporary:
            model.save(temporary)

    def load_model(self) -> keras.Model:
        """Reads the model as of the last finished epoch, uncompiled.

        `examples.pose.models.older` converts models of older versions.

        Raises:
            RunFolderError: There is no run, no epoch is finished yet, or the file is damaged.
        """
        if not self.model_path.exists():
            raise RunFolderError(
                f"{self.model_path} does not exist. Give a folder in which "
                "`python -m examples.pose.train` has finished at least one epoch."
            )
        try:
            model = older.convert_model(keras.models.load_model(self.model_path, compile=False))
        except MemoryError:
            raise
        # Keras raises many kinds of error for damaged files.
        except Exception as error:
            raise RunFolderError(
                f"{self.model_path} cannot be loaded. It is damaged or of another version: "
                f"{_first_line(error)}"
            ) from error
        if self.config_path.exists():
            self._check_fits(model)
        return model

    def _check_fits(self, model: keras.Model) -> None:
        """Raises a `RunFolderError` if config.json does not describe the model."""
        size, joints = self.config["image_size"], len(self.config["skeleton"]["joint_names"])
        input_size, outputs = model.inputs[0].shape[1:3], model.outputs[-1].shape[-1]
        if input_size not in ((size, size), (None, None)) or outputs != joints:
            raise RunFolderError(
                f"{self.config_path} does not belong to {self.model_path}. It says {size} x {size} "
                f"pixels and {joints} joints; the model takes pictures of {input_size[0]} x "
                f"{input_size[1]} pixels and finds {outputs} joints. Restore both, or give another "
                "--run."
            )

    def save_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Writes the arrays that a training resumes from, by name."""
        with atomic_write(self.state_path) as temporary, open(temporary, "wb") as file:
            # Stored as JSON: names with slashes or blanks cannot be keyword arguments of savez.
            names = json.dumps(list(state))
            arrays = {f"array{i}": value for i, value in enumerate(state.values())}
            np.savez(file, names=names, **arrays)

    def load_state(self) -> dict[str, np.ndarray] | None:
        """Reads what `save_state` wrote, or None if there is no state yet.

        Raises:
            RunFolderError: The file is damaged.
        """
        if not self.state_path.exists():
            return None
        try:
            with np.load(self.state_path) as file:
                names = json.loads(str(file["names"]))
                return {name: file[f"array{i}"] for i, name in enumerate(names)}
        # NumPy and zipfile raise many kinds of error for damaged files.
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise RunFolderError(
                f"{self.state_path} cannot be read: {_first_line(error)}. Restore it from a copy, "
                "or give another --run."
            ) from error


@contextlib.contextmanager
def _exclusive_file(path: pathlib.Path) -> Iterator[None]:
    """Creates and locks a file; removes it at the end of the `with` block."""
    while True:
        with open(path, "w") as handle:
            try:
                lock(handle, wait=False)
            except BlockingIOError:
                raise RunFolderError(f"Another process is training in {path.parent}.") from None
            except OSError as error:
                path.unlink(missing_ok=True)
                error.filename = str(path)
                raise
            # The previous holder may have removed the file after we opened it. Then try again.
            if not path.exists() or not os.path.samestat(os.fstat(handle.fileno()), path.stat()):
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _read_json(path: pathlib.Path, remedy: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunFolderError(f"{path} is damaged: {_first_line(error)}. {remedy}") from None
    if not isinstance(value, dict):
        raise RunFolderError(f"{path} is damaged: it must hold a JSON object. {remedy}")
    return value


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_skeleton(value: Any) -> bool:
    fields = ("joint_names", "flip_pairs", "limbs", "pck_reference")
    if not (isinstance(value, dict) and all(isinstance(value.get(f), list) for f in fields)):
        return False
    names, flips, limbs, reference = (value[f] for f in fields)
    joints = range(len(names))
    return all(
        isinstance(pair, list) and len(pair) == 2 and all(joint in joints for joint in pair)
        for pair in (*flips, *limbs, *([reference] if reference else []))
    )


def _first_line(error: Exception) -> str:
    return describe(error).strip().partition("\n")[0].rstrip(".")
