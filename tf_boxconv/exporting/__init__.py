"""Export of Keras models with box layers to other runtimes, most of them without the op library."""

from tf_boxconv.exporting.export import FORMATS, export

__all__ = ["FORMATS", "export"]
