"""Says what box layers a model has, and whether it needs this package's op library.

    python -m tf_boxconv.inspect model.keras
    python -m tf_boxconv.inspect exported/pose/1 --json

A `.keras` file is loaded as Keras loads it, without code that it might carry. A SavedModel is read
without being run: its ops from the graph, its boxes from the description that `tf_boxconv.export`
puts beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

import tf_boxconv
from tf_boxconv import description

_KERAS_NEEDS = """\
This package and its op library are needed: `import tf_boxconv` before keras.models.load_model.
For those who do not have them: tf_boxconv.export(model, path, format="saved_model_portable")
writes a model that runs without them."""
_SAVED_MODEL_NEEDS = """\
The op library is needed. Before the model is loaded,
  in Python      import tf_boxconv, or tf.load_op_library(path) without the package
  in C or C++    TF_LoadLibrary(path), or link with it
  path here      {path}
A server that cannot load it: tf_boxconv.export(model, path, format="saved_model_portable")
writes a model that runs without it."""
_NOT_NEEDED = "The op library is not needed: any TensorFlow runs it."


class InspectError(Exception):
    """The model cannot be read; the message says why."""


def inspect(path) -> dict[str, Any]:
    """Describes a model file.

    Args:
        path: A `.keras` file, or the folder of a SavedModel.

    Returns:
        JSON values: `kind`, `needs_library`, `bytes`, `layers` (`None` where a SavedModel carries
        no description), and what `tf_boxconv.description.describe` says.

    Raises:
        InspectError: `path` is neither, or cannot be read.
    """
    path = Path(path)
    try:
        if (path / "saved_model.pb").is_file():
            return _inspect_saved_model(path)
        if path.suffix == ".keras" and path.is_file():
            return _inspect_keras_file(path)
    except OSError as error:
        raise InspectError(f"{path} cannot be read: {error.strerror or error}") from error
    raise InspectError(
        "MODEL must be a .keras file or the folder of a SavedModel. "
        f"Received: {path}{_what_it_is(path)}"
    )


def _what_it_is(path: Path) -> str:
    """What is at a path that cannot be inspected, and what may have been meant."""
    if not path.exists():
        return ", which does not exist"
    if path.name == "saved_model.pb":
        return f". The folder is {path.parent}"
    if path.is_dir():
        found = sorted(path.glob("*/saved_model.pb"), key=os.path.getmtime)
        if found:
            return f", which holds SavedModels in folders, such as {found[-1].parent}"
        return ", a folder without saved_model.pb"
    if path.name.endswith((".h5", ".hdf5")):
        return ". Load it and save the model as .keras"
    return ""


def _inspect_keras_file(path: Path) -> dict[str, Any]:
    import keras

    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises whatever its reader meets in a damaged file.
        raise InspectError(f"{path} cannot be loaded by Keras: {_one_line(error)}") from error
    described = description.describe(model)
    # Its layers are this package's, whose import loads the library, whatever they run.
    needed = bool(described["layers"])
    return {"kind": "Keras file", "bytes": _size(path), "needs_library": needed, **described}


def _inspect_saved_model(path: Path) -> dict[str, Any]:
    try:
        from tf_boxconv.exporting import saved_model_graph
    except ImportError as error:
        raise InspectError(
            f"{path} is a SavedModel, and reading one needs TensorFlow, which is not installed: "
            '`pip install "tensorflow>=2.21,<2.22"`'
        ) from error
    try:
        custom = saved_model_graph.custom_ops(path)
        nodes = list(saved_model_graph.nodes(path))
    except Exception as error:  # Of the protocol buffers' reader, which has no class of its own.
        raise InspectError(f"{path} is no readable SavedModel: {_one_line(error)}") from error
    if not nodes:
        raise InspectError(f"{path} is no readable SavedModel: it holds no graph")
    return {
        "kind": "SavedModel",
        "bytes": _size(path),
        "needs_library": bool(custom),
        "box_ops": sum(node.op in custom for node in nodes),
        **_carried_description(path / "assets.extra" / description.FILE_NAME),
    }


def _carried_description(path: Path) -> dict[str, Any]:
    """What `tf_boxconv.export` wrote into a SavedModel, if it did."""
    if not path.is_file():
        return {"layers": None}
    try:
        described = json.loads(path.read_bytes())
        text({"kind": "", "bytes": 0, "needs_library": False, **described})  # Can it be printed?
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InspectError(f"{path} is damaged: {_one_line(error)}") from error
    return described


def _one_line(error: Exception) -> str:
    """The message of an error of another package, shortened."""
    return textwrap.shorten(str(error) or type(error).__name__, 300, placeholder=" ...")


def _size(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def text(found: dict[str, Any]) -> str:
    """What `inspect` found, for a reader."""
    lines = [f"{found['kind']}, {found['bytes'] / 1e6:.2f} MB on disk"]
    if "parameters" in found:
        lines[0] += f", model '{found['model']}', {found['parameters']:,} parameters"
    if found["layers"] is None:
        lines.append(
            f"{found['box_ops']} box convolutions in its graphs. Their boxes are not described: "
            "the SavedModel was not written by tf_boxconv.export."
        )
    elif found["layers"]:
        lines += ["", *_layer_table(found["layers"])]
    else:
        lines.append("No box layers.")
    return "\n".join([*lines, "", _needs(found)])


def _needs(found: dict[str, Any]) -> str:
    if not found["needs_library"]:
        return _NOT_NEEDED
    if found["kind"] == "Keras file":
        return _KERAS_NEEDS
    return _SAVED_MODEL_NEEDS.format(path=tf_boxconv.library_path())


def _layer_table(layers: list[dict[str, Any]]) -> list[str]:
    """One line a layer; sizes are least, median and greatest."""
    rows = [
        ("layer", "type", "plane", "boxes", "height px", "width px", "centre px off", "weights")
    ]
    rows += [_row(layer) for layer in layers]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _row(layer: dict[str, Any]) -> tuple[str, ...]:
    boxes = np.array(layer["boxes"], np.float64)
    low, high = boxes[..., :2], boxes[..., 2:]
    sizes = high - low
    distance = np.linalg.norm((low + high) / 2, axis=-1)
    return (
        layer["name"],
        layer["type"],
        "x".join(map(str, layer["max_size"])),
        f"{boxes.shape[0]} channels x {boxes.shape[1]}",
        _three(sizes[..., 0]),
        _three(sizes[..., 1]),
        _three(distance),
        f"{layer['parameters']:,}",
    )


def _three(values: np.ndarray) -> str:
    if not values.size:
        return "-"
    return " / ".join(f"{v:.1f}" for v in (values.min(), np.median(values), values.max()))


def main(argv: list[str] | None = None) -> None:
    """The command `python -m tf_boxconv.inspect`."""
    parser = argparse.ArgumentParser(
        prog="python -m tf_boxconv.inspect",
        description=__doc__,
        epilog="The exit code is 1 if the model cannot be read.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="a .keras file or a SavedModel's folder")
    parser.add_argument("--json", action="store_true", help="print everything, all boxes included")
    arguments = parser.parse_args(argv)
    try:
        found = inspect(arguments.model)
    except InspectError as error:
        sys.exit(f"error: {error}")
    print(json.dumps(found, indent=1) if arguments.json else text(found))


if __name__ == "__main__":
    main()
