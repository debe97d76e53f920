"""Runs the examples in docstrings and in the documentation's pages, on TensorFlow."""

import doctest
import importlib
import pkgutil

import keras
import numpy as np
import pytest

import tf_boxconv
from tests.docs.pages import DOCS, ROOT, code_blocks, name_of

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="the examples show TensorFlow's output"
)

# Pages with complete examples. On other pages code blocks are excerpts.
# tests/visualize/test_understanding_page.py runs docs/understanding.md.
PAGES = [ROOT / "README.md"] + [DOCS / f"{n}.md" for n in ("index", "guide", "export")]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def _modules():
    names = pkgutil.walk_packages(tf_boxconv.__path__, "tf_boxconv.")
    # Modules of other backends import frameworks that may not be installed.
    return [m.name for m in names if not m.name.startswith("tf_boxconv.backends.")]


def _docstring_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = {}
    for name in _modules():
        for test in finder.find(importlib.import_module(name)):
            if test.examples:
                found[test.name] = test
    return found


DOCSTRINGS = _docstring_examples()


def _run(test: doctest.DocTest, namespace: dict) -> None:
    test.globs = namespace
    report = []
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    runner.run(test, out=report.append, clear_globs=False)
    assert not runner.failures, "".join(report)


def test_the_public_names_have_examples():
    classes = ("BoxConv2D", "DepthwiseBoxConv2D", "BoxBottleneck", "RandomBoxes", "box_conv2d")
    for name in classes:
        assert any(found.endswith(f".{name}") for found in DOCSTRINGS), f"no example in {name}"


@pytest.mark.parametrize("name", DOCSTRINGS)
def test_docstring(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    test = DOCSTRINGS[name]
    # `globs` are the names of the module, to which examples may refer.
    _run(test, {**test.globs, "np": np, "keras": keras, "tf_boxconv": tf_boxconv})


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_page(page, tmp_path, monkeypatch):
    """Runs the blocks of a page in order. Blocks with prompts are compared with their output."""
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    namespace = {"__name__": "__main__"}
    blocks = code_blocks(page, "python")
    assert blocks
    for line, code in blocks:
        if code.startswith(">>>"):
            parsed = doctest.DocTestParser().get_doctest(code, {}, name_of(page), str(page), line)
            _run(parsed, namespace)
        else:
            # Empty lines before the code make tracebacks show the lines of the page.
            exec(compile("\n" * (line - 1) + code, str(page), "exec"), namespace)
