"""Sphinx extension: renders the Markdown in docstrings.

The docstrings follow Keras: Google sections with Markdown inside. Autodoc expects
reStructuredText. Before napoleon handles the sections, this extension converts what differs:
code spans, tables, indented and fenced code blocks, and examples that are not indented.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import re
from collections.abc import Iterator

_PACKAGE = "tf_boxconv"
_MODULES = ("layers", "initializers", "constraints", "visualize")

_SECTION = re.compile(r"[A-Z][a-z]+( [a-z]+)?:$")  # "Args:", "Input shape:"
_FENCE = re.compile(r"(\s*)```(\w*)$")
_TABLE_RULE = re.compile(r"\s*\|(\s*:?-+:?\s*\|)+$")
# A code span may go on in the next line. Double backticks and roles such as :math:`x` stay.
_CODE_SPAN = re.compile(r"(?<![`:])`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")


def to_restructured_text(docstring: str, names: dict[str, str]) -> str:
    """Converts a docstring. Code spans that are keys of `names` become links to the values."""
    parts = []
    marked = _mark_code(docstring.split("\n"))
    for is_code, lines in itertools.groupby(marked, key=lambda pair: pair[0]):
        part = [line for _, line in lines]
        text = "\n".join(part if is_code else _convert_tables(part))
        parts.append(text if is_code else _CODE_SPAN.sub(lambda m: _literal(m[1], names), text))
    return "\n".join(parts)


def _mark_code(lines: list[str]) -> Iterator[tuple[bool, str]]:
    """Yields `(is_code, line)`, with blocks marked up as reStructuredText expects them."""
    section = fence = False  # within a section, within a fenced block
    block = None  # within an indented code block, or text of a section that is not indented
    previous = ""
    for line in lines:
        fence_line = _FENCE.match(line)
        if not line.strip() and block != "code":
            block = None
        if fence_line:
            fence = not fence
            if fence:
                indent, language = fence_line.groups()
                yield False, ""
                yield False, f"{indent}.. code-block:: {language or 'text'}"
            yield False, ""
        elif fence:
            yield True, f"    {line}"
        elif block == "text" or (section and _starts_text(line, previous)):
            block = "text"
            yield _is_doctest(line), f"    {line}"
        elif not section and line.startswith("    ") and (block or not previous.strip()):
            if not block:
                yield from ((False, "::"), (False, ""))
            block = "code"
            yield True, line
        else:
            if line.strip():
                block = None
                if not line.startswith(" "):
                    section = bool(_SECTION.match(line))
            yield block == "code" or _is_doctest(line), line
        previous = line


def _starts_text(line: str, previous: str) -> bool:
    """Whether an unindented line is text of a section: an example, or text below the heading."""
    if line.startswith(">>>"):
        return True
    return bool(line.strip()) and not line.startswith(" ") and bool(_SECTION.match(previous))


def _is_doctest(line: str) -> bool:
    return line.lstrip().startswith((">>>", "..."))


def _convert_tables(lines: list[str]) -> Iterator[str]:
    """Replaces each Markdown table by a list-table."""
    i = 0
    while i < len(lines):
        if i + 1 < len(lines) and _TABLE_RULE.match(lines[i + 1]):
            indent = lines[i][: len(lines[i]) - len(lines[i].lstrip())]
            yield from (f"{indent}.. list-table::", f"{indent}   :header-rows: 1", "")
            yield from _table_row(lines[i], indent)
            i += 2
            while i < len(lines) and lines[i].lstrip().startswith("|"):
                yield from _table_row(lines[i], indent)
                i += 1
        else:
            yield lines[i]
            i += 1


def _table_row(line: str, indent: str) -> Iterator[str]:
    for i, cell in enumerate(line.strip().strip("|").split("|")):
        yield f"{indent}   {' ' if i else '*'} - {cell.strip()}"


def _literal(code: str, names: dict[str, str]) -> str:
    """A code span as reStructuredText: a link to a public name, or a literal."""
    code = " ".join(code.split())
    if code in names:
        return f":py:obj:`{code} <{names[code]}>`"
    return f"``{code}``"


def public_names() -> dict[str, str]:
    """The names by which docstrings mention public objects, and their full names."""
    package = importlib.import_module(_PACKAGE)
    names = {name: f"{_PACKAGE}.{name}" for name in module_names(package)}
    for module in _MODULES:
        for name in module_names(getattr(package, module)):
            names[name] = f"{_PACKAGE}.{module}.{name}"
    return names | {full: full for full in names.values()}


def module_names(module) -> list[str]:
    """The public functions and classes of a module: those in `__all__`, or its own classes."""
    if hasattr(module, "__all__"):
        return [name for name in module.__all__ if callable(getattr(module, name))]
    classes = inspect.getmembers(module, inspect.isclass)
    return [name for name, value in classes if value.__module__ == module.__name__]


def class_signature(cls: type) -> str:
    """The arguments of a class's constructor. Keras's layers hide them from autodoc."""
    _, *parameters = inspect.signature(cls.__init__).parameters.values()
    # Box layers accept further positional arguments only to explain the error.
    shown = [p for p in parameters if p.kind != inspect.Parameter.VAR_POSITIONAL]
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in shown]
    return str(inspect.Signature(bare))


def setup(app) -> dict:
    """Registers the conversion, to run before napoleon's, and the signatures of classes."""
    names = public_names()

    def convert(app, what, name, obj, options, lines):
        lines[:] = to_restructured_text("\n".join(lines), names).split("\n")

    def sign(app, what, name, obj, options, signature, return_annotation):
        return (class_signature(obj), None) if what == "class" else None

    app.connect("autodoc-process-docstring", convert, priority=400)
    app.connect("autodoc-process-signature", sign)
    return {"parallel_read_safe": True}
