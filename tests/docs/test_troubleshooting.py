"""The messages on the troubleshooting pages are messages of the code."""

import ast
import re

import pytest

from tests.docs.pages import DOCS, ROOT

# Messages of Keras, TensorFlow and Python.
OTHERS = ("Could not locate class", "Op type not registered", "No module named")


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
