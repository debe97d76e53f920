"""The quickstart: its script is generated from its notebook. `make quickstart` runs both."""

from pathlib import Path

import nbformat
from nbconvert import PythonExporter

FOLDER = Path(__file__).parents[2] / "examples" / "quickstart"
NOTEBOOK = FOLDER / "quickstart.ipynb"
SCRIPT = FOLDER / "quickstart.py"


def lines_of(code):
    """The lines that are not blank: `ruff format` changes the blank lines of the script."""
    return [line for line in code.splitlines() if line]


def test_the_script_holds_the_code_of_the_notebook():
    exporter = PythonExporter(exclude_markdown=True, exclude_input_prompt=True)
    code, _ = exporter.from_filename(str(NOTEBOOK))
    code = code.removeprefix("#!/usr/bin/env python\n# coding: utf-8\n")
    assert lines_of(SCRIPT.read_text()) == lines_of(code), (
        "examples/quickstart/README.md says how to generate the script"
    )


def test_the_notebook_is_valid_and_has_no_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None


def test_the_script_is_valid_and_short():
    script = SCRIPT.read_text()
    compile(script, str(SCRIPT), "exec")
    assert len(script.splitlines()) <= 80
