"""The messages on the troubleshooting pages are messages of the code."""

import ast
import re

import keras
import numpy as np
import pytest

import tf_boxconv
from tests.docs.pages import DOCS, ROOT

# Messages of Keras, TensorFlow, ONNX Runtime and Python.
OTHERS = (
    "Could not locate class",
    "Op type not registered",
    "No module named",
    "No Op registered for Erfc",
    "expected ndim=4",
    "Conv2DCustomBackpropFilterOp",
)


def _python_strings(tree: ast.AST) -> list[str]:
    """All strings; placeholders of f-strings become ellipses."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [v.value if isinstance(v, ast.Constant) else "..." for v in node.values]
            found.append("".join(parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return found


def _strings_of_the_code() -> str:
    files = [ROOT / "setup.py", *(ROOT / "tf_boxconv").rglob("*.py")]
    strings = [text for file in files for text in _python_strings(ast.parse(file.read_text()))]
    for file in (ROOT / "custom_ops").rglob("*.[hc]*"):
        # Adjacent literals are one string.
        joined = re.sub(r'"\s*\n\s*"', "", file.read_text())
        strings += re.findall(r'"((?:[^"\\\n]|\\.)*)"', joined)
    return "\n".join(strings)


def _messages() -> list[str]:
    """The first column of all tables about errors."""
    found = []
    for page in ("troubleshooting", "install"):
        text = (DOCS / f"{page}.md").read_text()
        for table in re.findall(r"^\| message .*\n\|[-| ]+\|\n((?:\|.*\n)+)", text, re.MULTILINE):
            for row in table.splitlines():
                cell = row.split(" | ")[0].removeprefix("| ").removeprefix("warning: ")
                code = re.match(r"`` (.+?) ``|`(.+?)`", cell)
                found += [code[1] or code[2]] if code else []
    return [message for message in found if not message.startswith(OTHERS)]


CODE = _strings_of_the_code()
MESSAGES = _messages()


def test_messages_are_found():
    assert len(MESSAGES) > 40


@pytest.mark.parametrize("message", MESSAGES)
def test_the_code_has_the_message(message):
    assert message in CODE


def _page() -> str:
    return (DOCS / "troubleshooting.md").read_text()


@pytest.mark.parametrize(
    "layer", [tf_boxconv.layers.BoxConv2D(2), tf_boxconv.layers.BoxBottleneck(1)]
)
def test_the_page_has_the_message_of_keras_about_the_rank(layer):
    message = "expected ndim=4, found ndim=3"
    assert message in _page()
    with pytest.raises(ValueError, match=message):
        layer(np.ones((4, 5, 3)))


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="a message of TensorFlow")
def test_the_page_has_the_message_of_tensorflow_about_channels_first():
    message = "currently only supports the NHWC tensor format"
    assert message in _page()
    layer = keras.layers.Conv2D(2, 1, data_format="channels_first")
    x = np.ones((1, 3, 4, 5), "float32")
    try:
        layer(x)  # GPUs run it.
    except Exception as error:
        assert message in str(error)
    tf_boxconv.layers.BoxConv2D(2, data_format="channels_first")(x)


def test_the_page_has_the_messages_of_draw_boxes():
    plain = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.ReLU()])
    for wrong, error in ((plain, ValueError), (np.ones(4), TypeError)):
        with pytest.raises(error) as raised:
            tf_boxconv.visualize.draw_boxes(wrong)
        start = str(raised.value).split(". Received")[0].removeprefix("`layer` ")
        assert f"`{start}`" in _page()
