"""Shows the box layers of a saved model, and whether it needs this package's op library.

    python -m tf_boxconv.inspect model.keras
    python -m tf_boxconv.inspect exported/pose/1 --json

A `.keras` file is loaded with Keras's safe mode, which runs no code from the file. A SavedModel is
only read: its ops from the graph, its boxes from the description that `tf_boxconv.export` adds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

import tf_boxconv
from tf_boxconv import description

_KERAS_NEEDS = """\
Needs this package: `import tf_boxconv` before keras.models.load_model.
To run the model without it, export it with
  tf_boxconv.export(model, path, format="saved_model_portable")"""
_SAVED_MODEL_NEEDS = """\
Needs the op library. Load it before the model:
  Python         import tf_boxconv, or tf.load_op_library(path) without the package
  C or C++       TF_LoadLibrary(path), or link with it
  path here      {path}
To run the model without it, export it with
  tf_boxconv.export(model, path, format="saved_model_portable")"""
_KERAS_NOT_NEEDED = "Does not need this package: any Keras loads it."
_SAVED_MODEL_NOT_NEEDED = "Does not need the op library: any TensorFlow runs it."


class InspectError(Exception):
    """Raised if a model cannot be read. The message says why."""


def inspect(path) -> dict[str, Any]:
    """Describes a model file.

    Args:
        path: A `.keras` file, or the folder of a SavedModel.

    Returns:
        A dict of JSON values: `kind`, `bytes`, `needs_library`, `box_ops` (number of custom ops,
        SavedModels only), and the items of `tf_boxconv.description.describe`. A SavedModel without
        a description has `layers=None` instead of these items.

    Raises:
        InspectError: If `path` is not such a file or folder, or cannot be read.
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
        f"MODEL must be a .keras file or the folder of a SavedModel. Received: {path}{_hint(path)}"
    )


def _hint(path: Path) -> str:
    """Describes a path that cannot be inspected, and suggests a path that can."""
    if not path.exists():
        return ", which does not exist"
    if path.name == "saved_model.pb":
        return f". Pass the folder {path.parent}"
    if path.is_dir():
        found = sorted(path.glob("*/saved_model.pb"), key=os.path.getmtime)
        if found:
            return f", which contains SavedModels in subfolders, such as {found[-1].parent}"
        return ", a folder without saved_model.pb"
    if path.name.endswith((".h5", ".hdf5")):
        return ". Load the model with Keras and save it as .keras"
    return ""


def _inspect_keras_file(path: Path) -> dict[str, Any]:
    import keras

    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises different classes for damaged files.
        raise InspectError(f"Keras cannot load {path}: {_one_line(error)}") from error
    if not model.built:
        raise InspectError(f"{path} holds a model that was not built")
    described = description.describe(model)
    with zipfile.ZipFile(path) as archive:
        config = archive.read("config.json")
    # Besides box layers, models may contain operations and other objects of the package.
    needed = bool(described["layers"]) or b"tf_boxconv>" in config
    return {"kind": "Keras file", "bytes": _size(path), "needs_library": needed, **described}


def _inspect_saved_model(path: Path) -> dict[str, Any]:
    try:
        from tf_boxconv.exporting import saved_model_graph
    except ImportError as error:
        raise InspectError(
            f"{path} is a SavedModel. Reading it needs TensorFlow, which is not installed: "
            '`pip install "tensorflow>=2.16,<2.22"`'
        ) from error
    try:
        custom = saved_model_graph.custom_ops(path)
        nodes = list(saved_model_graph.nodes(path))
    except Exception as error:  # Parsers of protocol buffers raise different classes.
        raise InspectError(f"{path} is not a readable SavedModel: {_one_line(error)}") from error
    if not nodes:
        raise InspectError(f"{path} is not a readable SavedModel: it contains no graph")
    return {
        "kind": "SavedModel",
        "bytes": _size(path),
        "needs_library": bool(custom),
        "box_ops": sum(node.op in custom for node in nodes),
        **_stored_description(path / "assets.extra" / description.FILE_NAME),
    }


