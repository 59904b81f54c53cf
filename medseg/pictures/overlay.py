"""Contours of label and segmentation over the image, one row of views per case."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from medseg.files import replacing
from medseg.pictures.views import Panel, View, views_of

_Colour: TypeAlias = tuple[float, float, float]

# Inches, at 100 pixels each.
_DPI = 100
_WIDEST_ROW, _TALLEST_ROW, _NARROWEST_FIGURE = 13.0, 3.6, 6.0
_GAP, _TEXT_LINE, _LEGEND_LINE, _LETTER = 0.1, 0.28, 0.8, 0.08

_BACKGROUND, _INK = "black", "0.9"
_SOLID: Any = "solid"
_DASHED: Any = (0, (3, 2))
_LABEL_STYLE: dict[str, Any] = {"linestyles": _SOLID, "linewidths": 1.2}
_SEGMENTATION_STYLE: dict[str, Any] = {"linestyles": [_DASHED], "linewidths": 1.2}
_HALO = [withStroke(linewidth=2, foreground=_BACKGROUND)]
# Left, right, top and bottom edge, in fractions of the axes.
_LETTER_PLACES = ((0.02, 0.5), (0.98, 0.5), (0.5, 0.97), (0.5, 0.03))


@dataclass(frozen=True)
class _Row:
    """One case's views and the scale that they share."""

    title: str
    views: list[View]
    inches_per_mm: float

    @property
    def width(self) -> float:
        gaps = _GAP * (len(self.views) - 1)
        return sum(view.size_mm[0] for view in self.views) * self.inches_per_mm + gaps

    @property
    def height(self) -> float:
        return max(view.size_mm[1] for view in self.views) * self.inches_per_mm


def contact_sheet(
    panels: Sequence[Panel],
    *,
    colours: Mapping[int, tuple[int, int, int]],
    class_names: Mapping[int, str],
    title: str | None = None,
) -> Figure:
    """One row per case: the contours of its label (solid) and its segmentation (dashed) on the image.

    A volume is shown in an axial, a coronal and a sagittal slice, in radiological convention (the
    patient's right on the left), each through most of the structures; a 2D image is shown whole.
    Values without a name, and 0, are not drawn.

    Args:
        panels: The cases, from top to bottom.
        colours: Red, green and blue from 0 to 255 per class value.
        class_names: The classes to draw and their names in the legend.
        title: What stands above all of it.

    Raises:
        ValueError: there is no panel, or a class has no colour.
    """
    if not panels:
        raise ValueError("a contact sheet needs one panel or more")
    lines = _line_colours(colours, class_names)
    rows = [_row(panel) for panel in panels]
    handles = _legend_handles(rows, lines, class_names)
    width = max(_NARROWEST_FIGURE, *(row.width for row in rows)) + 2 * _GAP
    longest_name = max((len(str(handle.get_label())) for handle in handles), default=0)
    columns = max(1, int(width / (_LEGEND_LINE + longest_name * _LETTER)))
    legend_height = math.ceil(len(handles) / columns) * _TEXT_LINE + _GAP
    top = _TEXT_LINE + _GAP if title else 0.0
    height = top + sum(_TEXT_LINE + row.height + _GAP for row in rows) + legend_height
    figure = Figure((width, height), dpi=_DPI, facecolor=_BACKGROUND)
    FigureCanvasAgg(figure)
    if title:
        _write(figure, title, y=height - top / 2, size=12)
    y = height - top
    for row in rows:
        _write(figure, row.title, y=y - _TEXT_LINE / 2, size=10)
        y -= _TEXT_LINE + row.height
        _draw_row(figure, row, y, lines)
        y -= _GAP
    _draw_legend(figure, handles, columns)
    return figure


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG; a file of that name is replaced at once or, on failure, left alone.

    Raises:
        OutputError: the file cannot be written.
    """
    with replacing(path) as unfinished:
        figure.savefig(unfinished, format="png", facecolor=figure.get_facecolor())


def _line_colours(colours: Mapping[int, tuple[int, int, int]], class_names: Mapping[int, str]) -> dict[int, _Colour]:
    """The colours, from 0 to 1, of the classes that are drawn."""
    lines = {}
    for value, name in sorted(class_names.items()):
        if value == 0:
            continue
        if value not in colours:
            raise ValueError(f"class {value} ({name}) has no colour")
        red, green, blue = colours[value]
        lines[value] = (red / 255, green / 255, blue / 255)
    return lines


def _row(panel: Panel) -> _Row:
    views = views_of(panel)
    width_mm = sum(view.size_mm[0] for view in views)
    height_mm = max(view.size_mm[1] for view in views)
    return _Row(panel.title, views, min(_WIDEST_ROW / width_mm, _TALLEST_ROW / height_mm))


def _draw_row(figure: Figure, row: _Row, bottom: float, lines: Mapping[int, _Colour]) -> None:
    """Draw the views side by side, their lower edges `bottom` inches above the figure's."""
    figure_width, figure_height = figure.get_size_inches()
    left = _GAP
    for view in row.views:
        width, height = (length * row.inches_per_mm for length in view.size_mm)
        middle = bottom + (row.height - height) / 2
        axes = figure.add_axes(
            (left / figure_width, middle / figure_height, width / figure_width, height / figure_height)
        )
        _draw_view(axes, view, lines)
        left += width + _GAP


