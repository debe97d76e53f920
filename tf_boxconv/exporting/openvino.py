"""OpenVINO's intermediate representation."""

from __future__ import annotations

from pathlib import Path


def write(saved_model: Path, folder: Path) -> None:
    """Converts a portable SavedModel to `model.xml` and `model.bin`, weights in float32."""
    import openvino

    folder.mkdir()
    model = openvino.convert_model(str(saved_model))
    # OpenVINO would store weights as float16, and box edges need more than that.
    openvino.save_model(model, str(folder / "model.xml"), compress_to_fp16=False)
    (folder / "model.xml").stat()
    (folder / "model.bin").stat()
