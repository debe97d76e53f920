"""Reads panels, colour bars and legends from matplotlib figures."""

import matplotlib.axes
import matplotlib.figure


def panels(figure: matplotlib.figure.Figure) -> list[matplotlib.axes.Axes]:
    """Returns the visible axes that are not colour bars."""
    return [axes for axes in figure.axes if axes.axison and axes.get_label() != "<colorbar>"]


def color_bar(figure: matplotlib.figure.Figure) -> matplotlib.axes.Axes:
    """Returns the axes of the only colour bar."""
    (axes,) = (axes for axes in figure.axes if axes.get_label() == "<colorbar>")
    return axes


def assert_nothing_is_covered_or_cut_off(figure: matplotlib.figure.Figure) -> None:
    """Checks that all labels lie inside the figure, and all legends outside the axes."""
    figure.draw_without_rendering()
    legends = [legend for legend in (axes.get_legend() for axes in figure.axes) if legend]
    legends += figure.legends
    shown = [axes for axes in figure.axes if axes.axison]
    boxes = [artist.get_tightbbox() for artist in [*shown, *legends]]
    for box in boxes:
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1, box
        assert box.y0 >= 0 and box.y1 <= figure.bbox.y1, box
    for legend in legends:
        for axes in shown:
            assert not legend.get_window_extent().overlaps(axes.get_window_extent())
    for legend in figure.legends:
        for axes in shown:  # With the axes' labels and titles.
            assert not legend.get_window_extent().overlaps(axes.get_tightbbox())
