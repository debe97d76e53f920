"""Exports Keras models with box layers to other runtimes."""

from tf_boxconv.exporting.export import FORMATS, export

__all__ = ["FORMATS", "export"]
