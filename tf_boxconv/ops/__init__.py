"""The public operators, such as `box_conv2d`, and their portable path."""
