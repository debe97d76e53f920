"""Videos of drawn figures that move."""

from fractions import Fraction

import numpy as np

from examples.pose.datasets.stick_figures.figure import draw_figure
from examples.pose.images import video_files

SIZE = 64


def figure():
    """A drawn figure on a square, as image and joints."""
    drawn = draw_figure(7, "test", 3, SIZE)
    return np.asarray(drawn.image, np.uint8), np.asarray(drawn.joints)


def frames(count, width=160, height=90, step=4):
    """Frames with one figure that moves to the right, and the box of the figure in each."""
    image, _ = figure()
    for index in range(count):
        frame = np.full((height, width, 3), 128, np.uint8)
        x = 8 + step * index
        frame[13 : 13 + SIZE, x : x + SIZE] = image
        yield frame, (x, 13, SIZE, SIZE)


def write(path, count=6, rate=10, **options):
    """Writes a video. Returns its frames and boxes."""
    drawn = list(frames(count, **options))
    with video_files.Writer(path, Fraction(rate)) as writer:
        for index, (frame, _) in enumerate(drawn):
            writer.add(frame, Fraction(index, rate))
    return drawn
