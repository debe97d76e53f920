"""Exports a model and runs the export in its own runtime."""

import pytest

import tf_boxconv
from benchmarks.export_runtimes import RUNTIMES
from examples.web.runtime import RuntimeMissingError
from tf_boxconv.exporting import FORMATS


def skip_unless_installed(format: str) -> None:
    """Skips the test if a package that writes the format is missing."""
    for name in FORMATS[format].needs:
        pytest.importorskip(name, reason=f"{name} is missing")


def exported(built, folder, format, **options):
    """Exports the model to `folder`; returns a function from images to the export's outputs."""
    skip_unless_installed(format)
    path = folder / f"model{FORMATS[format].suffix or ''}"
    tf_boxconv.export(built, path, format, **options)
    assert [entry.name for entry in folder.iterdir()] == [path.name]
    return loaded(path, format)


def loaded(path, format, **options):
    """Loads an export into its runtime. Skips the test if the runtime is not installed."""
    try:
        return RUNTIMES[format](path, **options)
    except RuntimeMissingError as error:
        pytest.skip(str(error))
