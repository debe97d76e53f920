"""Adds the box operators to a source tree of TensorFlow Serving, in place.

    python3 patch_model_server.py /tensorflow-serving /tf_boxconv

The server cannot load op libraries at run time, so the ops are linked into it. This script imports
only Python's standard library.
"""

import argparse
import sys
from pathlib import Path

LABEL = "@tf_boxconv//:box_conv_ops"
OPS_LIST = "SUPPORTED_TENSORFLOW_OPS = "


def add_op_library(build: str) -> str:
    """Returns the text of tensorflow_serving/model_servers/BUILD with the ops added."""
    if LABEL in build:
        return build
    start = build.find(f"\n{OPS_LIST}")
    # The list may be a sum of lists. Its last bracket is alone on a line.
    end = build.find("\n]\n", start)
    if start < 0 or end < 0:
        raise ValueError(f"no list {OPS_LIST.split()[0]} of the expected form")
    return f'{build[:end]}\n    "{LABEL}",{build[end:]}'


def add_repository(workspace: str, checkout: str) -> str:
    """Returns the text of WORKSPACE with the checkout of tf_boxconv added as a repository."""
    added = f'\nlocal_repository(\n    name = "tf_boxconv",\n    path = "{checkout}",\n)\n'
    if added in workspace:
        return workspace
    if 'name = "tf_boxconv"' in workspace:
        raise ValueError("WORKSPACE has another repository named tf_boxconv already")
    return workspace + added


def patch(tree: str, checkout: str) -> None:
    """Patches the tree, or writes nothing if a file is not as expected."""
    root = Path(checkout).resolve()  # Bazel takes relative paths from the tree.
    if not (root / "BUILD").is_file():
        raise ValueError(f"{checkout} is no checkout of tf_boxconv: it has no file BUILD")
    build = Path(tree, "tensorflow_serving", "model_servers", "BUILD")
    workspace = Path(tree, "WORKSPACE")
    try:
        texts = {
            build: add_op_library(build.read_text()),
            workspace: add_repository(workspace.read_text(), str(root)),
        }
    except ValueError as error:
        raise ValueError(f"{build}: {error}") from None
    for path, text in texts.items():
        path.write_text(text)
    print(f"{LABEL} is in {build}, its repository in {workspace}")


def main(argv=None) -> None:
    """Runs the command `patch_model_server.py`."""
    parser = argparse.ArgumentParser(
        description="Add the box operators to a source tree of TensorFlow Serving, in place."
    )
    parser.add_argument("tree", metavar="TREE", help="the source tree of TensorFlow Serving")
    parser.add_argument("checkout", metavar="CHECKOUT", help="the checkout of tf_boxconv")
    arguments = parser.parse_args(argv)
    try:
        patch(arguments.tree, arguments.checkout)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
