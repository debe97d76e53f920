"""The operators: `box_conv2d`, `integral_image`, and their stock-op path."""
