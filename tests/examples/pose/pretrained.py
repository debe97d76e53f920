"""The run folders of the networks that the repository ships."""

from examples.pose.inference.model_files import PRETRAINED

# Written by an earlier version of `examples.pose.train`, which had fewer arguments.
STICK_FIGURES = PRETRAINED.with_name("stick_figures")
