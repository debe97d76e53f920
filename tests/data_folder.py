"""Where photographs for tests are, if there are any."""

import os
from pathlib import Path

_BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared" / "data"
DATA_DIR = Path(os.environ.get("TF_BOXCONV_DATA_DIR", _BESIDE_THE_CHECKOUT))
