"""What is said where a converter is not installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence


def require_modules(names: Sequence[str], wanted_by: str) -> None:
    """Raises an `ImportError` that says what to install unless all modules can be imported."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"{wanted_by} needs what is not installed: {', '.join(missing)}. "
            'Install the converters with `pip install "tf_boxconv[export]"`, or in '
            'a checkout `pip install -e ".[export]"`.'
        )
