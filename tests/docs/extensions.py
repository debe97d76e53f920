"""Loads the Sphinx extensions of docs/extensions, which import nothing of Sphinx."""

import importlib.util

from tests.docs.pages import DOCS


def load(name: str):
    """Returns the module of an extension."""
    path = DOCS / "extensions" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
