"""Finds out how this package was installed, so that an error can say how to rebuild it."""

from __future__ import annotations

import importlib.metadata
import json
import shlex
import urllib.parse
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def build_again() -> str:
    """Returns a sentence with a command that rebuilds the compiled libraries."""
    return f"Build it again: {build_command()}."


def build_command() -> str:
    """Returns the words that name a command that builds the compiled libraries."""
    command = "pip install --force-reinstall --no-deps --no-cache-dir"
    sources = _sources()
    if sources is None:
        return f"run `{command} .` in a checkout of tf_boxconv"
    return f"run `{command} {sources}`"


def _sources() -> str | None:
    """Returns the argument of `pip install` for this package; None if unknown or a wheel."""
    checkout = _PACKAGE.parent
    if (checkout / "custom_ops" / "CMakeLists.txt").exists():
        return f"-e {shlex.quote(str(checkout))}"
    try:
        distribution = importlib.metadata.distribution("tf_boxconv")
        if Path(distribution.locate_file("tf_boxconv")).resolve() != _PACKAGE:
            return None
        return _requirement(json.loads(distribution.read_text("direct_url.json") or "{}"))
    except (importlib.metadata.PackageNotFoundError, OSError, ValueError, KeyError, TypeError):
        return None


def _requirement(origin: dict) -> str | None:
    """Returns the argument of `pip install` for an origin that pip recorded (PEP 610)."""
    url = origin.get("url", "")
    if "vcs_info" in origin:
        version = origin["vcs_info"]
        return shlex.quote(f"{version['vcs']}+{url}@{version['commit_id']}")
    if url.endswith(".whl"):
        return None
    if url.startswith("file://"):
        path = Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path))
        return shlex.quote(str(path)) if path.exists() else None
    return shlex.quote(url) if url else None
