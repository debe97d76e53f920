"""Detects exporters that trace a model for a runtime without the compiled operators.

Exporters do not tell a model that they call it. They are detected by their modules on the call
stack.
"""

from __future__ import annotations

import sys

# How the names of exporters' modules begin. Keras's SavedModel export is not in the list, because a
# SavedModel may contain the compiled operators.
_EXPORTERS = (
    "tf_boxconv.exporting.portable",
    *("keras.src.export.litert", "keras.src.export.onnx", "keras.src.export.openvino"),
    *("tensorflow.lite.", "tf2onnx.", "openvino.", "coremltools.", "tensorflowjs."),
    *("jax._src.export.", "jax.experimental.jax2tf.", "jax2onnx."),
)


def called_by_exporter() -> bool:
    """Returns whether a function of an exporter is on the call stack.

    Takes a few microseconds. Backends call it while they trace a model, not in eager mode.
    """
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_EXPORTERS):
            return True
        frame = frame.f_back
    return False
