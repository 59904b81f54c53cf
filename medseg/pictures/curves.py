"""How a model ranks pixels: ROC and precision-recall curves, and where on them one stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

_BACKGROUND, _INK, _GRID = "black", "0.9", "0.3"
_COLOURS = ("#4da3ff", "#ffb000", "#3ddc97", "#ff5f7e", "#b18cff", "#e0e0e0")

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class RankingCurve:
    """The curves of one class.

    Attributes:
        name: of the class.
        roc: false positive rates and sensitivities, ascending, 0 to 1; empty where there is no curve.
        pr: recalls, ascending, and precisions, 0 to 1.
        roc_auc: area under the first.
        average_precision: of the second.
    """

    name: str
    roc: Curve
    pr: Curve
    roc_auc: float
    average_precision: float


@dataclass(frozen=True)
class OperatingPoint:
    """Where a segmentation, or a human, stands: a name and rates from 0 to 1."""

    name: str
    false_positive_rate: float
    sensitivity: float
    precision: float


def roc_pr_figure(curves: Sequence[RankingCurve], points: Sequence[OperatingPoint] = ()) -> Figure:
    """The ROC curves on the left, the precision-recall curves on the right, with operating points marked."""
    figure = Figure((11, 5.2), dpi=100, facecolor=_BACKGROUND, layout="constrained")
    FigureCanvasAgg(figure)
    roc, pr = figure.subplots(1, 2)
    for index, curve in enumerate(curves):
        colour = _COLOURS[index % len(_COLOURS)]
        roc.plot(*curve.roc, color=colour, label=f"{curve.name}, AUC {curve.roc_auc:.4f}")
        pr.plot(*curve.pr, color=colour, label=f"{curve.name}, AP {curve.average_precision:.4f}")
    for index, point in enumerate(points):
        style = {"marker": "osD^vP"[index % 6], "color": _INK, "linestyle": "none", "markersize": 6}
        roc.plot([point.false_positive_rate], [point.sensitivity], label=point.name, **style)
        pr.plot([point.sensitivity], [point.precision], label=point.name, **style)
    for axes in (roc, pr):
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    dress(roc, "false positive rate", "sensitivity")
    dress(pr, "recall", "precision")
    return figure


def dress(axes: Axes, x: str, y: str) -> None:
    """Light on dark, a grid, and a legend where a line has a name."""
    axes.set(xlabel=x, ylabel=y, facecolor=_BACKGROUND)
    axes.grid(color=_GRID, linewidth=0.5)
    axes.tick_params(colors=_INK)
    for part in (axes.xaxis.label, axes.yaxis.label):
        part.set_color(_INK)
    for spine in axes.spines.values():
        spine.set_color(_GRID)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(facecolor=_BACKGROUND, edgecolor=_GRID, labelcolor=_INK, fontsize=8)
