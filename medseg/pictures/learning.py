"""How a training went: its loss and its validation over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from medseg.pictures.curves import dress

History = Mapping[str, Sequence[tuple[int, float]]]


def learning_curves(loss: History, validation: History, *, title: str) -> Figure:
    """The losses on the left and the validation's scores on the right, a line each over the epochs.

    Args:
        loss: name -> (epoch, value) in the order of the epochs.
        validation: likewise, values from 0 to 1; may be empty.
        title: What stands above both.
    """
    figure = Figure((11, 4.6), dpi=100, facecolor="black", layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, color="0.9", fontsize=11)
    for axes, history, what in zip(figure.subplots(1, 2), (loss, validation), ("loss", "Dice"), strict=True):
        for name, points in history.items():
            axes.plot(*zip(*points, strict=True), label=name, marker="." if len(points) < 40 else None)
        dress(axes, "epoch", what)
    return figure
