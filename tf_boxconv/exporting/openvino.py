"""Writes OpenVINO's intermediate representation: `model.xml` and `model.bin`."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from tf_boxconv import description
from tf_boxconv.version import __version__


def write(saved_model: Path, folder: Path) -> None:
    """Converts a portable SavedModel, with weights in float32."""
    import openvino

    folder.mkdir()
    model = openvino.convert_model(str(saved_model))
    model.set_rt_info(__version__, [description.MARK])
    # By default OpenVINO stores weights as float16, which is not precise enough for box edges.
    openvino.save_model(model, str(folder / "model.xml"), compress_to_fp16=False)
    # `save_model` does not report a full disk. Reading the model detects missing bytes.
    openvino.Core().read_model(str(folder / "model.xml"))


def own_files(folder: Path) -> set[str]:
    """See `output.Kind`."""
    try:
        root = ElementTree.parse(folder / "model.xml").getroot()
    except (OSError, ElementTree.ParseError):
        return set()
    marked = root.tag == "net" and root.find(f"rt_info/{description.MARK}") is not None
    return {"model.xml", "model.bin"} if marked else set()
