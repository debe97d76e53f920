"""Frames Labeled in Cinema (FLIC): an adapter of the data set that `tfds` has itself."""
