"""The error for a converter that is not installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

# The requirement to install for each module, as in the extra `export` of pyproject.toml.
_REQUIREMENTS = {
    "onnx": "onnx>=1.17,<2",
    "openvino": "openvino>=2025.2,<2027",
    "tf2onnx": "tf2onnx>=1.17,<2",
}


def require_modules(names: Sequence[str], wanted_by: str) -> None:
    """Raises an `ImportError` with the command to install modules that cannot be imported.

    Args:
        names: The modules.
        wanted_by: The subject of the message, such as `'format="onnx"'`.
    """
    missing = [name for name in names if not _is_installed(name)]
    if missing:
        packages = " ".join(f'"{_REQUIREMENTS.get(name, name)}"' for name in missing)
        raise ImportError(
            f"{wanted_by} needs modules that are not installed: {', '.join(missing)}. "
            f"Run `pip install {packages}`."
        )


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # The module in `sys.modules` has `__spec__ = None`.
        return False
