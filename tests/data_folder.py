"""The folder of photographs for tests, which may not exist."""

import os
from pathlib import Path

_BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared" / "data"
DATA_DIR = Path(os.environ.get("TF_BOXCONV_DATA_DIR", _BESIDE_THE_CHECKOUT))