def _draw_view(axes: Axes, view: View, lines: Mapping[int, _Colour]) -> None:
    low, high = view.window
    axes.imshow(view.image, cmap="gray", vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    limits = axes.axis()
    for array, style in ((view.label, _LABEL_STYLE), (view.segmentation, _SEGMENTATION_STYLE)):
        for value, colour in lines.items():
            if array is not None and (array == value).any():
                _outline(axes, array == value, colour, style)
    axes.axis(limits)
    axes.set_axis_off()
    if view.letters:
        for letter, (x, y) in zip(view.letters, _LETTER_PLACES, strict=True):
            text = axes.text(x, y, letter, transform=axes.transAxes, color=_INK, size=8)
            text.set(ha="center", va="center", path_effects=_HALO)


def _outline(axes: Axes, mask: NDArray[np.bool_], colour: _Colour, style: Mapping[str, Any]) -> None:
    # A border of background closes the contour of what touches the edge of the picture.
    padded = np.pad(mask, 1).astype(np.float32)
    rows, columns = (np.arange(-1, length + 1) for length in mask.shape)
    axes.contour(columns, rows, padded, levels=[0.5], colors=[colour], **style)


def _legend_handles(rows: Sequence[_Row], lines: Mapping[int, _Colour], class_names: Mapping[int, str]) -> list[Line2D]:
    """A line for every class and every kind of contour that the sheet shows."""
    labels, segmentations = (
        [array for row in rows for view in row.views if (array := getattr(view, role)) is not None]
        for role in ("label", "segmentation")
    )
    shown = {value for array in (*labels, *segmentations) for value in np.unique(array)}
    handles = [
        Line2D([], [], color=colour, linewidth=4, label=class_names[value])
        for value, colour in lines.items()
        if value in shown
    ]
    if labels:
        handles.append(Line2D([], [], color=_INK, label="label", linestyle=_SOLID))
    if segmentations:
        handles.append(Line2D([], [], color=_INK, label="segmentation", linestyle=_DASHED))
    return handles


def _draw_legend(figure: Figure, handles: list[Line2D], columns: int) -> None:
    if handles:
        figure.legend(handles=handles, loc="lower left", ncols=columns, frameon=False, labelcolor=_INK, fontsize=9)


def _write(figure: Figure, text: str, *, y: float, size: float) -> None:
    width, height = figure.get_size_inches()
    figure.text(_GAP / width, y / height, text, color=_INK, size=size, va="center", parse_math=False)
