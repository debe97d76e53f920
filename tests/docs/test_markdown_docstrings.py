"""The conversion of Markdown in docstrings to reStructuredText, for Sphinx."""

import pytest

import tf_boxconv
from tests.docs.extensions import load

markdown_docstrings = load("markdown_docstrings")
NAMES = {"BoxConv2D": "tf_boxconv.layers.BoxConv2D"}


def convert(text: str) -> str:
    return markdown_docstrings.to_restructured_text(text, NAMES)


def test_code_spans_become_literals_and_links():
    assert convert("Takes `filters`, see `BoxConv2D`.") == (
        "Takes ``filters``, see :py:obj:`BoxConv2D <tf_boxconv.layers.BoxConv2D>`."
    )


def test_a_code_span_goes_on_in_the_next_line():
    assert convert("The shape is `(batch,\nheight)`.") == "The shape is ``(batch, height)``."


@pytest.mark.parametrize("text", ["``literal``", ":math:`x^2`"])
def test_restructured_text_stays(text):
    assert convert(text) == text


def test_a_table_becomes_a_list_table():
    table = "| format | runs in |\n| --- | --- |\n| `onnx` | ONNX Runtime |\n"
    assert convert(table).splitlines() == [
        ".. list-table::",
        "   :header-rows: 1",
        "",
        "   * - format",
        "     - runs in",
        "   * - ``onnx``",
        "     - ONNX Runtime",
    ]


def test_an_example_below_its_heading_is_indented():
    text = "Example:\n>>> y = f(`x`)\n>>> y\n(4, 4)\n\nMore `text`."
    assert convert(text) == (
        "Example:\n    >>> y = f(`x`)\n    >>> y\n    (4, 4)\n\nMore ``text``."
    )


def test_a_list_below_its_heading_is_indented():
    text = "Reference:\n- Luo et al.,\n  `f`\n\nMore."
    assert convert(text) == "Reference:\n    - Luo et al.,\n      ``f``\n\nMore."


def test_an_indented_block_is_code():
    text = "It computes\n\n    y = f(`x`)\n    z = g(y)\n\nand returns it."
    assert convert(text) == "It computes\n\n::\n\n    y = f(`x`)\n    z = g(y)\n\nand returns it."


def test_a_fenced_block_is_code():
    assert convert("Text:\n```python\nx = 1\n```\nMore.").splitlines() == [
        "Text:",
        "",
        ".. code-block:: python",
        "",
        "    x = 1",
        "",
        "More.",
    ]


def test_sections_keep_their_indentation():
    text = "Args:\n    x: A tensor.\n        It has rank 4.\n\n    y: Another."
    assert convert(text) == text


def test_public_names():
    names = markdown_docstrings.public_names()
    assert names["BoxConv2D"] == "tf_boxconv.layers.BoxConv2D"
    assert names["RandomBoxes"] == "tf_boxconv.initializers.RandomBoxes"
    assert names["tf_boxconv.export"] == "tf_boxconv.export"
    assert "layers" not in names


def test_a_signature_shows_the_arguments_of_the_constructor():
    signature = markdown_docstrings.class_signature(tf_boxconv.layers.BoxConv2D)
    assert signature.startswith("(filters, *, depth_multiplier=4, strides=1")
