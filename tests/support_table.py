"""Counts the tests that pass on each backend of Keras, for the support table of the docs.

`make support-table` runs the tests with `--junitxml` on each backend, then this script on the files
that pytest wrote.
"""

from __future__ import annotations

import collections
import sys
import xml.etree.ElementTree
from pathlib import Path

# The labels of the rows, by how the names of their test modules begin. The first match decides.
ROWS = {
    "tests.ops.test_box_conv_gradients": "gradients of gradients",
    "tests.ops.test_box_conv_bad_input": "bad input",
    "tests.ops.test_box_conv": "`box_conv2d`: values and gradients",
    "tests.ops.test_separable_box_conv": "`separable_box_conv2d`",
    "tests.ops.test_integral_image": "`integral_image`, with gradients",
    "tests.layers.test_across_backends": "files of one backend on the others",
    "tests.layers.test_saving": "layers: saving",
    "tests.layers.test_training": "layers: training",
    "tests.layers": "layers: all else",
    "tests.visualize": "`visualize`",
    "tests.test_": "initializer, constraint",
    "tests.backends.test_tensorflow_xla": "`jit_compile=True` (XLA)",
    "tests.backends": "the backend's own: graphs; jit, vmap, sharding; `torch.compile`",
}


def counts(path: Path) -> collections.Counter:
    """Returns the number of passed tests for each row. Exits with an error if a test failed."""
    passed = collections.Counter()
    for case in xml.etree.ElementTree.parse(path).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            raise SystemExit(f"{path}: {case.get('classname')}::{case.get('name')} failed")
        if case.find("skipped") is None:
            name = case.get("classname")
            row = next((row for row in ROWS if name.startswith(row)), None)
            passed[row] += 1
    return passed


def table(files: list[Path]) -> str:
    """Returns the table in Markdown. Each file is named after its backend."""
    found = {path.stem: counts(path) for path in files}
    lines = ["tests passed | " + " | ".join(found), "--- | " + " | ".join("---" for _ in found)]
    for row, label in ROWS.items():
        cells = [str(passed[row] or "-") for passed in found.values()]
        lines.append(f"{label} | " + " | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines)


if __name__ == "__main__":
    print(table([Path(name) for name in sys.argv[1:]]))
