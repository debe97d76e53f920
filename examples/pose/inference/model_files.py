"""Finds the model that a path names: a run folder, or an exported SavedModel."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import keras

from examples.pose.training.run_folder import RunFolder, RunFolderError

_SAVED_MODEL_FILE = "saved_model.pb"
# The run folder of the weights that `predict` uses by default; its README describes them.
PRETRAINED = Path(__file__).parents[1] / "pretrained" / "photographs"
_TRAIN = "python -m examples.pose.train"


def require_tensorflow_backend() -> None:
    """Raises a `RunFolderError` if the Keras backend is not TensorFlow."""
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise RunFolderError(
            f"Set KERAS_BACKEND=tensorflow to predict or export, got {backend!r}: runs of every "
            "backend load there."
        )


def is_saved_model(path: Path) -> bool:
    """Whether a folder is a SavedModel."""
    return (path / _SAVED_MODEL_FILE).is_file()


def find_model(path) -> Path:
    """The run folder or SavedModel that a path names.

    The path may be the folder itself, a `model.keras` or `saved_model.pb` in it, or a folder with
    a single version, such as `exported/pose`.

    Raises:
        RunFolderError: It is none of these; the message says what to give instead.
    """
    path = Path(path)
    if path.name in (RunFolder(path).model_path.name, _SAVED_MODEL_FILE) and path.is_file():
        path = path.parent
    elif not path.exists():
        raise RunFolderError(f"{path}: no such folder.")
    elif not path.is_dir():
        raise RunFolderError(
            f"{path} is a file. Give the run folder that `{_TRAIN}` wrote, or an exported "
            "SavedModel."
        )
    run = RunFolder(path)
    if is_saved_model(path) or run.model_path.is_file():
        if not is_saved_model(path) and not run.config_path.is_file():
            raise RunFolderError(
                f"{run.model_path} has no {run.config_path.name} beside it. Give the run folder "
                f"that `{_TRAIN}` wrote."
            )
        return path
    if run.config_path.is_file():
        raise RunFolderError(
            f"{path} has no {run.model_path.name} yet: no epoch of its training is finished. Give "
            f"it once `{_TRAIN} --run {path}` has finished one."
        )
    return _only_model_below(path)


def find_run(path) -> RunFolder:
    """The run folder that a path names, see `find_model`.

    Raises:
        RunFolderError: It is none; the message says what to give instead.
    """
    found = find_model(path)
    if is_saved_model(found):
        raise RunFolderError(f"{found} is a SavedModel: give the run folder it was exported from.")
    return RunFolder(found)


def model_inputs(path: Path) -> Iterator[Path]:
    """Yields the paths of a model that `find_model` found, including those of its training.

    Some of the paths of a run folder may not exist.
    """
    if is_saved_model(path):
        yield from (entry for entry in path.rglob("*") if entry.is_file())
        return
    run = RunFolder(path)
    yield from (run.config_path, run.model_path, run.state_path, run.metrics_path)
    yield from (entry for entry in run.logs_path.rglob("*") if entry.is_file())


def _only_model_below(path: Path) -> Path:
    """Returns the SavedModel directly below a folder if the folder holds no other model.

    Raises:
        RunFolderError: There is none, or more than one; the message lists them.
    """
    # Hidden folders are exports that are being written, or were interrupted.
    saved = [
        file.parent
        for depth in ("*", "*/*")
        for file in path.glob(f"{depth}/{_SAVED_MODEL_FILE}")
        if not any(part.startswith(".") for part in file.relative_to(path).parts)
    ]
    saved.sort(key=lambda p: (p.parent, int(p.name) if p.name.isdecimal() else 0))
    runs = sorted(p.parent for p in path.glob(f"*/{RunFolder(path).model_path.name}"))
    found = [*runs, *saved]
    if len(saved) == 1 and not runs and saved[0].parent == path:
        return saved[0]
    if found:
        shown = ", ".join(map(str, found[-3:]))
        raise RunFolderError(f"{path} is not a model but holds models. Give one of them: {shown}")
    raise RunFolderError(
        f"{path} is neither a run folder that `{_TRAIN}` wrote nor an exported SavedModel."
    )


@contextlib.contextmanager
def loading(path) -> Iterator[None]:
    """Turns any exception in the `with` block, which loads a model, into a `RunFolderError`."""
    try:
        yield
    except RunFolderError:
        raise
    # Keras, TensorFlow and JSON raise almost any exception on damaged files.
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise RunFolderError(f"{path} cannot be loaded: {reason}") from error