def _stored_description(path: Path) -> dict[str, Any]:
    """Returns the description that `tf_boxconv.export` added, or only `layers=None`."""
    if not path.is_file():
        return {"layers": None}
    try:
        described = json.loads(path.read_bytes())
        text({"kind": "", "bytes": 0, "needs_library": False, **described})  # Raises if malformed.
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InspectError(f"{path} is damaged: {_one_line(error)}") from error
    return described


def _one_line(error: Exception) -> str:
    """Returns the message of an error on one line, shortened."""
    return textwrap.shorten(str(error) or type(error).__name__, 300, placeholder=" ...")


def _size(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def text(found: dict[str, Any]) -> str:
    """Formats the result of `inspect` for the terminal."""
    lines = [f"{found['kind']}, {found['bytes'] / 1e6:.2f} MB on disk"]
    if "parameters" in found:
        lines[0] += f", model '{found['model']}', {found['parameters']:,} parameters"
    if found["layers"] is None:
        lines.append(
            f"{found['box_ops']} custom ops. Their boxes are unknown, because the SavedModel was "
            "not written by tf_boxconv.export."
        )
    elif found["layers"]:
        lines += ["", *_layer_table(found["layers"])]
    else:
        lines.append("No box layers.")
    return "\n".join([*lines, "", _requirements_text(found)])


def _requirements_text(found: dict[str, Any]) -> str:
    if found["kind"] == "Keras file":
        return _KERAS_NEEDS if found["needs_library"] else _KERAS_NOT_NEEDED
    if not found["needs_library"]:
        return _SAVED_MODEL_NOT_NEEDED
    return _SAVED_MODEL_NEEDS.format(path=tf_boxconv.library_path())


def _layer_table(layers: list[dict[str, Any]]) -> list[str]:
    """Returns a table with one line per layer. Sizes are minimum, median and maximum."""
    rows = [
        ("layer", "type", "max_size", "boxes", "height", "width", "centre offset", "parameters")
    ]
    rows += [_table_row(layer) for layer in layers]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [
        *table,
        "",
        "Sizes and offsets are min / median / max over the boxes, in pixels.",
        "The parameters of a layer do not include the four numbers of its scale.",
    ]


def _table_row(layer: dict[str, Any]) -> tuple[str, ...]:
    boxes = np.array(layer["boxes"], np.float64)
    low, high = boxes[..., :2], boxes[..., 2:]
    sizes = high - low
    distance = np.linalg.norm((low + high) / 2, axis=-1)
    return (
        layer["name"],
        layer["type"],
        "x".join(map(str, layer["max_size"])),
        f"{boxes.shape[0]} channels x {boxes.shape[1]}",
        _min_median_max(sizes[..., 0]),
        _min_median_max(sizes[..., 1]),
        _min_median_max(distance),
        f"{layer['parameters']:,}",
    )


def _min_median_max(values: np.ndarray) -> str:
    """Formats the minimum, median and maximum of `values`."""
    if not values.size:
        return "-"
    return " / ".join(f"{v:.1f}" for v in (values.min(), np.median(values), values.max()))


def main(argv: list[str] | None = None) -> None:
    """Runs the command `python -m tf_boxconv.inspect`."""
    parser = argparse.ArgumentParser(
        prog="python -m tf_boxconv.inspect",
        description=__doc__,
        epilog="The exit code is 1 if the model cannot be read.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="a .keras file or a SavedModel's folder")
    parser.add_argument(
        "--json", action="store_true", help="print everything as JSON, boxes included"
    )
    arguments = parser.parse_args(argv)
    try:
        found = inspect(arguments.model)
    except InspectError as error:
        sys.exit(f"error: {error}")
    print(json.dumps(found, indent=1) if arguments.json else text(found))


if __name__ == "__main__":
    main()
