"""Every public name has an entry in the API reference."""

import re

import keras
import pytest

import tf_boxconv
from tests.docs.pages import DOCS

MODULES = ("layers", "initializers", "constraints", "visualize")


def _documented() -> set[str]:
    """The full names of all autodoc directives on the API pages."""
    found = set()
    for page in (DOCS / "api").glob("*.md"):
        module = ""
        for directive, name in re.findall(
            r"^\.\. ([\w:]+):: (\S+)$", page.read_text(), re.MULTILINE
        ):
            if directive == "currentmodule":
                module = name
            else:
                found.add(f"{module}.{name}")
    return found


def _public() -> list[str]:
    names = [f"tf_boxconv.{name}" for name in tf_boxconv.__all__ if name not in MODULES]
    for module in (tf_boxconv.layers, tf_boxconv.visualize):
        names += [f"{module.__name__}.{name}" for name in module.__all__]
    kinds = (keras.initializers.Initializer, keras.constraints.Constraint)
    for module, kind in zip((tf_boxconv.initializers, tf_boxconv.constraints), kinds, strict=True):
        own = [value for value in vars(module).values() if isinstance(value, type)]
        own = [value for value in own if issubclass(value, kind)]
        names += [f"{module.__name__}.{value.__name__}" for value in own]
    return [*names, "tf_boxconv.inspect.inspect"]


@pytest.mark.parametrize("name", _public())
def test_a_public_name_has_an_entry(name):
    assert name in _documented()
