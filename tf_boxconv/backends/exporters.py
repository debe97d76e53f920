"""Recognises when an exporter traces a model for a runtime that lacks the compiled operators.

Exporters call a model like anybody else and pass no sign of what they do. Their modules on the call
stack give them away.
"""

from __future__ import annotations

import sys

# Modules, or the packages they are in. Keras's export to a SavedModel is not one of them: a
# SavedModel may hold the compiled operators.
_EXPORTERS = (
    "tf_boxconv.exporting.portable",
    *("keras.src.export.litert", "keras.src.export.onnx", "keras.src.export.openvino"),
    *("tensorflow.lite.", "tf2onnx.", "openvino.", "coremltools.", "tensorflowjs."),
    *("jax._src.export.", "jax.experimental.jax2tf.", "jax2onnx."),
)


def called_by_exporter() -> bool:
    """Whether a function of an exporter is on the call stack.

    This takes some microseconds: backends call it while they trace, not on eager calls.
    """
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_EXPORTERS):
            return True
        frame = frame.f_back
    return False
