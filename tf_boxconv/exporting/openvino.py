"""OpenVINO's intermediate representation."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from tf_boxconv import description
from tf_boxconv.version import __version__


def write(saved_model: Path, folder: Path) -> None:
    """Converts a portable SavedModel to `model.xml` and `model.bin`, weights in float32."""
    import openvino

    folder.mkdir()
    model = openvino.convert_model(str(saved_model))
    model.set_rt_info(__version__, [description.MARK])
    # OpenVINO would store weights as float16, and box edges need more than that.
    openvino.save_model(model, str(folder / "model.xml"), compress_to_fp16=False)
    # OpenVINO does not notice when the disk is full; reading finds the missing bytes.
    openvino.Core().read_model(str(folder / "model.xml"))


def own_files(folder: Path) -> set[str]:
    """See `output.Kind`."""
    try:
        root = ElementTree.parse(folder / "model.xml").getroot()
    except (OSError, ElementTree.ParseError):
        return set()
    marked = root.tag == "net" and root.find(f"rt_info/{description.MARK}") is not None
    return {"model.xml", "model.bin"} if marked else set()
