"""The folder that one training run lives in, and how its files are written.

    runs/demo/
        config.json     every argument of the run, and the skeleton of its data set
        model.keras     the network as of the last finished epoch, ready for use
        state.npz       weights, optimiser and step as of the last finished epoch, for resuming
        logs/           TensorBoard curves
        metrics.json    the result; its presence says that the run is finished
        boxes.gif       the boxes while they were trained (`train --log_boxes`)
        understanding/  pictures of what was learned (`examples.pose.understand`)
        evaluation-*.json    what `examples.pose.evaluate` measured later, and its pictures, *.png

Every file is written under a temporary name and renamed when complete, so that a process killed at
any moment leaves either the old file or the new one, never half of one.
"""

import contextlib
import fcntl
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np


class RunFolderError(Exception):
    """The run folder is not what the command needs; the message says why and what to do."""


@contextlib.contextmanager
def whole_file(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path beside `path`; renames it to `path` once the body has succeeded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".partial-{path.name}")
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())  # The rename must not reach the disk before the content.
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: pathlib.Path, value: Mapping[str, Any]) -> None:
    """Writes `value` to `path` as indented JSON, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


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
        """The run's arguments and skeleton, as `train` wrote them."""
        return self._read(self.config_path)

    @property
    def metrics(self) -> dict[str, Any] | None:
        """The result of a finished run, or None while it is unfinished."""
        return self._read(self.metrics_path) if self.metrics_path.exists() else None

    def curve(self, name: str) -> dict[int, float]:
        """One of the curves that `train` wrote for TensorBoard: values by step."""
        from tensorboard.backend.event_processing import event_accumulator
        from tensorboard.util import tensor_util

        events = event_accumulator.EventAccumulator(
            str(self.logs_path), size_guidance={event_accumulator.TENSORS: 0}
        )
        events.Reload()
        return {
            e.step: float(tensor_util.make_ndarray(e.tensor_proto)) for e in events.Tensors(name)
        }

    def check(self, config: Mapping[str, Any], free: Sequence[str] = ()) -> None:
        """Checks that the folder holds no run, or one of this configuration.

        Args:
            config: Everything that determines the run, as JSON values.
            free: Names of entries that may differ.

        Raises:
            RunFolderError: The folder holds a run with another configuration.
        """
        if not self.config_path.exists():
            return
        old = self.config
        new = json.loads(json.dumps(config))  # Tuples become lists, as they do in the file.
        names = [k for k in {**old, **new} if k not in free and old.get(k) != new.get(k)]
        if names:
            lines = [f"  {k}: {old.get(k)!r} there, {new.get(k)!r} now" for k in names]
            raise RunFolderError(
                f"{self.path} holds a run with other arguments:\n"
                + "\n".join(lines)
                + "\nGive the same arguments to resume it, or another --run to start afresh."
            )

    def begin(self, config: Mapping[str, Any], free: Sequence[str] = ()) -> None:
        """Writes `config` into the folder, after the same check as `check`."""
        self.check(config, free)
        write_json(self.config_path, config)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the folder for this process; the lock ends with the process, however it ends.

        Raises:
            RunFolderError: Another process holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with open(self.path / ".lock", "w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RunFolderError(f"Another process is training in {self.path}.") from None
            yield

    def save_model(self, model: keras.Model) -> None:
        """Writes the architecture and weights of a functional model that is not compiled."""
        with whole_file(self.model_path) as temporary:
            model.save(temporary)

    def load_model(self) -> keras.Model:
        """Returns the model as of the last finished epoch, not compiled.

        Raises:
            RunFolderError: No epoch has been finished yet, or there is no run.
        """
        if not self.model_path.exists():
            raise RunFolderError(
                f"{self.model_path} does not exist. Give a folder in which "
                "`python -m examples.pose.train` has finished at least one epoch."
            )
        return keras.models.load_model(self.model_path, compile=False)

    def save_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Writes the arrays that a training resumes from."""
        with whole_file(self.state_path) as temporary, open(temporary, "wb") as file:
            # A name with slashes or blanks is no name of an argument.
            names = json.dumps(list(state))
            arrays = {f"array{i}": value for i, value in enumerate(state.values())}
            np.savez(file, names=names, **arrays)

    def load_state(self) -> dict[str, np.ndarray] | None:
        """Reads what `save_state` wrote, or None where there is nothing yet."""
        if not self.state_path.exists():
            return None
        with np.load(self.state_path) as file:
            names = json.loads(str(file["names"]))
            return {name: file[f"array{i}"] for i, name in enumerate(names)}

    def _read(self, path: pathlib.Path) -> dict[str, Any]:
        if not path.exists():
            raise RunFolderError(
                f"{path} does not exist. Give a folder that `python -m examples.pose.train` wrote."
            )
        return json.loads(path.read_text(encoding="utf-8"))
