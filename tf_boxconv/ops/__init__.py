"""The operators `box_conv2d` and `integral_image`, and their portable path."""
