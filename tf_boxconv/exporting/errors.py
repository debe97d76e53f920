"""The error for a converter that is not installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

# What pip installs for a module: the versions that pyproject.toml's extra `export` asks for.
_REQUIREMENTS = {
    "onnx": "onnx>=1.17,<2",
    "openvino": "openvino>=2025.2,<2027",
    "tf2onnx": "tf2onnx>=1.17,<2",
}


def require_modules(names: Sequence[str], wanted_by: str) -> None:
    """Raises an `ImportError` that says what to install unless all modules can be imported."""
    missing = [name for name in names if not _is_installed(name)]
    if missing:
        packages = " ".join(f'"{_REQUIREMENTS.get(name, name)}"' for name in missing)
        raise ImportError(
            f"{wanted_by} needs what is not installed: {', '.join(missing)}. "
            f"Install it with `pip install {packages}`."
        )


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # The module in `sys.modules` has no specification.
        return False
